package format

import (
	"encoding/binary"
	"math/bits"
)

// A Bitmap tells which blocks of one segment are in use.
type Bitmap [SegmentBlocks / 64]uint64

// Forms of a TypeSegment item: the first byte of the value.
const (
	bitmapRaw  = 0 // one bit for each block
	bitmapRuns = 1 // (first, length-1) of the runs in use, 2 bytes each
	bitmapDead = 2 // nothing in use, the file is to be removed
)

const rawBitmapSize = 1 + SegmentBlocks/8

// Set marks n blocks from block first on as used, or as free. It returns how
// many of them changed.
func (m *Bitmap) Set(first, n int, used bool) int {
	changed := 0
	for n > 0 {
		word, bit := first/64, first%64
		k := min(n, 64-bit)
		mask := (^uint64(0) >> (64 - k)) << bit
		if used {
			changed += bits.OnesCount64(mask &^ m[word])
			m[word] |= mask
		} else {
			changed += bits.OnesCount64(mask & m[word])
			m[word] &^= mask
		}
		first, n = first+k, n-k
	}
	return changed
}

// Used returns the number of blocks in use.
func (m *Bitmap) Used() int {
	n := 0
	for _, w := range m {
		n += bits.OnesCount64(w)
	}
	return n
}

// Next returns the first run of used blocks, or of free blocks, that begins at
// or behind block from; n is 0 if there is none.
func (m *Bitmap) Next(from int, used bool) (first, n int) {
	first = m.find(from, used)
	return first, m.find(first, !used) - first
}

// find returns the first block from from on that is used as wanted, or
// SegmentBlocks.
func (m *Bitmap) find(from int, used bool) int {
	for from < SegmentBlocks {
		w := m[from/64]
		if !used {
			w = ^w
		}
		if w >>= from % 64; w != 0 {
			return from + bits.TrailingZeros64(w)
		}
		from = from/64*64 + 64
	}
	return SegmentBlocks
}

// AppendBitmap appends the value of a TypeSegment item to dst, in the shorter
// form.
func AppendBitmap(dst []byte, m *Bitmap) []byte {
	start := len(dst)
	dst = append(dst, bitmapRuns)
	for first, n := m.Next(0, true); n > 0; first, n = m.Next(first+n, true) {
		if len(dst)-start+4 >= rawBitmapSize {
			return appendRaw(dst[:start], m)
		}
		dst = binary.LittleEndian.AppendUint16(dst, uint16(first))
		dst = binary.LittleEndian.AppendUint16(dst, uint16(n-1))
	}
	return dst
}

// DeadSegment is the value of a TypeSegment item whose segment is empty and
// may be removed from the host.
func DeadSegment() []byte { return []byte{bitmapDead} }

// IsDeadSegment reports whether b is such a value.
func IsDeadSegment(b []byte) bool { return len(b) == 1 && b[0] == bitmapDead }

func appendRaw(dst []byte, m *Bitmap) []byte {
	dst = append(dst, bitmapRaw)
	for _, w := range m {
		dst = binary.LittleEndian.AppendUint64(dst, w)
	}
	return dst
}

// DecodeBitmap reads the value of a TypeSegment item into m.
func DecodeBitmap(b []byte, m *Bitmap) error {
	clear(m[:])
	if len(b) == 0 {
		return &DamageError{"segment", "empty value"}
	}
	form, b := b[0], b[1:]
	switch {
	case form == bitmapRaw && len(b) == rawBitmapSize-1:
		for i := range m {
			m[i] = binary.LittleEndian.Uint64(b[i*8:])
		}
	case form == bitmapRuns && len(b)%4 == 0 && len(b) < rawBitmapSize:
		for ; len(b) > 0; b = b[4:] {
			first, n := int(binary.LittleEndian.Uint16(b)), int(binary.LittleEndian.Uint16(b[2:]))+1
			if first+n > SegmentBlocks {
				return &DamageError{"segment", "run behind the end"}
			}
			m.Set(first, n, true)
		}
	case form == bitmapDead && len(b) == 0:
	default:
		return &DamageError{"segment", "unknown form"}
	}
	return nil
}
