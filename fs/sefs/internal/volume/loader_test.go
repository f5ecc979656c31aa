package volume_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/seal"
	"cloister/fs/sefs/internal/store"
	"cloister/fs/sefs/internal/volume"
)

// loadFile puts a file of n blocks, its inode item last known, and returns its content.
func loadFile(t testing.TB, l *volume.Loader, ino uint64, n int) []byte {
	t.Helper()
	late, err := l.PutLater(inodeKey(ino), 112)
	require.NoError(t, err, "PutLater")
	data := pattern(int(ino), n*format.BlockSize)
	for b := 0; b < n; {
		run := min(format.MaxHashExtent, n-b, l.Room())
		part := data[b*format.BlockSize : (b+run)*format.BlockSize]
		at, err := l.Blocks(part)
		require.NoError(t, err, "Blocks")
		e := format.Extent{Ptr: at}
		for i := range run {
			sum := seal.Checksum(part[i*format.BlockSize : (i+1)*format.BlockSize])
			e.Tags = append(e.Tags, sum[:]...)
		}
		require.NoError(t, l.Put(format.Key{Ino: ino, Type: format.TypeExtent, Off: uint64(b)}, format.AppendExtent(nil, e)), "Put")
		b += run
	}
	require.NoError(t, late.Set(bytes.Repeat([]byte{byte(ino)}, 112)), "Set")
	return data
}

// integrityVolume makes a volume with files of these numbers of blocks, inodes 1, 2 and so on.
func integrityVolume(t testing.TB, st store.Store, blocks ...int) (root [32]byte, files [][]byte) {
	t.Helper()
	l, err := volume.NewLoader(st)
	require.NoError(t, err, "NewLoader")
	for i, n := range blocks {
		files = append(files, loadFile(t, l, uint64(i+1), n))
	}
	root, err = l.Finish()
	require.NoError(t, err, "Finish")
	require.NoError(t, st.Close())
	return root, files
}

func readOnly() volume.Config {
	cfg := config()
	cfg.Access, cfg.Unlocking = volume.ReadOnly, volume.Unlocking{}
	return cfg
}

func pinned(root [32]byte) volume.Config {
	cfg := readOnly()
	cfg.Root = &root
	return cfg
}

func requireFile(t testing.TB, v *volume.Volume, ino uint64, want []byte) {
	t.Helper()
	got, err := v.Get(inodeKey(ino), nil)
	require.NoError(t, err, "Get")
	require.Equal(t, bytes.Repeat([]byte{byte(ino)}, 112), got)
	f := v.File(ino, int64(len(want)/format.BlockSize))
	f.SetSize(int64(len(want)))
	got = make([]byte, len(want))
	require.NoError(t, f.ReadAt(t.Context(), got, 0), "ReadAt")
	require.True(t, bytes.Equal(want, got), "content of file %d", ino)
}

// TestLoader writes files over more than one segment, with late items, and reads them.
func TestLoader(t *testing.T) {
	mem := store.NewMemory()
	sizes := []int{1, 0, 70, scaled(16384), 3, scaled(20000), 1}
	root, files := integrityVolume(t, mem, sizes...)
	v := open(t, mem, pinned(root))
	require.Equal(t, root, v.State().Root)
	id := v.Identity()
	require.True(t, id.Integrity())
	for i, want := range files {
		requireFile(t, v, uint64(i+1), want)
	}
	require.NoError(t, v.Check(t.Context(), volume.CheckConfig{Damage: func(d volume.Damage) { t.Error(d.Err) }}))

	again := store.NewMemory()
	same, _ := integrityVolume(t, again, sizes...)
	require.Equal(t, root, same)
	require.Equal(t, mem.Names(), again.Names())
	for _, name := range mem.Names() {
		require.True(t, bytes.Equal(mem.Bytes(name), again.Bytes(name)), name)
	}
}

// TestLoaderLate sets an item long after its node was written, when nodes of two
// levels above it are full too.
func TestLoaderLate(t *testing.T) {
	mem := store.NewMemory()
	l, err := volume.NewLoader(mem)
	require.NoError(t, err)
	const n = 60_000
	value := bytes.Repeat([]byte("v"), 600)
	late := make(map[uint64]volume.Pending)
	for i := range uint64(n) {
		if i == 7 || i == 8 || i == 2000 || i == n-1 {
			late[i], err = l.PutLater(inodeKey(i), len(value))
		} else {
			err = l.Put(inodeKey(i), value)
		}
		require.NoError(t, err)
	}
	for i, p := range late {
		require.NoError(t, p.Set(bytes.Repeat([]byte{byte(i)}, len(value))))
	}
	root, err := l.Finish()
	require.NoError(t, err)
	require.NoError(t, mem.Close())
	v := open(t, mem, pinned(root))
	count := 0
	require.NoError(t, v.Check(t.Context(), volume.CheckConfig{
		Damage: func(d volume.Damage) { t.Error(d.Err) },
		Item: func(k format.Key, val []byte) error {
			want := value
			if _, ok := late[k.Ino]; ok {
				want = bytes.Repeat([]byte{byte(k.Ino)}, len(value))
			}
			if k != inodeKey(uint64(count)) || !bytes.Equal(want, val) {
				t.Errorf("item %v", k)
			}
			count++
			return nil
		},
	}))
	require.Equal(t, n, count)
}

