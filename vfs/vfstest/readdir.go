package vfstest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func testReaddir(t *testing.T, d Driver) {
	t.Run("types and numbers", func(t *testing.T) {
		s := newSys(t, d, "d/", "f")
		if d.has(Symlinks) {
			s.layout("l => f")
		}
		if d.has(FIFOs) {
			s.ok(s.mknod("p", unix.S_IFIFO|0o644, 0), "mknod")
		}
		f := s.file("/", unix.O_RDONLY)
		defer f.close()
		es := f.entries(100)
		require.Equal(t, ".", es[0].Name)
		require.Equal(t, "..", es[1].Name)
		require.Equal(t, s.attr("/").Ino, es[0].Ino)
		for _, e := range es {
			if e.Name == ".." && !d.has(RootParent) {
				continue
			}
			a := s.attr("/" + e.Name)
			require.Equal(t, a.Ino, e.Ino, "d_ino of %s", e.Name)
			require.Equal(t, a.Mode&unix.S_IFMT>>12, uint32(e.Type), "d_type of %s", e.Name)
		}
		require.Empty(t, f.entries(100), "at the end")
	})
	const n = 150
	names := func(prefix string) (want []string) {
		for i := range n {
			want = append(want, fmt.Sprintf("%s%03d", prefix, i))
		}
		return want
	}
	for _, step := range []int{1, 3, 64, 1000} {
		t.Run(fmt.Sprintf("in steps of %d", step), func(t *testing.T) {
			s := newSys(t, d, names("f")...)
			f := s.file("/", unix.O_RDONLY)
			defer f.close()
			var got []string
			positions := map[uint64]bool{}
			for {
				es := f.entries(step)
				for _, e := range es {
					got = append(got, e.Name)
					require.False(t, positions[e.Pos], "position %d twice", e.Pos)
					require.NotZero(t, e.Pos)
					require.LessOrEqual(t, e.Pos, uint64(1<<63-1))
					positions[e.Pos] = true
				}
				if len(es) < step {
					break
				}
			}
			slices.Sort(got)
			require.Equal(t, append([]string{".", ".."}, names("f")...), got)
		})
	}
	t.Run("while deleting", func(t *testing.T) {
		s := newSys(t, d, names("f")...)
		f := s.file("/", unix.O_RDONLY)
		defer f.close()
		count := 0
		for es := f.entries(3); len(es) > 0; es = f.entries(3) {
			for _, e := range es {
				if e.Name != "." && e.Name != ".." {
					s.ok(s.unlink(e.Name), "unlink %s", e.Name)
					count++
				}
			}
		}
		require.Equal(t, n, count, "each name once")
		require.Empty(t, s.list("/"))
	})
	t.Run("while creating and deleting others", func(t *testing.T) {
		s := newSys(t, d, append(names("old"), names("gone")...)...)
		f := s.file("/", unix.O_RDONLY)
		defer f.close()
		seen := map[string]int{}
		for i := 0; ; i++ {
			es := f.entries(2)
			for _, e := range es {
				seen[e.Name]++
			}
			if len(es) == 0 {
				break
			}
			if i < n {
				s.layout(fmt.Sprintf("new%03d", i))
				s.ok(s.unlink(fmt.Sprintf("gone%03d", i)), "unlink")
			}
			require.Less(t, i, 10*n, "the directory ends")
		}
		for _, name := range names("old") {
			require.Equal(t, 1, seen[name], "%s", name)
		}
		for name, times := range seen {
			require.Equal(t, 1, times, "%s", name)
		}
	})
	t.Run("rewind and seek", func(t *testing.T) {
		s := newSys(t, d, names("f")...)
		f := s.file("/", unix.O_RDONLY)
		defer f.close()
		all := f.entries(1000)
		require.Len(t, all, n+2)
		for _, i := range []int{0, 1, 2, 50, n} {
			_, err := f.Seek(int64(all[i].Pos), unix.SEEK_SET)
			s.ok(err, "lseek to %d", all[i].Pos)
			require.Equal(t, all[i+1:], f.entries(1000), "after entry %d", i)
		}
		_, err := f.Seek(0, unix.SEEK_SET)
		s.ok(err, "rewind")
		require.Equal(t, all, f.entries(1000))
		s.layout("new")
		_, err = f.Seek(0, unix.SEEK_SET)
		s.ok(err, "rewind")
		require.Len(t, f.entries(1000), n+3)
	})
	t.Run("file", func(t *testing.T) {
		s := newSys(t, d, "f")
		f := s.file("f", unix.O_RDONLY)
		defer f.close()
		_, err := f.ReadDir(1)
		s.fails(unix.ENOTDIR, err, "getdents")
	})
}
