package volume_test

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/seal"
	"cloister/fs/sefs/internal/store"
	"cloister/fs/sefs/internal/volume"
)

// tamperImages makes a volume and keeps its content at several times; the last
// one has records in its journal.
func tamperImages(t *testing.T) (*workload, []*store.Memory) {
	t.Helper()
	mem := store.NewMemory()
	makeVolume(t, mem)
	w := newWorkload(11, func() int { return 0 })
	var images []*store.Memory
	for range 3 {
		v := open(t, mem, config())
		w.files = map[uint64]*volume.File{}
		for range 5 {
			w.step(t, v)
			commit(t, v)
		}
		images = append(images, mem.Clone())
		closeVolume(t, v)
		images = append(images, mem.Clone())
	}
	v := open(t, mem, config())
	w.files = map[uint64]*volume.File{}
	for range 3 {
		w.step(t, v)
		commit(t, v)
	}
	v.Abandon()
	return w, append(images, mem)
}

// checkTampered opens a volume that the host changed. It must say so, or show
// a state that the volume once had.
func (h *history) checkTampered(t *testing.T, m *store.Memory, access volume.Access, what string, args ...any) {
	t.Helper()
	cfg := config()
	cfg.Access = access
	v, err := volume.Open(t.Context(), m, cfg)
	if err == nil {
		_, err = h.read(v)
		v.Abandon()
	}
	if err == nil {
		return
	}
	require.NotErrorIs(t, err, errWrong, what, args)
	errno, ok := errors.AsType[unix.Errno](err)
	require.True(t, ok, "%s %v: no errno in %v", what, args, err)
	require.Contains(t, []unix.Errno{unix.EIO, unix.EACCES, unix.EINVAL}, errno, "%s %v: %v", what, args, err)
	if errno == unix.EIO {
		corrupt, ok := errors.AsType[*seal.CorruptError](err)
		require.True(t, ok, "%s %v: %v", what, args, err)
		require.NotEmpty(t, corrupt.Block, "%s %v: the error names the place", what, args)
		if len(args) > 0 && strings.HasPrefix(what, "flip") {
			require.Contains(t, corrupt.Block, placeOf(args[0].(string)), "%s %v: the place", what, args)
		}
	}
}

// placeOf is how errors name a file of the volume.
func placeOf(file string) string {
	if number, ok := strings.CutPrefix(file, "seg/"); ok {
		n, _ := strconv.ParseUint(number[3:], 16, 32)
		return fmt.Sprintf("segment %d block ", n)
	}
	return file
}

// shares splits n trials into two tests that run at the same time, each with a
// copy of mem.
func (w *workload) shares(t *testing.T, mem *store.Memory, n int, fn func(t *testing.T, h *history, mem *store.Memory, i int)) {
	t.Helper()
	const workers = 2
	t.Run("shares", func(t *testing.T) {
		for worker := range workers {
			h, own := w.reader(), mem.Clone()
			t.Run(fmt.Sprint(worker), func(t *testing.T) {
				t.Parallel()
				for i := worker; i < n; i += workers {
					fn(t, h, own, i)
				}
			})
		}
	})
}

// TestTamperFlip flips bits all over a volume: in a long run in every byte.
func TestTamperFlip(t *testing.T) {
	w, images := tamperImages(t)
	mem := images[len(images)-1]
	type place struct {
		name string
		at   int
	}
	var places []place
	for _, name := range mem.Names() {
		size := len(mem.Bytes(name))
		stride := 1
		if !long() {
			stride = max(1, size/scaled(1000)) | 1
		}
		for at := 0; at < size; at += stride {
			places = append(places, place{name, at})
		}
	}
	w.shares(t, mem, len(places), func(t *testing.T, h *history, mem *store.Memory, i int) {
		p, bit := places[i], byte(1)<<(i/2%8)
		data := mem.Bytes(p.name)
		data[p.at] ^= bit
		h.checkTampered(t, mem, volume.ReadOnly, "flip", p.name, p.at)
		data[p.at] ^= bit
	})
	t.Logf("%d bytes flipped", len(places))
	cfg := config()
	cfg.Access = volume.ReadOnly
	v := open(t, mem, cfg)
	step, err := w.read(v)
	require.NoError(t, err, "with every bit back")
	require.Equal(t, len(w.states)-1, step)
}

