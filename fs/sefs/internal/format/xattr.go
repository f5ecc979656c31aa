package format

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// An extended attribute is a run of XATTR items: a head {length of the name,
// length of the value, name, first piece of the value} and the further pieces at
// the offsets that follow it. The offset of the head is that of a lane; names of
// the same XattrOff take different lanes.
const (
	xattrOffNameLen  = 0
	xattrOffValueLen = 1
	xattrHead        = 5 // name and first piece follow

	// XattrLanes is the number of names that may share one XattrOff.
	XattrLanes = 4

	// XattrLane is the distance between two lanes, in key offsets.
	XattrLane = 64

	// XattrPiece is the most bytes of a value in one item.
	XattrPiece = 2048

	// MaxXattr is the longest value in bytes (XATTR_SIZE_MAX).
	MaxXattr = 65536

	// MaxXattrName is the longest name in bytes (XATTR_NAME_MAX).
	MaxXattrName = 255

	// MaxXattrList is the most bytes that the names of one inode take, each with a NUL (XATTR_LIST_MAX).
	MaxXattrList = 65536
)

// XattrOff folds the hash of a name into the key offset of its first lane, from
// 256 to 1<<63-256.
func XattrOff(hash uint64) uint64 {
	const lanes = XattrLanes * XattrLane
	return max(hash>>1&^(lanes-1), lanes)
}

// XattrHead is the decoded head of an attribute.
type XattrHead struct {
	Name  []byte // points into the item
	Len   int    // bytes of the whole value
	First []byte // first piece; points into the item
}

// Pieces returns the number of items that a value of n bytes takes, the head included.
func Pieces(n int) int { return max(1, (n+XattrPiece-1)/XattrPiece) }

// AppendXattrHead appends the head of name=value to dst.
//
// Preconditions:
//   - name has 1 to MaxXattrName bytes, value at most MaxXattr.
func AppendXattrHead(dst []byte, name string, value []byte) []byte {
	dst = append(dst, uint8(len(name)))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(value)))
	dst = append(dst, name...)
	return append(dst, value[:min(len(value), XattrPiece)]...)
}

// DecodeXattrHead decodes and checks the head of an attribute. Errors: ItemError.
func DecodeXattrHead(val []byte) (XattrHead, error) {
	bad := func(reason string) (XattrHead, error) {
		return XattrHead{}, &ItemError{Item: "xattr", Reason: reason}
	}
	if len(val) < xattrHead || len(val) < xattrHead+int(val[xattrOffNameLen]) {
		return bad("cut short")
	}
	end := xattrHead + int(val[xattrOffNameLen])
	n := binary.LittleEndian.Uint32(val[xattrOffValueLen:])
	h := XattrHead{Name: val[xattrHead:end:end], Len: int(min(n, MaxXattr)), First: val[end:]}
	switch {
	case len(h.Name) == 0:
		return bad("no name")
	case n > MaxXattr:
		return bad("value too long")
	case len(h.First) != min(h.Len, XattrPiece):
		return bad("wrong length of the first piece")
	}
	for _, c := range h.Name {
		if c == 0 {
			return bad("NUL in the name")
		}
	}
	return h, nil
}

// AppendXattrPiece appends piece number i (1 or more) of the attribute h, read from an
// item, to the part of its value that came before. Errors: ItemError.
func (h *XattrHead) AppendXattrPiece(value, piece []byte, i int) ([]byte, error) {
	want := min(h.Len-i*XattrPiece, XattrPiece)
	if len(value) != i*XattrPiece || want <= 0 || len(piece) != want {
		return nil, &ItemError{Item: "xattr", Reason: "wrong length of a piece"}
	}
	return append(value, piece...), nil
}

// XattrPieceOf returns piece number i of value.
func XattrPieceOf(value []byte, i int) []byte {
	return value[min(i*XattrPiece, len(value)):min((i+1)*XattrPiece, len(value))]
}

// CheckXattr checks the name and value of an attribute to be stored: ERANGE for the
// name, E2BIG for the value, as xattr(7).
func CheckXattr(name string, value []byte) error {
	switch {
	case len(name) == 0 || len(name) > MaxXattrName:
		return unix.ERANGE
	case len(value) > MaxXattr:
		return unix.E2BIG
	}
	return nil
}
