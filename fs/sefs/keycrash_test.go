package sefs_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs"
	"cloister/fs/sefs/internal/store"
	"cloister/vfs"
)

// keyedImage is an image in memory with slots for some locks.
type keyedImage struct {
	mem  *store.Memory
	tree map[string]string
	all  []lock  // that of the first slot, and one of every kind
	made [6]bool // those that have a key by now
}

func newKeyedImage(t *testing.T) *keyedImage {
	first := lock{name: "first", open: func() sefs.OpenConfig { return sefs.OpenConfig{Key: testKey(t)} }}
	k := &keyedImage{mem: store.NewMemory(), all: append([]lock{first}, locks(t)...)}
	k.made[0] = true
	x := &tree{t: t, cfg: onStore(t, k.mem)}
	fs, err := sefs.Make(t.Context(), "image", sefs.MakeConfig{OpenConfig: x.cfg})
	require.NoError(t, err)
	x.fs = fs
	require.NoError(t, x.create("d", unix.S_IFDIR|0o755, ""))
	for n := range 4 {
		require.NoError(t, x.create(fmt.Sprint("d/f", n), 0o644, strings.Repeat("data", n*3000)))
	}
	k.tree = x.dump()
	require.NoError(t, fs.Sync(t.Context()))
	x.fs.Abandon() // a journal that has to be replayed with any key
	return k
}

// add returns what makes lock i, which has a key from then on.
func (k *keyedImage) add(i int) sefs.NewKey {
	k.made[i] = true
	return k.all[i].add
}

// opening returns which locks open what is in mem; each that does shows the whole tree.
func (k *keyedImage) opening(t *testing.T, mem *store.Memory, what string) (names []string) {
	for i, l := range k.all {
		if !k.made[i] {
			continue
		}
		cfg := l.open()
		cfg.Access, cfg.OpenStore = sefs.ReadOnly, onStore(t, mem).OpenStore
		fs, err := sefs.Open(t.Context(), "image", cfg)
		if err != nil {
			require.ErrorIs(t, err, unix.EACCES, what)
			continue
		}
		require.Equal(t, k.tree, (&tree{t: t, fs: fs}).dump(), "%s, opened with %q", what, l.name)
		require.NoError(t, fs.Close(t.Context(), vfs.ForceClose))
		names = append(names, l.name)
	}
	return names
}

// TestInterruptedKeyOperations cuts all operations on key slots of all kinds at every host call. The image
// opens, whole, with the keys from before or with those from after, and with no other.
func TestInterruptedKeyOperations(t *testing.T) {
	type operation struct {
		name string
		do   func(k *keyedImage, keys *sefs.Keys) error
	}
	var list []operation
	for i := range locks(t) {
		list = append(list,
			operation{"add " + locks(t)[i].name, func(k *keyedImage, keys *sefs.Keys) error {
				_, err := keys.Add(k.add(1 + i))
				return err
			}},
			operation{"replace by " + locks(t)[i].name, func(k *keyedImage, keys *sefs.Keys) error {
				return keys.Replace(0, k.add(1+i))
			}},
			operation{"remove " + locks(t)[i].name, func(k *keyedImage, keys *sefs.Keys) error {
				return keys.Remove(1) // made before
			}})
	}
	images := 0
	for i, op := range list {
		t.Run(op.name, func(t *testing.T) {
			k := newKeyedImage(t)
			open := func(st store.Store) *sefs.Keys {
				keys, err := sefs.OpenKeys("image", sefs.KeysConfig{Key: testKey(t), OpenStore: onStore(t, st).OpenStore})
				require.NoError(t, err)
				return keys
			}
			if strings.HasPrefix(op.name, "remove") {
				keys := open(k.mem)
				_, err := keys.Add(k.add(1 + i/3))
				require.NoError(t, err)
				require.NoError(t, keys.Close())
			}
			if strings.HasPrefix(op.name, "replace") { // two slots, so that one is left in between
				keys := open(k.mem)
				_, err := keys.Add(k.add(1 + (i/3+1)%5))
				require.NoError(t, err)
				require.NoError(t, keys.Close())
			}
			before := k.opening(t, k.mem, "before")
			rec := store.NewRecorder(k.mem)
			keys := open(rec)
			require.NoError(t, op.do(k, keys))
			require.NoError(t, keys.Close())
			after := k.opening(t, k.mem, "after")
			require.NotEqual(t, before, after)
			for img := range rec.Crashes(store.CrashConfig{Rand: rand.New(rand.NewPCG(1, 1)), Each: 12}) {
				images++
				got := k.opening(t, img.Memory, img.Fate)
				if !slices.Equal(got, after) {
					require.Equal(t, before, got, "crash after call %d, %s", img.Calls, img.Fate)
					require.Less(t, img.Calls, rec.Len(), "a change that succeeded is lost")
				}
			}
		})
	}
	t.Logf("%d crash images of %d operations", images, len(list))
}
