package main

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// archiveSource is an archive that is read.
type archiveSource struct {
	io.ReadCloser
	size int64 // bytes; -1: nobody knows
}

// openArchive opens the archive at path, or standard input for "-". Reading it ends when ctx does,
// also while a pipe gives nothing.
func openArchive(ctx context.Context, std streams, path string) (*archiveSource, error) {
	if path == "-" {
		return pump(ctx, func() (io.ReadCloser, error) { return io.NopCloser(std.in), nil }), nil
	}
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case st.IsDir():
		return nil, unix.EISDIR
	case !st.Mode().IsRegular(): // opening a FIFO waits for a writer
		return pump(ctx, func() (io.ReadCloser, error) { return os.Open(path) }), nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return &archiveSource{f, st.Size()}, nil
}

// pump reads in the background what may make one wait. After ctx has ended a read may go on;
// the command ends then, and the read with it.
func pump(ctx context.Context, open func() (io.ReadCloser, error)) *archiveSource {
	r, w := io.Pipe()
	stop := context.AfterFunc(ctx, func() { w.CloseWithError(ctx.Err()) })
	go func() {
		in, err := open()
		if err == nil {
			_, err = io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{in}, make([]byte, 256<<10))
			err = errors.Join(err, in.Close())
		}
		w.CloseWithError(err) // nil: the end of the file
	}()
	return &archiveSource{pumped{r, stop}, -1}
}

// pumped is the reading end of a pump.
type pumped struct {
	*io.PipeReader
	stop func() bool
}

func (p pumped) Close() error {
	p.stop()
	return p.PipeReader.Close()
}
