package format_test

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"cloister/fs/sefs/internal/format"
)

func TestHead(t *testing.T) {
	want := format.Head{
		Seq: 7, Commit: 99, Height: 3, Active: 4, Next: 6, Used: 1000, Live: 5, Journal: 8 << 20, Time: 123,
		Anchored: true, Prev: [16]byte{9, 15: 8}, Header: 77,
		Root: format.NodePtr{Ptr: format.Ptr{Segment: 2, Block: 8, Counter: 1 << 40, Session: [12]byte{1}}, Tag: [16]byte{2}},
	}
	plain := format.HeadPlain{Seq: 7, Session: [12]byte{3}, Counter: 44}
	var b [format.HeadSize]byte
	format.EncodeHead(b[:], &want, plain)
	p, ok := format.DecodeHeadPlain(b[:])
	require.True(t, ok)
	require.Equal(t, plain, p)
	got, err := format.DecodeHead(b[:])
	require.NoError(t, err)
	require.Equal(t, want, got)

	bad := []func(h *format.Head){
		func(h *format.Head) { h.Height = format.MaxHeight + 1 },
		func(h *format.Head) { h.Root.Segment = format.NoSegment },
		func(h *format.Head) { h.Root.Block = format.SegmentBlocks - 1 },
		func(h *format.Head) { h.Journal = format.MaxJournal + format.BlockSize },
		func(h *format.Head) { h.Active = h.Next },
	}
	format.EncodeHead(b[:], &want, plain)
	b[113] |= 2
	_, err = format.DecodeHead(b[:])
	require.ErrorIs(t, err, unix.EIO, "unknown flag")
	for i, change := range bad {
		h := want
		change(&h)
		format.EncodeHead(b[:], &h, plain)
		_, err := format.DecodeHead(b[:])
		require.ErrorIs(t, err, unix.EIO, "head %d", i)
	}
}

func TestExtent(t *testing.T) {
	want := format.Extent{Ptr: format.Ptr{Segment: 3, Block: 100, Counter: 1<<48 - 9, Session: [12]byte{5}}, Tags: bytes.Repeat([]byte{1, 2, 3, 4}, 12)}
	b := format.AppendExtent(nil, want)
	got, err := format.DecodeExtent(b)
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.Equal(t, 3, got.Len())
	part := got.Part(1, 3)
	require.Equal(t, uint16(101), part.Block)
	require.Equal(t, want.Counter+1, part.Counter)
	require.Equal(t, want.Tags[16:], part.Tags)
	for _, n := range []int{0, format.PtrSize, format.PtrSize + 1, len(b) - 1, format.PtrSize + 129*16} {
		_, err := format.DecodeExtent(make([]byte, n))
		require.ErrorIs(t, err, unix.EIO, "%d bytes", n)
	}
	got.Block = format.SegmentBlocks - 1
	_, err = format.DecodeExtent(format.AppendExtent(nil, got))
	require.ErrorIs(t, err, unix.EIO, "behind the segment")
}

func TestBitmap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		var m, got format.Bitmap
		used := make(map[int]bool)
		for range r.IntN(1 << r.IntN(11)) {
			first, on := r.IntN(format.SegmentBlocks), r.IntN(3) > 0
			n := 1 + r.IntN(min(format.SegmentBlocks-first, 1+r.IntN(500)))
			changed := 0
			for b := first; b < first+n; b++ {
				if used[b] != on {
					changed++
				}
				used[b] = on
			}
			require.Equal(t, changed, m.Set(first, n, on), "blocks that changed")
		}
		count := 0
		for _, on := range used {
			if on {
				count++
			}
		}
		require.Equal(t, count, m.Used())
		b := format.AppendBitmap([]byte("x"), &m)[1:]
		require.LessOrEqual(t, len(b), 1+format.SegmentBlocks/8)
		require.False(t, format.IsDeadSegment(b))
		require.NoError(t, format.DecodeBitmap(b, &got))
		require.Equal(t, m, got)
		for first, n := m.Next(0, false); n > 0; first, n = m.Next(first+n, false) {
			for b := first; b < first+n; b++ {
				require.False(t, used[b], "free run at %d", first)
			}
			count += n
		}
		require.Equal(t, format.SegmentBlocks, count, "used and free blocks")
	}
	var m format.Bitmap
	require.NoError(t, format.DecodeBitmap(format.DeadSegment(), &m))
	require.Zero(t, m.Used())
	for _, b := range [][]byte{{}, {0}, {1, 0}, {2, 0}, {3}, {1, 0xff, 0x3f, 1, 0}} {
		require.ErrorIs(t, format.DecodeBitmap(b, &m), unix.EIO, "%v", b)
	}
}

