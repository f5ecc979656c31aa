package format

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"
)

// A DIRENT item is the chain of all entries of one directory whose names have the
// same DirentOff. Each entry has a slot, which it keeps for life, so that the
// offset plus the slot is its position in the directory (telldir(3)).
const (
	direntOffIno  = 0
	direntOffType = 8
	direntOffSlot = 9
	direntOffLen  = 10
	direntHead    = 11 // the name follows

	direntSlots = 64 // entries in one chain

	// MaxName is the longest name in bytes.
	MaxName = unix.NAME_MAX

	// MaxDirents is the most bytes that a DIRENT item may have.
	MaxDirents = 2560
)

// Whiteout is the type of an entry that hides a name in lower layers; its inode number is 0.
const Whiteout = unix.DT_WHT

// Dirent is one directory entry.
type Dirent struct {
	Ino  uint64
	Type uint8 // DT_* or Whiteout
	Slot uint8
	Name []byte // points into the item
}

// DirentOff folds the hash of a name into the offset of its DIRENT key: a
// multiple of the slots in a chain, from 64 to 1<<63-64.
func DirentOff(hash uint64) uint64 {
	return max(hash>>1&^(direntSlots-1), direntSlots)
}

// DirentPos is the position of an entry: 64 to 1<<63-1, rising in the order of keys and slots.
func DirentPos(off uint64, slot uint8) uint64 { return off + uint64(slot) }

// DirentIter walks over a DIRENT item.
type DirentIter struct {
	rest []byte
	next int // lowest slot that may follow
	err  error
}

// Dirents returns an iterator over the item val.
func Dirents(val []byte) DirentIter {
	it := DirentIter{rest: val}
	if len(val) == 0 || len(val) > MaxDirents {
		it.rest, it.err = nil, &ItemError{Item: "dirent", Reason: "wrong length"}
	}
	return it
}

// Next returns the next entry; false at the end and at an error.
func (it *DirentIter) Next() (Dirent, bool) {
	if len(it.rest) == 0 {
		return Dirent{}, false
	}
	bad := func(reason string) (Dirent, bool) {
		it.rest, it.err = nil, &ItemError{Item: "dirent", Reason: reason}
		return Dirent{}, false
	}
	b := it.rest
	if len(b) < direntHead || len(b) < direntHead+int(b[direntOffLen]) {
		return bad("cut short")
	}
	end := direntHead + int(b[direntOffLen])
	d := Dirent{
		Ino:  binary.LittleEndian.Uint64(b[direntOffIno:]),
		Type: b[direntOffType],
		Slot: b[direntOffSlot],
		Name: b[direntHead:end:end],
	}
	switch {
	case int(d.Slot) < it.next || d.Slot >= direntSlots:
		return bad("slot out of order")
	case !validName(d.Name):
		return bad("impossible name")
	case !validType(d.Type) || d.Ino >= MaxIno || (d.Type == Whiteout) != (d.Ino == 0):
		return bad("impossible type or inode number")
	}
	it.rest, it.next = b[end:], int(d.Slot)+1
	return d, true
}

// Err returns the error that ended the walk. Errors: ItemError.
func (it *DirentIter) Err() error { return it.err }

// FindDirent looks for name in the item val. Errors: ENOENT, ItemError.
func FindDirent(val []byte, name string) (Dirent, error) {
	it := Dirents(val)
	for d, ok := it.Next(); ok; d, ok = it.Next() {
		if string(d.Name) == name {
			return d, nil
		}
	}
	if err := it.Err(); err != nil {
		return Dirent{}, err
	}
	return Dirent{}, unix.ENOENT
}

// SetDirent appends to dst the item val with name standing for (ino, typ),
// whether it was there before or not. val may be empty.
//
// Errors: ENOSPC if the chain is full, which a keyed hash makes a curiosity; ItemError.
func SetDirent(dst, val []byte, name string, ino uint64, typ uint8) ([]byte, error) {
	start := len(dst)
	slot, at := 0, -1 // the lowest free slot and where it belongs in dst
	if len(val) > 0 {
		it := Dirents(val)
		for d, ok := it.Next(); ok; d, ok = it.Next() {
			if string(d.Name) == name {
				dst = append(dst[:start], val...)
				putDirent(dst[start+len(val)-len(it.rest)-direntHead-len(name):], ino, typ)
				return dst, nil
			}
			if at < 0 && int(d.Slot) == slot {
				slot++
			} else if at < 0 {
				at = len(val) - len(it.rest) - direntHead - len(d.Name)
			}
		}
		if err := it.Err(); err != nil {
			return nil, err
		}
	}
	if at < 0 {
		at = len(val)
	}
	if slot >= direntSlots || len(val)+direntHead+len(name) > MaxDirents {
		return nil, unix.ENOSPC
	}
	dst = slices.Grow(dst, len(val)+direntHead+len(name))
	dst = append(dst, val[:at]...)
	var head [direntHead]byte
	putDirent(head[:], ino, typ)
	head[direntOffSlot] = uint8(slot)
	head[direntOffLen] = uint8(len(name))
	dst = append(dst, head[:]...)
	dst = append(dst, name...)
	return append(dst, val[at:]...), nil
}

// RemoveDirent appends to dst the item val without name; nothing is appended if
// no entry is left, and then the item goes. Errors: ENOENT, ItemError.
func RemoveDirent(dst, val []byte, name string) ([]byte, error) {
	it := Dirents(val)
	for d, ok := it.Next(); ok; d, ok = it.Next() {
		if string(d.Name) != name {
			continue
		}
		end := len(val) - len(it.rest)
		dst = append(dst, val[:end-direntHead-len(name)]...)
		return append(dst, val[end:]...), nil
	}
	if err := it.Err(); err != nil {
		return nil, err
	}
	return nil, unix.ENOENT
}

func putDirent(b []byte, ino uint64, typ uint8) {
	binary.LittleEndian.PutUint64(b[direntOffIno:], ino)
	b[direntOffType] = typ
}

func validName(name []byte) bool {
	switch string(name) {
	case "", ".", "..":
		return false
	}
	for _, c := range name {
		if c == 0 || c == '/' {
			return false
		}
	}
	return true
}

func validType(t uint8) bool {
	switch t {
	case unix.DT_REG, unix.DT_DIR, unix.DT_LNK, unix.DT_FIFO, unix.DT_SOCK, unix.DT_CHR, unix.DT_BLK, Whiteout:
		return true
	}
	return false
}
