package treecopy

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds the memory that a compressed stream may ask for, as zstd(1) does.
const maxWindow = 128 << 20 // bytes

// compressions are what archives are packed with, told by their first bytes. unpack is the
// program to use where this one cannot.
var compressions = []struct{ magic, unpack string }{
	{"\x1f\x8b", ""},
	{"\x28\xb5\x2f\xfd", ""},
	{"BZh", "bzip2 -dc"},
	{"\xfd7zXZ\x00", "xz -dc"},
	{"\x04\x22\x4d\x18", "lz4 -dc"},
	{"LZIP", "lzip -dc"},
}

// Decompress returns the contents of r, which may be packed with gzip or zstd. The caller
// closes the result; r stays open.
//
// Errors: those of r; an error that names the program to use for other kinds of compression.
func Decompress(r io.Reader) (io.ReadCloser, error) {
	br := bufio.NewReaderSize(r, 1<<16)
	start, err := br.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	for i, c := range compressions {
		switch {
		case !bytes.HasPrefix(start, []byte(c.magic)):
			continue
		case c.unpack != "":
			return nil, fmt.Errorf("this compression is not supported; use %s and a pipe", c.unpack)
		case i == 0:
			return gzip.NewReader(br)
		}
		d, err := zstd.NewReader(br, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	}
	return io.NopCloser(br), nil
}

// Compress returns a writer that packs as the ending of a file's name says: .gz and .tgz,
// .zst and .tzst, or not at all. Close ends the packed data and leaves w open.
func Compress(w io.Writer, name string) (io.WriteCloser, error) {
	switch {
	case strings.HasSuffix(name, ".gz"), strings.HasSuffix(name, ".tgz"):
		return gzip.NewWriter(w), nil
	case strings.HasSuffix(name, ".zst"), strings.HasSuffix(name, ".tzst"):
		return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1)) // the same bytes on every machine
	}
	return plain{w}, nil
}

// plain is a writer without compression.
type plain struct{ io.Writer }

func (plain) Close() error { return nil }