// TestTamperSwap swaps blocks with each other, in a long run all pairs of them.
func TestTamperSwap(t *testing.T) {
	w, images := tamperImages(t)
	mem := images[len(images)-1]
	type block struct {
		name string
		at   int
	}
	var blocks []block
	for _, name := range mem.Names() {
		for at := 0; at+4096 <= len(mem.Bytes(name)); at += 4096 {
			blocks = append(blocks, block{name, at})
		}
	}
	var pairs [][2]block
	for i := range blocks {
		for j := i + 1; j < len(blocks); {
			pairs = append(pairs, [2]block{blocks[i], blocks[j]})
			if j++; !long() {
				j += (i + j) % scaled(40)
			}
		}
	}
	w.shares(t, mem, len(pairs), func(t *testing.T, h *history, mem *store.Memory, i int) {
		a, b := pairs[i][0], pairs[i][1]
		swap := func() {
			x, y := mem.Bytes(a.name)[a.at:a.at+4096], mem.Bytes(b.name)[b.at:b.at+4096]
			tmp := bytes.Clone(x)
			copy(x, y)
			copy(y, tmp)
		}
		swap()
		h.checkTampered(t, mem, volume.ReadOnly, "swap", a, b)
		swap()
	})
	t.Logf("%d pairs of %d blocks swapped", len(pairs), len(blocks))
}

// TestTamperOlder puts files and sectors back to what they were before, and mixes
// the files of any two moments.
func TestTamperOlder(t *testing.T) {
	w, images := tamperImages(t)
	last := images[len(images)-1]
	mixed, sectors := 0, 0
	for n, old := range images[:len(images)-1] {
		names := last.Names()
		for set := range 1 << len(names) {
			m := last.Clone()
			for i, name := range names {
				if set>>i&1 != 0 {
					m.SetBytes(name, bytes.Clone(old.Bytes(name)))
				}
			}
			w.checkTampered(t, m, volume.ReadWrite, "files", n, set)
			mixed++
		}
		for _, name := range old.Names() {
			now, was := last.Bytes(name), old.Bytes(name)
			for at := 0; at+512 <= min(len(now), len(was)); at += 512 {
				if bytes.Equal(now[at:at+512], was[at:at+512]) {
					continue
				}
				m := last.Clone()
				copy(m.Bytes(name)[at:at+512], was[at:])
				w.checkTampered(t, m, volume.ReadWrite, "old sector", n, name, at)
				sectors++
			}
		}
	}
	t.Logf("%d mixtures of old and new files, %d old sectors", mixed, sectors)
}

// TestTamperFiles cuts, lengthens and removes files; in a long run it cuts them at
// every sector, and beside it.
func TestTamperFiles(t *testing.T) {
	w, images := tamperImages(t)
	last := images[len(images)-1]
	cuts := 0
	for _, access := range []volume.Access{volume.ReadWrite, volume.ReadOnly} {
		for _, name := range last.Names() {
			data := last.Bytes(name)
			var sizes []int
			for i := range 20 {
				sizes = append(sizes, len(data)*i/20)
			}
			for at := 0; long() && at < len(data); at += 512 {
				sizes = append(sizes, at, at+1, at+511)
			}
			for _, size := range sizes {
				if size >= len(data) {
					continue
				}
				m := last.Clone()
				m.SetBytes(name, bytes.Clone(data[:size]))
				w.checkTampered(t, m, access, "cut", name, size)
				cuts++
			}
			for _, more := range []int{1, 511, 4096, 10_000} {
				m := last.Clone()
				m.SetBytes(name, append(bytes.Clone(data), pattern(1, more)...))
				w.checkTampered(t, m, access, "lengthen", name, more)
			}
			m := last.Clone()
			require.NoError(t, m.Unlink(name))
			w.checkTampered(t, m, access, "remove", name)
		}
	}
	t.Logf("%d cuts", cuts)
}

// TestTamperWhileOpen changes blocks under an open volume.
func TestTamperWhileOpen(t *testing.T) {
	mem, v := newVolume(t)
	blocks := writeFile(t, v, 10, 4<<20, 1<<20)
	closeVolume(t, v)
	v = open(t, mem, config())
	f := v.File(10, blocks)
	p := make([]byte, 4096)
	require.NoError(t, f.ReadAt(t.Context(), p, 0), "ReadAt")
	for _, name := range mem.Names() {
		if data := mem.Bytes(name); len(data) > 2<<20 {
			clear(data[2<<20:])
		}
	}
	var corrupt *seal.CorruptError
	require.ErrorAs(t, f.ReadAt(t.Context(), make([]byte, 4<<20), 0), &corrupt, "ReadAt of zeroed blocks")
	require.Contains(t, corrupt.Block, "segment", "the error names the block")

}

// TestTamperHeads lets somebody else write the heads under an open volume, as
// a second writer in spite of the lock does.
func TestTamperHeads(t *testing.T) {
	mem, v := newVolume(t)
	heads := mem.Bytes("heads")
	for i := range heads {
		heads[i] ^= 0xff
	}
	tx(t, v, func(tx *volume.Tx) { require.NoError(t, tx.Put(inodeKey(6), []byte("this"))) })
	require.ErrorIs(t, v.Close(t.Context()), unix.EIO, "Close when the heads changed")
	_, err := v.Begin(t.Context())
	require.ErrorIs(t, err, unix.EIO, "the volume is read-only then")
	require.NotContains(t, fmt.Sprint(err), "this", "no content in errors")
}
