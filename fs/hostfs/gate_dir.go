package hostfs

import (
	"context"
	"encoding/binary"
	"strings"

	"golang.org/x/sys/unix"
)

// Limits of what one directory may hold; a directory beyond them cannot be read (EIO).
const (
	maxEntries  = 1_000_000
	maxDirBytes = 256 << 20
)

// direntBuffer is how much is read from a directory at a time, in bytes.
const direntBuffer = 64 << 10

// A record of getdents64(2): inode number, offset, length of the record, type, name.
const (
	direntLen  = 16 // offset of d_reclen
	direntType = 18 // offset of d_type
	direntName = 19 // offset of d_name
)

// entry is one entry of a directory as the host has it.
type entry struct {
	name string
	ino  uint64
	typ  uint8 // DT_*
}

// readdir reads the open directory fd to its end. Names that cannot be are EIO, "." and ".."
// are left out, as are names that were there before.
//
// Errors: ENOENT if the directory has been removed.
func (g *gate) readdir(ctx context.Context, fd FD) ([]entry, error) {
	r := dirReader{seen: make(map[string]struct{})}
	buf := make([]byte, direntBuffer)
	for tries := 0; ; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n, err := g.host.Getdents(fd, buf)
		switch {
		case again(err, &tries):
			continue
		case err != nil:
			return nil, fail("getdents", err)
		case n < 0 || n > len(buf):
			return nil, badAnswer("getdents")
		case n == 0:
			return r.entries, nil
		}
		tries = 0
		if err := r.add(string(buf[:n])); err != nil {
			return nil, err
		}
	}
}

type dirReader struct {
	entries []entry
	seen    map[string]struct{}
	records int // all of them, so that repeating one does not go on for ever
	bytes   int
}

// add takes over the records in data.
func (r *dirReader) add(data string) error {
	if r.bytes += len(data); r.bytes > maxDirBytes {
		return badAnswer("getdents: directory too large")
	}
	for len(data) > 0 {
		if r.records++; r.records > maxEntries {
			return badAnswer("getdents: too many entries")
		}
		if len(data) <= direntName {
			return badAnswer("getdents: record")
		}
		n := int(data[direntLen]) | int(data[direntLen+1])<<8
		if n <= direntName || n > len(data) {
			return badAnswer("getdents: record length")
		}
		rec := data[:n]
		data = data[n:]
		end := strings.IndexByte(rec[direntName:], 0)
		if end < 0 {
			return badAnswer("getdents: name without end")
		}
		name := rec[direntName : direntName+end]
		if name == "." || name == ".." {
			continue
		}
		if !validName(name) {
			return badAnswer("getdents: name")
		}
		if _, ok := r.seen[name]; ok {
			continue
		}
		r.seen[name] = struct{}{}
		r.entries = append(r.entries, entry{
			name: name,
			ino:  binary.NativeEndian.Uint64([]byte(rec[:8])),
			typ:  validType(rec[direntType]),
		})
	}
	return nil
}

func validType(t byte) uint8 {
	switch t {
	case unix.DT_REG, unix.DT_DIR, unix.DT_LNK, unix.DT_FIFO, unix.DT_SOCK, unix.DT_CHR, unix.DT_BLK:
		return t
	}
	return unix.DT_UNKNOWN
}
