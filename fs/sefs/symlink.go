package sefs

import (
	"context"
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/vfs"
)

// symlink is a symbolic link. Its target never changes and is read once.
type symlink struct {
	inode
	target atomic.Pointer[string]
}

var _ vfs.Symlink = (*symlink)(nil)

// Readlink implements vfs.Symlink.
func (l *symlink) Readlink(ctx context.Context) (string, error) {
	if t := l.target.Load(); t != nil {
		return *t, nil
	}
	size := uint64(l.st.Load().Size)
	var target []byte
	for n := range symlinkPieces(size) {
		piece, err := l.fs.get(symlinkKey(l.ino, n), nil)
		if err != nil {
			return "", err
		}
		target = append(target, piece...)
	}
	if err := format.CheckSymlink(target, size); err != nil {
		return "", fmt.Errorf("sefs: inode %d: %w", l.ino, err)
	}
	t := string(target)
	l.target.Store(&t)
	return t, nil
}

// putSymlink writes the target of a new link; an empty target writes nothing.
func (o *op) putSymlink(ino uint64, target string) {
	for n := range symlinkPieces(uint64(len(target))) {
		end := min((n+1)*format.SymlinkPiece, uint64(len(target)))
		o.put(symlinkKey(ino, n), []byte(target[n*format.SymlinkPiece:end]))
	}
}

// freeSymlink deletes the target if s is a link.
func (o *op) freeSymlink(ino uint64, s *state) {
	if s.Mode&unix.S_IFMT != unix.S_IFLNK {
		return
	}
	for n := range symlinkPieces(uint64(s.Size)) {
		o.delete(symlinkKey(ino, n))
	}
}

// symlinkPieces is the number of items that a target of size bytes takes.
func symlinkPieces(size uint64) uint64 {
	return (size + format.SymlinkPiece - 1) / format.SymlinkPiece
}
