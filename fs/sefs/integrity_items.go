package sefs

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/seal"
)

// integrityHash is the hash of names in integrity-only images.
func integrityHash(name string) uint64 { return seal.SipHash(seal.NameKey0, seal.NameKey1, name) }

// hashedEntry is an entry of a directory with the offset of its item.
type hashedEntry struct {
	off   uint64
	entry *buildEntry
}

// putEntries puts the DIRENT items of a directory. Names of one item take their slots in the
// order of their bytes.
func (b *integrityBuild) putEntries(d *buildDir) error {
	b.entries = b.entries[:0]
	for i := range d.entries {
		e := &d.entries[i]
		b.entries = append(b.entries, hashedEntry{format.DirentOff(integrityHash(e.name)), e})
	}
	slices.SortFunc(b.entries, func(x, y hashedEntry) int {
		return cmp.Or(cmp.Compare(x.off, y.off), cmp.Compare(x.entry.name, y.entry.name))
	})
	for i := 0; i < len(b.entries); {
		off := b.entries[i].off
		var chain []byte
		for ; i < len(b.entries) && b.entries[i].off == off; i++ {
			e := b.entries[i].entry
			longer, err := format.SetDirent(b.buf[1][:0], chain, e.name, e.file.ino, direntType(e.file.mode))
			if err != nil {
				return fmt.Errorf("sefs: name %s: %w", d.nameOf(e.name), err)
			}
			b.buf[0], b.buf[1] = longer, b.buf[0]
			chain = longer
		}
		if err := b.load.Put(direntKey(d.file.ino, off), chain); err != nil {
			return err
		}
	}
	return nil
}

// putXattrs puts the XATTR items of a file. Names with one offset take their lanes in the order of
// their bytes.
func (b *integrityBuild) putXattrs(f *buildFile, xattrs map[string][]byte) error {
	if len(xattrs) == 0 {
		return nil
	}
	offset := func(name string) uint64 { return format.XattrOff(integrityHash(name)) }
	names := slices.SortedFunc(maps.Keys(xattrs), func(x, y string) int {
		return cmp.Or(cmp.Compare(offset(x), offset(y)), cmp.Compare(x, y))
	})
	last, lane := uint64(0), uint64(0)
	for _, name := range names {
		value := xattrs[name]
		if off := offset(name); off != last {
			last, lane = off, 0
		} else if lane++; lane == format.XattrLanes {
			return fmt.Errorf("sefs: attribute %s of %s: %w", name, f.path(), unix.ENOSPC)
		}
		at := last + lane*format.XattrLane
		if err := b.load.Put(xattrKey(f.ino, at), format.AppendXattrHead(nil, name, value)); err != nil {
			return err
		}
		for n := 1; n < format.Pieces(len(value)); n++ {
			if err := b.load.Put(xattrKey(f.ino, at+uint64(n)), format.XattrPieceOf(value, n)); err != nil {
				return err
			}
		}
	}
	return nil
}

// putTarget puts the target of a symbolic link.
func (b *integrityBuild) putTarget(f *buildFile) error {
	size := uint64(len(f.target))
	for n := range symlinkPieces(size) {
		end := min((n+1)*format.SymlinkPiece, size)
		if err := b.load.Put(symlinkKey(f.ino, n), []byte(f.target[n*format.SymlinkPiece:end])); err != nil {
			return err
		}
	}
	return nil
}

// path is a file's first name, for messages.
func (f *buildFile) path() string { return f.parent.nameOf(f.name) }

// nameOf is the path of a name in d, for messages.
func (d *buildDir) nameOf(name string) string {
	if d == nil {
		return name
	}
	return d.parent.nameOf(d.name) + "/" + name
}
