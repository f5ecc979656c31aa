package volume_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/store"
	"cloister/fs/sefs/internal/volume"
)

// TestOldHeaderRefused shows that a removed key slot cannot come back once the volume
// has had a checkpoint since.
func TestOldHeaderRefused(t *testing.T) {
	mem := keyedVolume(t)
	old := bytes.Clone(mem.Bytes("SEFS"))
	k := openKeys(t, mem, testKey)
	require.NoError(t, k.Remove(1))
	require.NoError(t, k.Close())
	putAndClose(t, mem, 9)
	mem.SetBytes("SEFS", old)
	for _, key := range [][]byte{testKey, secondKey} {
		cfg := config()
		cfg.Unlocking = with(key)
		_, err := volume.Open(t.Context(), mem, cfg)
		require.ErrorIs(t, err, unix.EACCES)
		require.ErrorContains(t, err, "older one")
	}
}

// TestRoot pins states by their roots: only the one that is meant opens.
func TestRoot(t *testing.T) {
	mem := store.NewMemory()
	makeVolume(t, mem)
	roots := make(map[[32]byte]bool)
	var images []*store.Memory
	for n := range uint64(4) {
		v := openLoose(t, mem, config())
		tx(t, v, func(tx *volume.Tx) { require.NoError(t, tx.Put(inodeKey(n+1), []byte("value"))) })
		commit(t, v)
		root := v.State().Root
		if n%2 == 0 {
			closeVolume(t, v)
		} else {
			v.Abandon() // the state is in the journal
		}
		images = append(images, mem.Clone())
		for i, m := range images {
			for _, access := range []volume.Access{volume.ReadOnly, volume.ReadWrite} {
				cfg := config()
				cfg.Access = volume.ReadOnly
				v := openLoose(t, m, cfg)
				now := v.State().Root
				v.Abandon()
				roots[now] = true
				cfg.Access, cfg.Root = access, &now
				v, err := volume.Open(t.Context(), m.Clone(), cfg)
				require.NoError(t, err, "image %d", i)
				v.Abandon()
				if i == int(n) {
					if n%2 == 1 {
						require.Equal(t, root, now, "replaying does not change the state")
					}
					continue
				}
				cfg.Root = &root
				_, err = volume.Open(t.Context(), m, cfg)
				require.ErrorIs(t, err, unix.EACCES, "image %d", i)
				require.ErrorContains(t, err, "rolled back")
			}
		}
	}
	require.Len(t, roots, len(images), "every state has its own root")
}
