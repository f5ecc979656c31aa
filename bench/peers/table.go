package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// A row is one thing that is measured.
type row struct {
	name string
	unit string
}

var (
	rowWrite      = row{"sequential write, new file, fsync", "MB/s"}
	rowOverwrite  = row{"sequential overwrite, fsync", "MB/s"}
	rowRead       = row{"sequential read, pages not cached", "MB/s"}
	rowReread     = row{"sequential read again", "MB/s"}
	rowRandWrite  = row{"random 4 KiB write", "/s"}
	rowRandSync   = row{"random 4 KiB write and fsync", "/s"}
	rowRandRead   = row{"random 4 KiB read, pages not cached", "/s"}
	rowCreate     = row{"create, write 1 KiB, close", "/s"}
	rowStat       = row{"stat", "/s"}
	rowSmallRead  = row{"open, read 1 KiB, close", "/s"}
	rowList       = row{"names of the directory", "/s"}
	rowWalkCold   = row{"walk with stat after a mount", "/s"}
	rowWalkWarm   = row{"walk with stat again", "/s"}
	rowRename     = row{"rename", "/s"}
	rowUnlink     = row{"unlink", "/s"}
	rowMountCycle = row{"umount and mount", "/s"}
)

// rows is the order of the table.
var rows = []row{
	rowWrite, rowOverwrite, rowRead, rowReread, rowRandWrite, rowRandSync, rowRandRead,
	rowCreate, rowStat, rowSmallRead, rowList, rowWalkCold, rowWalkWarm, rowRename, rowUnlink, rowMountCycle,
}

// A table has the figures of each system by row, one for each round.
type table map[string]map[row][]float64

func (t table) add(s *system, r row, value float64) {
	if t[s.name] == nil {
		t[s.name] = make(map[row][]float64)
	}
	t[s.name][r] = append(t[s.name][r], value)
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// print prints what pick takes of the rounds, and how many times as fast as each encrypting peer ours is.
func (t table) print(w io.Writer, systems []*system, pick func([]float64) float64) {
	head, rule := "| |", "|---|"
	for _, s := range systems {
		head += " " + s.name + " |"
		rule += "---|"
	}
	var peers []string
	for _, s := range systems {
		if s.encrypt && s.name != "cloister" && t["cloister"] != nil {
			peers = append(peers, s.name)
			head += " ÷ " + s.name + " |"
			rule += "---|"
		}
	}
	fmt.Fprintf(w, "%s\n%s\n", head, rule)
	for _, r := range rows {
		line := fmt.Sprintf("| %s (%s) |", r.name, r.unit)
		for _, s := range systems {
			if v := t[s.name][r]; len(v) > 0 {
				line += " " + figure(pick(v)) + " |"
			} else {
				line += " – |"
			}
		}
		for _, peer := range peers {
			ours, theirs := t["cloister"][r], t[peer][r]
			if len(ours) > 0 && len(theirs) > 0 {
				line += fmt.Sprintf(" %.1f |", pick(ours)/pick(theirs))
			} else {
				line += " – |"
			}
		}
		fmt.Fprintln(w, line)
	}
}

// figure prints a number with three digits that count, and spaces between thousands.
func figure(v float64) string {
	scale := 1.0
	for v/scale >= 1000 {
		scale *= 10
	}
	if v < 10 {
		return fmt.Sprintf("%.1f", v)
	}
	digits := fmt.Sprintf("%.0f", float64(int(v/scale+0.5))*scale)
	var parts []string
	for len(digits) > 3 {
		parts = append([]string{digits[len(digits)-3:]}, parts...)
		digits = digits[:len(digits)-3]
	}
	return strings.Join(append([]string{digits}, parts...), "\u00a0")
}