func TestLoaderRefuses(t *testing.T) {
	mem := store.NewMemory()
	l, err := volume.NewLoader(mem)
	require.NoError(t, err)
	_, err = l.Finish()
	require.ErrorIs(t, err, unix.EINVAL, "no items")
	require.NoError(t, l.Put(inodeKey(5), nil))
	require.ErrorIs(t, l.Put(inodeKey(5), nil), unix.EINVAL, "the same key")
	require.ErrorIs(t, l.Put(inodeKey(4), nil), unix.EINVAL, "a lower key")
	require.ErrorIs(t, l.Put(inodeKey(6), make([]byte, format.MaxValue+1)), unix.EINVAL, "a long value")
	_, err = l.Blocks(make([]byte, 100))
	require.ErrorIs(t, err, unix.EINVAL, "half a block")
	_, err = l.PutLater(inodeKey(7), 8)
	require.NoError(t, err)
	_, err = l.Finish()
	require.ErrorIs(t, err, unix.EINVAL, "an item that was never set")
	_, err = l.Blocks(make([]byte, 3*format.BlockSize))
	require.NoError(t, err)
	l.Discard()
	require.Empty(t, mem.Names())
	empty, err := mem.Empty()
	require.NoError(t, err)
	require.True(t, empty, "Discard")

	makeVolume(t, mem)
	_, err = volume.NewLoader(mem)
	require.ErrorIs(t, err, unix.EINVAL, "a directory that is not empty")
}

func TestIntegrityOpen(t *testing.T) {
	mem := store.NewMemory()
	root, files := integrityVolume(t, mem, 3)
	_, err := volume.Open(t.Context(), mem, readOnly())
	require.ErrorIs(t, err, unix.EACCES, "without a root")
	require.ErrorContains(t, err, "integrity-only")
	other := root
	other[31] ^= 1
	_, err = volume.Open(t.Context(), mem, pinned(other))
	require.ErrorIs(t, err, unix.EACCES, "another root")
	require.ErrorContains(t, err, "root MAC")
	cfg := pinned(root)
	cfg.Access = volume.ReadWrite
	_, err = volume.Open(t.Context(), mem.Clone(), cfg)
	require.ErrorIs(t, err, unix.EROFS, "for writing")
	_, err = volume.OpenKeys(mem.Clone(), volume.KeysConfig{})
	require.ErrorIs(t, err, unix.EINVAL, "its keys")

	cfg = readOnly()
	cfg.Unpinned = true
	v := open(t, mem, cfg)
	requireFile(t, v, 1, files[0])
	require.Equal(t, root, v.State().Root)
	require.Equal(t, -1, v.OpenedBy())
	_, err = v.Begin(t.Context())
	require.ErrorIs(t, err, unix.EROFS, "Begin")
	require.NoError(t, v.Close(t.Context()))
	require.NotContains(t, mem.Names(), "lock", "nothing is written")
}

// TestIntegrityTampering changes every byte of a volume, and swaps its blocks: it does not open, a
// read fails, or what is read is right. With the root given, nothing else can be shown; without it,
// what opens has another root.
func TestIntegrityTampering(t *testing.T) {
	mem := store.NewMemory()
	root, files := integrityVolume(t, mem, 1, 5)
	try := func(m *store.Memory, what string) {
		v, err := volume.Open(t.Context(), m, pinned(root))
		if err != nil {
			require.True(t, isErrno(err, unix.EACCES, unix.EIO, unix.EINVAL), "%s: %v", what, err)
			return
		}
		defer v.Abandon()
		for i, want := range files {
			got := make([]byte, len(want))
			if err := v.File(uint64(i+1), 0).ReadAt(t.Context(), got, 0); err != nil {
				require.ErrorIs(t, err, unix.EIO, what)
				continue
			}
			require.True(t, bytes.Equal(want, got), "%s: wrong bytes", what)
		}
	}
	for _, name := range mem.Names() {
		data := mem.Bytes(name)
		step := 11 // the long run takes every byte
		if os.Getenv("CLOISTER_CRASH") == "full" {
			step = 1
		}
		for i := 0; i < len(data); i += step {
			m := mem.Clone()
			m.Bytes(name)[i] ^= 1 << (i % 8)
			try(m, fmt.Sprintf("%s: byte %d", name, i))
		}
		for a := 0; a+2*format.BlockSize <= len(data); a += format.BlockSize {
			m := mem.Clone()
			bad := m.Bytes(name)
			copy(bad[a:], data[a+format.BlockSize:a+2*format.BlockSize])
			copy(bad[a+format.BlockSize:], data[a:a+format.BlockSize])
			try(m, fmt.Sprintf("%s: blocks at %d swapped", name, a))
		}
		for _, n := range []int{0, len(data) / 2, len(data) - 1} {
			m := mem.Clone()
			m.SetBytes(name, data[:n])
			try(m, fmt.Sprintf("%s: cut to %d", name, n))
		}
	}
}

func isErrno(err error, list ...unix.Errno) bool {
	errno, ok := errors.AsType[unix.Errno](err)
	return ok && slices.Contains(list, errno)
}
