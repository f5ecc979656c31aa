package volume_test

import (
	"bytes"
	"errors"
	"fmt"
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
func checkTampered(t *testing.T, w *workload, m *store.Memory, access volume.Access, what string, args ...any) {
	t.Helper()
	cfg := config()
	cfg.Access = access
	v, err := volume.Open(t.Context(), m, cfg)
	if err == nil {
		_, err = w.read(v)
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
		require.ErrorAs(t, err, new(*seal.CorruptError), "%s %v", what, args)
	}
}

// TestTamperFlip flips bits all over a volume.
func TestTamperFlip(t *testing.T) {
	w, images := tamperImages(t)
	mem := images[len(images)-1]
	for _, name := range mem.Names() {
		data := mem.Bytes(name)
		stride := 1
		if len(data) > 2*4096 || raceDetector {
			stride = max(1, len(data)/scaled(1200)) | 1
		}
		for at := 0; at < len(data); at += stride {
			data[at] ^= 1 << (at % 8)
			checkTampered(t, w, mem, volume.ReadOnly, "flip", name, at)
			data[at] ^= 1 << (at % 8)
		}
	}
	cfg := config()
	cfg.Access = volume.ReadOnly
	v := open(t, mem, cfg)
	step, err := w.read(v)
	require.NoError(t, err, "with every bit back")
	require.Equal(t, len(w.states)-1, step)
}

// TestTamperBlocks swaps blocks with each other and with what they were before.
func TestTamperBlocks(t *testing.T) {
	w, images := tamperImages(t)
	last := images[len(images)-1]
	var blocks [][]byte
	for _, name := range last.Names() {
		data := last.Bytes(name)
		for at := 0; at+4096 <= len(data) && at < 64*4096; at += 4096 {
			blocks = append(blocks, data[at:at+4096])
		}
	}
	swap := func(a, b []byte) {
		tmp := bytes.Clone(a)
		copy(a, b)
		copy(b, tmp)
	}
	for i := range blocks {
		for j := i + 1; j < len(blocks); j += 1 + (i+j)%5 {
			swap(blocks[i], blocks[j])
			checkTampered(t, w, last, volume.ReadOnly, "swap", i, j)
			swap(blocks[i], blocks[j])
		}
	}
	for n, old := range images[:len(images)-1] {
		for _, name := range old.Names() {
			was := old.Bytes(name)
			m := last.Clone()
			m.SetBytes(name, bytes.Clone(was))
			checkTampered(t, w, m, volume.ReadWrite, "old file", n, name)
			now := last.Bytes(name)
			for at := 0; at+512 <= min(len(now), len(was)); at += 512 {
				if bytes.Equal(now[at:at+512], was[at:at+512]) {
					continue
				}
				m := last.Clone()
				copy(m.Bytes(name)[at:at+512], was[at:])
				checkTampered(t, w, m, volume.ReadWrite, "old sector", n, name, at)
			}
		}
	}
}

// TestTamperFiles cuts, lengthens and removes files.
func TestTamperFiles(t *testing.T) {
	w, images := tamperImages(t)
	last := images[len(images)-1]
	for _, access := range []volume.Access{volume.ReadWrite, volume.ReadOnly} {
		for _, name := range last.Names() {
			data := last.Bytes(name)
			for i := range 20 {
				m := last.Clone()
				m.SetBytes(name, bytes.Clone(data[:len(data)*i/20]))
				checkTampered(t, w, m, access, "cut", name, i)
			}
			m := last.Clone()
			m.SetBytes(name, append(bytes.Clone(data), pattern(1, 10_000)...))
			checkTampered(t, w, m, access, "lengthen", name)
			m = last.Clone()
			require.NoError(t, m.Unlink(name))
			checkTampered(t, w, m, access, "remove", name)
		}
	}
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
