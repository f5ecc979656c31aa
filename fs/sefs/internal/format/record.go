package format

import (
	"encoding/binary"

	"cloister/fs/sefs/internal/seal"
)

// Journal records. RecordAlign is the granularity of their length, in bytes.
const (
	RecordAlign  = 512
	RecordHeader = 64
	recordMin    = RecordHeader + 4 + seal.TagSize
)

const recordMagic = 0x4c4e524a // "JRNL"

// A RecordPlain is what stands in clear before a journal record. It is
// authenticated together with the tag of the record before.
type RecordPlain struct {
	Bytes   uint32 // whole record, a multiple of RecordAlign
	Seq     uint64 // number of the commit
	Head    uint64 // number of the checkpoint it belongs to
	Session seal.SessionID
	Counter uint64
}

// PutRecordPlain writes p to the first RecordHeader bytes of b.
func PutRecordPlain(b []byte, p RecordPlain) {
	clear(b[:RecordHeader])
	le := binary.LittleEndian
	le.PutUint32(b, recordMagic)
	le.PutUint32(b[4:], p.Bytes)
	le.PutUint64(b[8:], p.Seq)
	le.PutUint64(b[16:], p.Head)
	copy(b[32:44], p.Session[:])
	le.PutUint64(b[48:], p.Counter)
}

// GetRecordPlain reads what stands in clear; ok is false if b does not begin
// with a record of a possible length.
func GetRecordPlain(b []byte) (p RecordPlain, ok bool) {
	if len(b) < RecordHeader || binary.LittleEndian.Uint32(b) != recordMagic {
		return p, false
	}
	le := binary.LittleEndian
	p = RecordPlain{
		Bytes:   le.Uint32(b[4:]),
		Seq:     le.Uint64(b[8:]),
		Head:    le.Uint64(b[16:]),
		Counter: le.Uint64(b[48:]),
	}
	copy(p.Session[:], b[32:44])
	ok = p.Bytes >= recordMin && p.Bytes%RecordAlign == 0 && p.Bytes <= MaxJournal
	return p, ok
}

// RecordSize returns the length of a record with n bytes of operations.
func RecordSize(n int) int {
	return (recordMin + n + RecordAlign - 1) / RecordAlign * RecordAlign
}

// RecordOps returns the operations in the opened body of a record.
func RecordOps(body []byte) ([]byte, error) {
	if len(body) < 4 {
		return nil, &DamageError{"journal record", "too short"}
	}
	n := binary.LittleEndian.Uint32(body)
	if uint64(n) > uint64(len(body)-4) {
		return nil, &DamageError{"journal record", "operations longer than the record"}
	}
	return body[4 : 4+n], nil
}

// An OpKind is what one operation of a journal record does.
type OpKind uint8

const (
	OpPut    OpKind = 1 // set an item
	OpDelete OpKind = 2 // remove an item
	OpMap    OpKind = 3 // blocks of a file lie at an extent now
	OpUnmap  OpKind = 4 // blocks [Block, To) of a file are holes now
	OpPage   OpKind = 5 // content of one block of a file, not written elsewhere yet
	OpShift  OpKind = 6 // the blocks of a file from Block on have other numbers now
)

// An Op is one operation of a journal record. Val and Extent.Tags share the
// record's memory.
type Op struct {
	Kind   OpKind
	Key    Key    // OpPut, OpDelete
	Ino    uint64 // OpMap, OpUnmap, OpPage, OpShift
	Block  uint64 // OpMap, OpUnmap, OpPage, OpShift: first block
	To     uint64 // OpUnmap: the block behind the last; OpShift: the new number of Block
	Val    []byte // OpPut: the value; OpPage: the block without the zeros at its end
	Extent Extent // OpMap
}

// AppendPut appends an OpPut to dst.
func AppendPut(dst []byte, k Key, val []byte) []byte {
	dst = appendKey(append(dst, byte(OpPut)), k)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(val)))
	return append(dst, val...)
}

// AppendDelete appends an OpDelete to dst.
func AppendDelete(dst []byte, k Key) []byte {
	return appendKey(append(dst, byte(OpDelete)), k)
}

// AppendMap appends an OpMap to dst.
func AppendMap(dst []byte, ino, block uint64, e Extent) []byte {
	dst = appendPair(append(dst, byte(OpMap)), ino, block)
	dst = append(dst, byte(e.Len()-1))
	return AppendExtent(dst, e)
}

