package unionfs_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// U27: of many that write to a lower file at once, by any of its names, one
// copies it up, and no write is lost.
func TestConcurrentCopyUp(t *testing.T) {
	const writers = 8
	size := int64(2 << 20)
	text := strings.Repeat("x", int(size))
	for _, tc := range []struct {
		name  string
		lower []string
		names []string
	}{
		{"one name", []string{"d/e/f=" + text}, []string{"/d/e/f"}},
		{"three names", []string{"d/e/f=" + text, "g == d/e/f", "d/h == g"}, []string{"/d/e/f", "/g", "/d/h"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			up := newFaulty(newLayer(t))
			s := newStack(t, up, newLayer(t, tc.lower...))
			defer func() { s.unmount() }()
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					v := s.v.Clone()
					defer v.Release()
					name := tc.names[w%len(tc.names)]
					f, err := v.OpenAt(context.Background(), vfs.Path{}, name, vfs.OpenHow{Flags: unix.O_RDWR})
					if err != nil {
						t.Errorf("open %s: %v", name, err)
						return
					}
					defer f.Close(context.Background())
					if _, err := f.WriteAt(context.Background(), []byte{'0' + byte(w)}, int64(w)); err != nil {
						t.Errorf("write %s: %v", name, err)
					}
				})
			}
			wg.Wait()
			require.Equal(t, size+writers, up.written.Load(), "bytes written to the upper layer")
			want := "01234567" + text[writers:]
			for _, name := range tc.names {
				require.Equal(t, want, s.mustRead(name), name)
				require.EqualValues(t, len(tc.names), s.mustStat(name).Nlink, name)
			}
			s.remount()
			for _, name := range tc.names {
				require.Equal(t, want, s.mustRead(name), name)
			}
		})
	}
}

// A directory chain is copied up once, whoever needs it.
func TestConcurrentDirectoryCopyUp(t *testing.T) {
	var lower []string
	for i := range 16 {
		lower = append(lower, fmt.Sprintf("a/b/c/f%d=%d", i, i))
	}
	s := layout(t, nil, lower)
	defer s.unmount()
	want := s.dump(dumpLinks | dumpIno | dumpMtime)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			v := s.v.Clone()
			defer v.Release()
			f, err := v.OpenAt(context.Background(), vfs.Path{}, fmt.Sprintf("/a/b/c/f%d", i), vfs.OpenHow{Flags: unix.O_RDWR})
			if err != nil {
				t.Errorf("open f%d: %v", i, err)
				return
			}
			_ = f.Close(context.Background())
		})
	}
	wg.Wait()
	require.Equal(t, want, s.dump(dumpLinks|dumpIno|dumpMtime))
}

// Many tasks make random calls; afterwards the tree holds together, also after a
// remount, and the lower layers are as before.
func TestConcurrentCalls(t *testing.T) {
	layers := []vfs.FileSystem{newLayer(t), newLayer(t, lowerLayouts[0][0]...), newLayer(t, lowerLayouts[2][0]...)}
	before := append(dumpLayer(t, layers[1]), dumpLayer(t, layers[2])...)
	s := newStack(t, layers...)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(w)))
			mine := &tree{t: t, fs: s.fs, ns: s.ns, v: s.v.Clone()}
			defer mine.v.Release()
			for range 400 {
				o := randomOp(rnd.IntN)
				if errno := mine.do(o); errno == unix.EIO || errno == unix.ESTALE {
					t.Errorf("%v: %v", o, errno)
				}
				_, _ = mine.readdir(o.a)
				_, _ = mine.stat(o.b)
			}
		})
	}
	wg.Wait()
	want := s.dump(dumpLinks | dumpIno)
	s.remount()
	require.Equal(t, want, s.dump(dumpLinks|dumpIno))
	s.unmount()
	require.Equal(t, before, append(dumpLayer(t, layers[1]), dumpLayer(t, layers[2])...))
}
