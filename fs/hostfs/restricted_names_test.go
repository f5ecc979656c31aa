package hostfs_test

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/hostfs"
	"cloister/internal/testenv"
	"cloister/vfs"
)

// slow is a call that the host has not answered yet.
type slow struct {
	t      *testing.T
	paths  chan string
	answer chan error
	result chan error
}

func begin(t *testing.T, do func(call func(string) error) error) *slow {
	s := &slow{t: t, paths: make(chan string, 1), answer: make(chan error), result: make(chan error, 1)}
	go func() {
		s.result <- do(func(path string) error {
			s.paths <- path
			return <-s.answer
		})
	}()
	return s
}

// sent waits for the call to be made and returns its path.
func (s *slow) sent() string {
	s.t.Helper()
	select {
	case p := <-s.paths:
		return p
	case <-time.After(20 * time.Second):
		require.Fail(s.t, "the call is not made")
	}
	return ""
}

// ends answers the call and returns what it then says.
func (s *slow) ends(answer error) error {
	s.answer <- answer
	return <-s.result
}

func waits(t *testing.T, n hostfs.Names, want int) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); n.Waiting() != want; runtime.Gosched() {
		require.True(t, time.Now().Before(end), "%d calls wait, not %d", n.Waiting(), want)
	}
}

var errNone = errors.New("must not be called")

func at(path *string) func(string) error {
	return func(p string) error { *path = p; return nil }
}

// TestNamesPaths: the paths of what is in use follow renames.
func TestNamesPaths(t *testing.T) {
	n := hostfs.NewNames()
	root := n.Dir("/srv//./x/")
	a, c := n.Dir("/srv/x/a"), n.Dir("/srv/x/a/b/c")
	var p string
	path := func(call func(func(string) error) error) string {
		p = ""
		require.NoError(t, call(at(&p)))
		return p
	}
	ok := func(string, string) error { return nil }
	fOf := func(d int) string {
		return path(func(call func(string) error) error {
			if d == 0 {
				return n.Look(c, "f", call)
			}
			return n.Look(c, "", call)
		})
	}
	require.Equal(t, "/srv/x/a/b/c/f", fOf(0))
	require.Equal(t, "/srv/x/a/b/c", fOf(1))
	require.Equal(t, "/", path(func(call func(string) error) error { return n.Look(n.Dir("/"), "", call) }))
	require.NoError(t, n.Rename(a, "b", root, "z", ok))
	require.Equal(t, "/srv/x/z/c/f", fOf(0))
	require.NoError(t, n.Rename(root, "z", a, "y", func(from, to string) error {
		require.Equal(t, "/srv/x/z", from)
		require.Equal(t, "/srv/x/a/y", to)
		return nil
	}))
	require.ErrorIs(t, n.Rename(root, "a", root, "q", func(string, string) error { return unix.EBUSY }), unix.EBUSY)
	require.Equal(t, "/srv/x/a/y/c/f", fOf(0), "a rename that failed")
	require.NoError(t, n.Rename(root, "unknown", root, "a", ok))
	require.ErrorIs(t, n.Look(c, "f", func(string) error { return errNone }), unix.ENOENT, "replaced")
	require.ErrorIs(t, n.Make(a, "f", func(string) error { return errNone }), unix.ENOENT)

	other := n.Dir("/srv/x/a")
	require.NoError(t, n.Remove(root, "a", func(string) error { return nil }))
	require.NoError(t, n.Make(root, "a", func(string) error { return nil }))
	require.ErrorIs(t, n.Look(other, "f", func(string) error { return errNone }), unix.ENOENT, "removed, and made again")
	n.Unpin(c)
	n.Unpin(a)
	n.Unpin(other)
	kept, underWay := n.Left()
	require.Equal(t, 2, kept, "srv and x")
	require.Zero(t, underWay)
	n.Unpin(root)
	kept, _ = n.Left()
	require.Zero(t, kept)
}

// TestNamesRename: a call that a rename overtakes is made again on the new path, and what takes the old name waits for it.
func TestNamesRename(t *testing.T) {
	testenv.CheckLeaks(t)
	n := hostfs.NewNames()
	root, d := n.Dir("/r"), n.Dir("/r/a/d")
	create := begin(t, func(call func(string) error) error { return n.Make(d, "f", call) })
	require.Equal(t, "/r/a/d/f", create.sent())

	// The rename does not wait for it.
	require.NoError(t, n.Rename(root, "a", root, "b", func(string, string) error { return nil }))
	again := begin(t, func(call func(string) error) error { return n.Make(root, "a", call) })
	waits(t, n, 1)
	create.answer <- unix.ENOENT
	require.Equal(t, "/r/b/d/f", create.sent(), "made again")
	require.Equal(t, "/r/a", again.sent(), "nobody means the old one any more")
	require.NoError(t, create.ends(nil))
	require.NoError(t, again.ends(nil))

	// What is not there is not asked for again and again.
	calls := 0
	require.ErrorIs(t, n.Look(d, "none", func(string) error { calls++; return unix.ENOENT }), unix.ENOENT)
	require.Equal(t, 1, calls)
}