// AppendUnmap appends an OpUnmap to dst.
func AppendUnmap(dst []byte, ino, from, to uint64) []byte {
	dst = appendPair(append(dst, byte(OpUnmap)), ino, from)
	return binary.LittleEndian.AppendUint64(dst, to)
}

// AppendShift appends an OpShift to dst.
func AppendShift(dst []byte, ino, from, to uint64) []byte {
	dst = appendPair(append(dst, byte(OpShift)), ino, from)
	return binary.LittleEndian.AppendUint64(dst, to)
}

// AppendPage appends an OpPage to dst.
func AppendPage(dst []byte, ino, block uint64, page []byte) []byte {
	page = TrimZeros(page)
	dst = appendPair(append(dst, byte(OpPage)), ino, block)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(page)))
	return append(dst, page...)
}

// TrimZeros returns page without the zeros at its end.
func TrimZeros(page []byte) []byte {
	n := len(page)
	for n >= 8 && binary.LittleEndian.Uint64(page[n-8:]) == 0 {
		n -= 8
	}
	for n > 0 && page[n-1] == 0 {
		n--
	}
	return page[:n]
}

func appendKey(dst []byte, k Key) []byte {
	var b [KeySize]byte
	PutKey(b[:], k)
	return append(dst, b[:]...)
}

func appendPair(dst []byte, a, b uint64) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(dst, a), b)
}

// MaxBlock is the largest number that a block of a file has: files end at
// 2^52 bytes.
const MaxBlock = 1<<40 - 1

// Ops iterates over the operations of a record.
type Ops struct {
	rest []byte
	err  error
}

// NewOps returns an iterator over b, which RecordOps returned.
func NewOps(b []byte) Ops { return Ops{rest: b} }

// Err returns why Next stopped early, or nil.
func (o *Ops) Err() error { return o.err }

// Next returns the next operation, or false at the end and after an error.
func (o *Ops) Next() (op Op, ok bool) {
	if len(o.rest) == 0 || o.err != nil {
		return op, false
	}
	r := reader{b: o.rest[1:]}
	op.Kind = OpKind(o.rest[0])
	switch op.Kind {
	case OpPut:
		op.Key = r.key()
		op.Val = r.bytes(int(r.u16()))
		r.bad = r.bad || len(op.Val) > MaxValue
	case OpDelete:
		op.Key = r.key()
	case OpMap:
		op.Ino, op.Block = r.u64(), r.u64()
		n := int(r.u8()) + 1
		raw := r.bytes(PtrSize + n*seal.TagSize)
		if !r.bad {
			op.Extent, o.err = DecodeExtent(raw)
			r.bad = op.Extent.Len() != n
		}
		r.bad = r.bad || op.Block > MaxBlock || op.Block+uint64(n) > MaxBlock+1
	case OpUnmap:
		op.Ino, op.Block, op.To = r.u64(), r.u64(), r.u64()
	case OpShift:
		op.Ino, op.Block, op.To = r.u64(), r.u64(), r.u64()
		r.bad = r.bad || op.Block > MaxBlock || op.To > MaxBlock
	case OpPage:
		op.Ino, op.Block = r.u64(), r.u64()
		op.Val = r.bytes(int(r.u16()))
		r.bad = r.bad || len(op.Val) > BlockSize || op.Block > MaxBlock
	default:
		r.bad = true
	}
	if r.bad && o.err == nil {
		o.err = &DamageError{"journal record", "malformed operation"}
	}
	o.rest = r.b
	return op, o.err == nil
}

// reader takes fields from the front of b; bad is set when b is too short.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) bytes(n int) []byte {
	if n > len(r.b) {
		r.bad, r.b = true, nil
		return nil
	}
	p := r.b[:n:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) u8() uint8 {
	if p := r.bytes(1); p != nil {
		return p[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if p := r.bytes(2); p != nil {
		return binary.LittleEndian.Uint16(p)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if p := r.bytes(8); p != nil {
		return binary.LittleEndian.Uint64(p)
	}
	return 0
}

func (r *reader) key() Key {
	if p := r.bytes(KeySize); p != nil {
		return GetKey(p)
	}
	return Key{}
}