func TestRecord(t *testing.T) {
	page := make([]byte, format.BlockSize)
	copy(page[100:], "content")
	extent := format.Extent{Ptr: format.Ptr{Segment: 1, Block: 2, Counter: 3, Session: [12]byte{4}}, Tags: make([]byte, 32)}
	k := format.Key{Ino: 5, Type: 6, Off: 7}
	ops := format.AppendPut(nil, k, []byte("value"))
	ops = format.AppendDelete(ops, k)
	ops = format.AppendMap(ops, 8, 9, extent)
	ops = format.AppendUnmap(ops, 10, 11, 12)
	ops = format.AppendShift(ops, 13, 14, 15)
	ops = format.AppendPage(ops, 13, 14, page)
	it := format.NewOps(ops)
	var got []format.Op
	for op, ok := it.Next(); ok; op, ok = it.Next() {
		got = append(got, op)
	}
	require.NoError(t, it.Err())
	require.Equal(t, []format.Op{
		{Kind: format.OpPut, Key: k, Val: []byte("value")},
		{Kind: format.OpDelete, Key: k},
		{Kind: format.OpMap, Ino: 8, Block: 9, Extent: extent},
		{Kind: format.OpUnmap, Ino: 10, Block: 11, To: 12},
		{Kind: format.OpShift, Ino: 13, Block: 14, To: 15},
		{Kind: format.OpPage, Ino: 13, Block: 14, Val: page[:107]},
	}, got)
	for n := range len(ops) {
		it := format.NewOps(ops[:n])
		for ok := true; ok; {
			_, ok = it.Next()
		}
		// A cut between two operations is for the record's own length to find.
		if it.Err() != nil {
			require.ErrorIs(t, it.Err(), unix.EIO)
		}
	}
	plain := format.RecordPlain{Bytes: 1024, Seq: 1, Head: 2, Session: [12]byte{4}, Counter: 5}
	var b [format.RecordHeader]byte
	format.PutRecordPlain(b[:], plain)
	p, ok := format.GetRecordPlain(b[:])
	require.True(t, ok)
	require.Equal(t, plain, p)
	for _, n := range []uint32{0, 100, 511, 513, format.MaxJournal + 512} {
		plain.Bytes = n
		format.PutRecordPlain(b[:], plain)
		_, ok := format.GetRecordPlain(b[:])
		require.False(t, ok, "record of %d bytes", n)
	}
	require.Equal(t, 512, format.RecordSize(0))
	require.Equal(t, 512, format.RecordSize(512-64-4-16))
	require.Equal(t, 1024, format.RecordSize(512-64-4-16+1))
}

// TestNodeModel holds a node against a sorted map, with splits and joins.
func TestNodeModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := format.Node(make([]byte, format.NodeSize))
		n.Reset(0)
		model := make(map[format.Key][]byte)
		for range rapid.IntRange(1, 120).Draw(t, "steps") {
			k := format.Key{Ino: 1, Type: 1, Off: rapid.Uint64Range(0, 150).Draw(t, "off")}
			i, found := n.Search(k)
			_, has := model[k]
			require.Equal(t, has, found, "Search")
			if found {
				n.Remove(i)
				delete(model, k)
				continue
			}
			val := bytes.Repeat([]byte{byte(k.Off)}, rapid.IntRange(0, format.MaxValue).Draw(t, "size"))
			room := n.Free() >= format.ItemSize(len(val))
			require.Equal(t, room, n.Insert(i, k, val), "Insert")
			if room {
				model[k] = val
				continue
			}
			model[k] = val
			right := format.Node(make([]byte, format.NodeSize))
			n.Split(right, i, k, val)
			require.NoError(t, right.Check(0))
			require.Positive(t, right.Len(), "right half")
			require.Equal(t, len(model), n.Len()+right.Len(), "items of both halves")
			if !n.Join(right) { // go on with the left half
				for i := range right.Len() {
					require.Equal(t, model[right.Key(i)], right.Value(i))
					delete(model, right.Key(i))
				}
			}
		}
		require.NoError(t, n.Check(0))
		keys := slices.SortedFunc(maps.Keys(model), format.Key.Compare)
		require.Equal(t, len(keys), n.Len())
		for i, k := range keys {
			require.Equal(t, k, n.Key(i))
			require.Equal(t, model[k], append([]byte{}, n.Value(i)...))
		}
	})
}

