package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"cloister/internal/treecopy"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/sys/unix"
)

// progress shows how far a copy is, on a terminal only.
type progress struct {
	bar *progressbar.ProgressBar // nil: nothing is shown
}

// treeProgress expects a tree to be copied.
func treeProgress(std streams, t treecopy.Totals) *progress {
	// A name counts like 4 KiB, so that many small files move the bar too.
	return newProgress(std, t.Bytes+t.Entries()*entryWeight, fmt.Sprintf("%d entries, %s", t.Entries(), size(t.Bytes)))
}

// newProgress expects total bytes; -1: nobody knows how many.
func newProgress(std streams, total int64, what string) *progress {
	if !shown(std) {
		return &progress{}
	}
	return &progress{bar: progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(std.err),
		progressbar.OptionSetDescription(what),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetWidth(40),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionClearOnFinish(),
	)}
}

// shown reports whether a bar is seen.
func shown(std streams) bool {
	f, ok := std.err.(*os.File)
	return ok && isTerminal(f)
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

const entryWeight = 4096 // bytes

func (p *progress) add(entries, bytes int64) {
	if p.bar != nil {
		_ = p.bar.Add64(bytes + entries*entryWeight) // a bar that cannot be drawn is no reason to fail
	}
}

func (p *progress) finish() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}

// reader counts what is read through it.
func (p *progress) reader(r io.Reader) io.Reader { return &countedReader{r, p} }

type countedReader struct {
	io.Reader
	p *progress
}

func (c *countedReader) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.p.add(0, int64(n))
	return n, err
}
