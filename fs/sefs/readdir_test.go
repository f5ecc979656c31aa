package sefs_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"cloister/vfs"
)

func TestReadDirIsExact(t *testing.T) {
	for name, hash := range map[string]func(string) uint64{
		"keyed hash": nil,
		"chains":     func(s string) uint64 { return uint64(s[len(s)-1]) << 50 },
		"lowest":     func(string) uint64 { return 0 },
		"highest":    func(string) uint64 { return ^uint64(0) },
	} {
		t.Run(name, func(t *testing.T) {
			x := newTree(t)
			if hash != nil {
				x.fs.SetHash(hash)
			}
			var want []string
			for n := range 60 {
				f := fmt.Sprintf("file-%02d", n)
				want = append(want, f)
				require.NoError(t, x.create(f, 0o600, ""))
			}
			for _, step := range []int{1, 2, 7, 59, 60, 1000} {
				var got []string
				pos := uint64(0)
				for _, e := range x.names("/", step) {
					got = append(got, e.Name)
					require.Greater(t, e.Pos, pos, "positions rise")
					pos = e.Pos
				}
				slices.Sort(got)
				require.Equal(t, want, got, "in steps of %d", step)
			}
		})
	}
}

// TestReadDirWhileDeleting removes each entry as soon as it was read, as rm -r
// does, and every other one before it is read.
func TestReadDirWhileDeleting(t *testing.T) {
	x := newTree(t)
	x.fs.SetHash(func(s string) uint64 { return uint64(s[len(s)-1]) << 40 })
	for n := range 100 {
		require.NoError(t, x.create(fmt.Sprintf("f%02d", n), 0o600, ""))
	}
	h, err := x.fs.Root().OpenDir(t.Context())
	require.NoError(t, err)
	seen := make(map[string]bool)
	gone := make(map[string]bool)
	pos := uint64(0)
	for {
		var e vfs.Dirent
		require.NoError(t, h.ReadDir(t.Context(), pos, func(d vfs.Dirent) bool {
			if e.Name == "" {
				e = d
				return true
			}
			return false
		}))
		if e.Name == "" {
			break
		}
		require.False(t, seen[e.Name], "%s came twice", e.Name)
		require.False(t, gone[e.Name], "%s came after it was removed", e.Name)
		seen[e.Name], pos = true, e.Pos
		require.NoError(t, x.unlink(e.Name))
		if n := len(seen); n%3 == 0 {
			for m := range 100 {
				f := fmt.Sprintf("f%02d", m)
				if !seen[f] && !gone[f] {
					require.NoError(t, x.unlink(f))
					gone[f] = true
					break
				}
			}
		}
	}
	require.Equal(t, 100, len(seen)+len(gone), "every entry that existed throughout came")
	require.Empty(t, x.dump())
}

func TestReadDirOfALargeDirectory(t *testing.T) {
	x := newTree(t)
	const n = 20000
	for i := range n {
		f, err := x.fs.Root().Create(t.Context(), fmt.Sprint("entry", i), x.attr(0o600))
		require.NoError(t, err)
		vfs.UnpinInode(t.Context(), f)
	}
	require.Len(t, x.names("/", 1000), n)
	require.Zero(t, x.fs.Stats().Inodes-1, "only the root stays in memory")
}
