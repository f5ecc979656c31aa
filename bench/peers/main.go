// Command peers measures Cloister's SEFS beside other encrypting file systems, all through
// FUSE on one tmpfs, and beside that tmpfs itself:
//
//	make bench-peers
//
// Each round uses every file system in turn, so that what else the machine does meets all of them; the
// figures are medians of the rounds. It needs root, /dev/fuse and the peers' Debian packages; a peer
// that is not installed is left out, and named.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

// config is what the flags say.
type config struct {
	dir      string // on a tmpfs
	cloister string // the command
	only     string // names of file systems, with commas; "": all
	rounds   int
	best     bool  // print the best round instead of the median
	size     int64 // of the large file, in bytes
	files    int   // number of the small ones
}

func run() error {
	var c config
	flag.StringVar(&c.dir, "dir", "/dev/shm", "`directory` on a tmpfs to work in")
	flag.StringVar(&c.cloister, "cloister", "bin/cloister", "the `command` cloister")
	flag.StringVar(&c.only, "only", "", "only these file systems, `names` with commas between")
	flag.IntVar(&c.rounds, "rounds", 5, "rounds")
	flag.BoolVar(&c.best, "best", false, "print the best of the rounds instead of the medians, for machines that others use")
	sizeMiB := flag.Int64("size", 256, "size of the large file in `MiB`")
	flag.IntVar(&c.files, "files", 10_000, "number of small files")
	flag.Parse()
	c.size = *sizeMiB << 20
	if flag.NArg() > 0 || c.rounds < 1 || c.size < 1<<20 || c.files < 1 {
		return fmt.Errorf("bad arguments; see -help")
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("mounting needs root")
	}
	var st unix.Statfs_t
	if err := unix.Statfs(c.dir, &st); err != nil || st.Type != unix.TMPFS_MAGIC {
		return fmt.Errorf("%s is not on a tmpfs", c.dir)
	}
	dir, err := os.MkdirTemp(c.dir, "peers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	systems, missing := c.systems()
	for _, m := range missing {
		fmt.Fprintf(os.Stderr, "peers: left out: %s\n", m)
	}
	if len(systems) == 0 {
		return fmt.Errorf("nothing to measure")
	}
	results := make(table)
	started := time.Now()
	for round := range c.rounds {
		// Another one begins each time.
		for n := range systems {
			s := systems[(round+n)%len(systems)]
			fmt.Fprintf(os.Stderr, "round %d of %d: %s\n", round+1, c.rounds, s.name)
			if err := c.round(s, filepath.Join(dir, s.name), results.add); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	which, pick := "medians", median
	if c.best {
		which, pick = "best", slices.Max[[]float64]
	}
	fmt.Printf("%s, %s, %s of %d rounds, %d MiB, %d files, %s\n\n", machine(), time.Now().UTC().Format(time.DateOnly),
		which, c.rounds, c.size>>20, c.files, time.Since(started).Round(time.Second))
	results.print(os.Stdout, systems, pick)
	return nil
}

// systems returns what is to be measured, and what is missing for the rest.
func (c *config) systems() (found []*system, missing []string) {
	for _, s := range allSystems(c.cloister) {
		if c.only != "" && !slices.Contains(strings.Split(c.only, ","), s.name) {
			continue
		}
		if why := s.missing(); why != "" {
			missing = append(missing, why)
			continue
		}
		found = append(found, s)
	}
	return found, missing
}

// machine describes the processors and the kernel.
func machine() string {
	var u unix.Utsname
	_ = unix.Uname(&u) // cannot fail
	model, cores := "unknown processor", 0
	data, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(key) {
		case "model name":
			model = strings.TrimSpace(value)
		case "processor":
			cores++
		}
	}
	return fmt.Sprintf("%d × %s, Linux %s", cores, model, unix.ByteSliceToString(u.Release[:]))
}