// TestNamesWait: calls wait for a rename above them, and for nothing else.
func TestNamesWait(t *testing.T) {
	testenv.CheckLeaks(t)
	n := hostfs.NewNames()
	root, a, b := n.Dir("/r"), n.Dir("/r/a"), n.Dir("/r/b")
	moving := begin(t, func(call func(string) error) error {
		return n.Rename(root, "a", root, "c", func(from, _ string) error { return call(from) })
	})
	moving.sent()
	below := begin(t, func(call func(string) error) error { return n.Look(a, "f", call) })
	waits(t, n, 1)
	for name, err := range map[string]error{
		"beside":     n.Look(b, "f", func(string) error { return nil }),
		"above":      n.Look(root, "", func(string) error { return nil }),
		"made":       n.Make(b, "g", func(string) error { return nil }),
		"alike":      n.Make(root, "aa", func(string) error { return nil }),
		"other":      n.Rename(root, "x", root, "y", func(string, string) error { return nil }),
		"removed":    n.Remove(root, "b", func(string) error { return nil }),
		"other root": n.Look(n.Dir("/s/a"), "f", func(string) error { return nil }),
	} {
		require.NoError(t, err, name)
	}
	require.Equal(t, 1, n.Waiting())
	require.NoError(t, moving.ends(nil))
	require.Equal(t, "/r/c/f", below.sent())

	// A call that is never answered stops what would take its name, and nobody else.
	taker := begin(t, func(call func(string) error) error { return n.Make(root, "c", call) })
	waits(t, n, 1)
	require.NoError(t, n.Look(a, "f", func(string) error { return nil }))
	require.NoError(t, n.Remove(a, "f", func(string) error { return nil }))
	require.NoError(t, n.Rename(root, "c", root, "d", func(string, string) error { return nil }))
	require.NoError(t, below.ends(nil))
	taker.sent()
	require.NoError(t, taker.ends(nil))
}

// TestRestrictedStress: files are made in a directory, by who has it as working directory, while it is moved and
// another takes its name. Each lands where it belongs.
func TestRestrictedStress(t *testing.T) {
	testenv.CheckLeaks(t)
	h := hostfs.NewRestricted()
	t.Run("run", func(t *testing.T) {
		w := newWorld(t, h)
		require.NoError(t, os.MkdirAll(w.on("a/d"), 0o755))
		v := w.in("/host/a/d")
		var stop atomic.Bool
		var wg sync.WaitGroup
		moves := 0
		defer wg.Wait()
		defer stop.Store(true)
		wg.Go(func() {
			for !stop.Load() {
				for _, err := range []error{
					w.RenameAt(w.ctx, cwd, "/host/a", cwd, "/host/b", 0),
					w.MkdirAt(w.ctx, cwd, "/host/a", 0o755),
					w.MkdirAt(w.ctx, cwd, "/host/a/d", 0o755),
					w.RmdirAt(w.ctx, cwd, "/host/a/d"),
					w.RmdirAt(w.ctx, cwd, "/host/a"),
					w.RenameAt(w.ctx, cwd, "/host/b", cwd, "/host/a", 0),
				} {
					if err != nil {
						t.Error(err)
						return
					}
				}
				moves++
			}
		})
		const files = 1500
		for i := range files {
			f, err := v.OpenAt(w.ctx, cwd, fmt.Sprint(i), vfs.OpenHow{Flags: unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL, Mode: 0o644})
			require.NoError(t, err)
			require.NoError(t, f.Close(w.ctx))
			_, _, err = v.GetattrAt(w.ctx, cwd, fmt.Sprint(i), 0, unix.STATX_BASIC_STATS)
			require.NoError(t, err)
		}
		stop.Store(true)
		wg.Wait()
		require.Positive(t, moves)
		names, err := os.ReadDir(w.on("a/d"))
		require.NoError(t, err)
		require.Len(t, names, files)
	})
	kept, underWay := hostfs.NamesOf(h).Left()
	require.Zero(t, kept)
	require.Zero(t, underWay)
}
