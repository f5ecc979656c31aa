package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"cloister/internal/treecopy"
)

// printJSON prints a command's result as one JSON object.
func printJSON(std streams, result any) error {
	text, err := json.MarshalIndent(result, "", "  ")
	if err != nil {
		return fail(exitInternal, "result", err, "please report it")
	}
	return output(fmt.Fprintf(std.out, "%s\n", text))
}

// copyResult is what commands that copy trees print. Its JSON names are a contract.
type copyResult struct {
	Entries   int64   `json:"entries"`
	Files     int64   `json:"files"`
	Dirs      int64   `json:"directories"`
	Symlinks  int64   `json:"symlinks"`
	HardLinks int64   `json:"hard_links"` // further names of files
	Specials  int64   `json:"special"`    // FIFOs, sockets, devices
	LeftOut   int64   `json:"left_out"`   // files and attributes, each with a warning
	Foreign   int64   `json:"foreign"`    // files without their owner
	Bytes     int64   `json:"bytes"`      // of data
	Seconds   float64 `json:"seconds"`
}

// tally counts what one run copies.
type tally struct {
	std     streams
	start   time.Time
	leftOut int64
}

func newTally(std streams) *tally { return &tally{std: std, start: time.Now()} }

// skipped warns of what is left out.
func (t *tally) skipped(path string, err error) {
	t.leftOut++
	fmt.Fprintf(t.std.err, "cloister: warning: %s: left out: %v\n", printable(path), reason(err))
}

func (t *tally) result(n treecopy.Totals) copyResult {
	return copyResult{
		Entries: n.Entries(), Files: n.Files, Dirs: n.Dirs, Symlinks: n.Symlinks, HardLinks: n.Links,
		Specials: n.Specials, LeftOut: t.leftOut, Foreign: n.Foreign, Bytes: n.Bytes,
		Seconds: time.Since(t.start).Round(time.Millisecond).Seconds(),
	}
}

func (r *copyResult) String() string {
	text := fmt.Sprintf("%d entries (%d files, %d directories, %d links, %d special, %d left out), %s in %.1f s",
		r.Entries, r.Files, r.Dirs, r.Symlinks+r.HardLinks, r.Specials, r.LeftOut, size(r.Bytes), r.Seconds)
	if r.Foreign > 0 {
		text += fmt.Sprintf("; %d belong to you, for giving them their owner takes root", r.Foreign)
	}
	return text
}

// size formats a number of bytes for people.
func size(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d bytes", n)
	}
	f, i := float64(n)/1024, 0
	for ; f >= 1024 && i < len(units)-1; i++ {
		f /= 1024
	}
	return fmt.Sprintf("%.1f %ciB", f, units[i])
}

// hostBytes sums the sizes of the host's files below an image directory.
func hostBytes(image string) (sum int64) {
	_ = filepath.WalkDir(image, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			sum += info.Size()
		}
		return nil
	})
	return sum
}