func FuzzDecodeHead(f *testing.F) {
	var b [format.HeadSize]byte
	format.EncodeHead(b[:], &format.Head{Seq: 1, Active: format.NoSegment}, format.HeadPlain{Seq: 1})
	f.Add(b[:])
	f.Fuzz(func(t *testing.T, b []byte) {
		p, ok := format.DecodeHeadPlain(b)
		if !ok {
			return
		}
		h, err := format.DecodeHead(b)
		if err != nil {
			return
		}
		var again [format.HeadSize]byte
		format.EncodeHead(again[:], &h, p)
		h2, err := format.DecodeHead(again[:])
		require.NoError(t, err)
		require.Equal(t, h, h2)
	})
}

func FuzzNode(f *testing.F) {
	n := format.Node(make([]byte, format.NodeSize))
	n.Reset(0)
	n.Insert(0, format.Key{Ino: 1}, []byte("a"))
	n.Insert(1, format.Key{Ino: 2}, []byte("bb"))
	f.Add([]byte(n), uint64(1), 0)
	n = make([]byte, format.NodeSize)
	n.Reset(1)
	var p [format.NodePtrSize]byte
	n.Insert(0, format.Key{Ino: 1}, p[:])
	f.Add([]byte(n), uint64(1), 1)
	f.Fuzz(func(t *testing.T, b []byte, ino uint64, level int) {
		n := format.Node(b)
		if len(b) != format.NodeSize || n.Check(level) != nil {
			return
		}
		k := format.Key{Ino: ino, Type: 1}
		i, found := n.Search(k)
		for j := range n.Len() {
			if level > 0 {
				n.Child(j)
			}
			n.Value(j)
		}
		if level > 0 {
			n.ChildOf(k)
			return
		}
		if !found && !n.Insert(i, k, make([]byte, 100)) {
			right := format.Node(make([]byte, format.NodeSize))
			n.Split(right, i, k, make([]byte, 100))
		}
		for n.Len() > 0 {
			n.Remove(n.Len() / 2)
		}
	})
}

func FuzzRecord(f *testing.F) {
	body := []byte{0, 0, 0, 0}
	body = format.AppendPut(body, format.Key{Ino: 1}, []byte("v"))
	body = format.AppendPage(body, 1, 2, []byte("page"))
	body[0] = byte(len(body) - 4)
	f.Add(body)
	f.Add(format.AppendMap([]byte{255, 0, 0, 0}, 1, 2, format.Extent{Tags: make([]byte, 16)}))
	f.Fuzz(func(t *testing.T, b []byte) {
		format.GetRecordPlain(b)
		ops, err := format.RecordOps(b)
		if err != nil {
			return
		}
		it := format.NewOps(ops)
		n := 0
		for op, ok := it.Next(); ok; op, ok = it.Next() {
			require.LessOrEqual(t, len(op.Val), format.BlockSize)
			require.LessOrEqual(t, op.Extent.Len(), format.MaxExtent)
			n++
		}
		require.LessOrEqual(t, n, len(b))
	})
}

func FuzzItems(f *testing.F) {
	var m format.Bitmap
	m.Set(10, 100, true)
	f.Add(format.AppendBitmap(nil, &m))
	f.Add(format.AppendExtent(nil, format.Extent{Tags: make([]byte, 16)}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := format.DecodeExtent(b); err == nil {
			require.Equal(t, b, format.AppendExtent(nil, e))
		}
		var m, again format.Bitmap
		if format.DecodeBitmap(b, &m) == nil {
			require.NoError(t, format.DecodeBitmap(format.AppendBitmap(nil, &m), &again))
			require.Equal(t, m, again)
		}
	})
}
