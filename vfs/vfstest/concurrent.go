package vfstest

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// testConcurrent lets 16 processes work on one small tree at random, and then checks that the tree is sound.
func testConcurrent(t *testing.T, d Driver) {
	newSys(t, d).concurrently()
}

func (s *sys) concurrently() {
	s.t.Helper()
	var wg sync.WaitGroup
	failed := make(chan error, 16)
	for seed := range uint64(16) {
		u := s.as(0, 0)
		wg.Go(func() {
			if err := u.randomWork(rand.New(rand.NewPCG(seed, 1)), 250); err != nil {
				failed <- err
			}
		})
	}
	wg.Wait()
	close(failed)
	for err := range failed {
		s.ok(err, "random work")
	}
	s.soundTree("/", map[uint64]string{})
}

// allowed are the errors that calls may meet when others change the tree meanwhile.
var allowed = []unix.Errno{0, unix.ENOENT, unix.EEXIST, unix.ENOTDIR, unix.EISDIR, unix.ENOTEMPTY, unix.EINVAL}

func (s *sys) randomWork(r *rand.Rand, calls int) error {
	path := func() string {
		var b strings.Builder
		for range 1 + r.IntN(4) {
			fmt.Fprintf(&b, "/%c", 'a'+rune(r.IntN(3)))
		}
		return b.String()
	}
	for range calls {
		var err error
		var call string
		switch n := r.IntN(20); {
		case n < 6:
			call, err = "mkdir", s.mkdir(path(), 0o755)
		case n < 9:
			call, err = "create", s.opens(path(), unix.O_CREAT|unix.O_RDWR, 0o644)
		case n < 11:
			call, err = "unlink", s.unlink(path())
		case n < 13:
			call, err = "rmdir", s.rmdir(path())
		case n < 17:
			call, err = "rename", s.rename(path(), path())
		case n < 18:
			call = "list"
			if err = s.opens(path(), unix.O_RDONLY|unix.O_DIRECTORY, 0); err == nil {
				_, err = s.stat(path() + "/..")
			}
		default:
			call = "stat"
			_, err = s.stat(path())
		}
		if !allowedError(err) {
			return fmt.Errorf("%s: %w", call, err)
		}
	}
	return nil
}

func allowedError(err error) bool {
	got := vfs.Errno(err)
	for _, e := range allowed {
		if got == e {
			return true
		}
	}
	return false
}

// soundTree checks that each entry is there, each directory appears once, and link counts are
// right.
func (s *sys) soundTree(path string, seen map[uint64]string) {
	s.t.Helper()
	subdirs := uint32(0)
	for _, name := range s.list(path) {
		child := strings.TrimSuffix(path, "/") + "/" + name
		a := s.attr(child)
		if a.Mode&unix.S_IFMT != unix.S_IFDIR {
			require.EqualValues(s.t, 1, a.Nlink, "links of %s", child)
			continue
		}
		require.Empty(s.t, seen[a.Ino], "%s is there twice", child)
		seen[a.Ino] = child
		require.Equal(s.t, s.attr(path).Ino, s.attr(child+"/..").Ino, "%s/..", child)
		subdirs++
		s.soundTree(child, seen)
	}
	if s.d.has(DirLinks) {
		require.Equal(s.t, 2+subdirs, s.attr(path).Nlink, "links of %s", path)
	}
}
