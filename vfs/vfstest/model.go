package vfstest

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// RunModel makes the same random calls on d and on a driver that is known to be right, such as ramfs,
// and fails where an errno, or in the end the trees, differ. What d lacks is not called. Each seed
// makes another sequence.
func RunModel(t *testing.T, d Driver, model Driver, seed uint64, calls int) {
	model.Lacks |= d.Lacks
	a, _ := newView(t, d, vfs.Config{MaxDentries: 32})
	b := newSys(t, model)
	r := rand.New(rand.NewPCG(seed, 2))
	var log []string
	for range calls {
		text, call := randomCall(r, d.Lacks)
		log = append(log, text)
		got, want := vfs.Errno(call(a)), vfs.Errno(call(b))
		if got != want {
			t.Fatalf("seed %d: %s: got %v, the model %v; calls before:\n%s", seed, text, got, want, tail(log, 20))
		}
	}
	require.Equal(t, b.dump("/"), a.dump("/"), "seed %d: trees; last calls:\n%s", seed, tail(log, 20))
}

func tail(log []string, n int) string {
	return strings.Join(log[max(0, len(log)-n):], "\n")
}

// randomCall returns a call and its text. It draws all of its numbers before it is made, so that
// both sides get the same.
func randomCall(r *rand.Rand, lacks Feature) (string, func(*sys) error) {
	path := func() string {
		var b strings.Builder
		for range 1 + r.IntN(3) {
			fmt.Fprintf(&b, "/%c", 'a'+rune(r.IntN(4)))
		}
		return b.String()
	}
	p, q := path(), path()
	off, size := r.Int64N(20000), r.IntN(9000)
	data := string(pattern(int64(size), byte(r.IntN(255))))
	mode := uint32(r.IntN(0o1000))
	flags := []uint32{0, 0, unix.RENAME_NOREPLACE, unix.RENAME_EXCHANGE}[r.IntN(4)]
	if flags == unix.RENAME_EXCHANGE && lacks&Exchange != 0 {
		flags = 0
	}
	withFile := func(f func(openFile) error) func(*sys) error {
		return func(s *sys) error {
			open, err := s.open(p, unix.O_RDWR, 0)
			if err != nil {
				return err
			}
			err = f(open)
			if cerr := open.Close(); err == nil {
				err = cerr
			}
			return err
		}
	}
	switch n := r.IntN(24); {
	case n < 4:
		return "mkdir " + p, func(s *sys) error { return s.mkdir(p, 0o755) }
	case n < 7:
		return "create " + p, func(s *sys) error {
			return s.opens(p, unix.O_CREAT|unix.O_RDWR, mode|0o600)
		}
	case n < 10:
		return fmt.Sprintf("write %s %d bytes at %d", p, size, off), withFile(func(f openFile) error {
			_, err := f.WriteAt([]byte(data), off)
			return err
		})
	case n < 11:
		return fmt.Sprintf("truncate %s %d", p, off), func(s *sys) error { return s.truncate(p, off) }
	case n < 12 && lacks&PunchHole == 0:
		return fmt.Sprintf("punch %s %d bytes at %d", p, size+1, off), withFile(func(f openFile) error {
			return f.Fallocate(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, int64(size)+1)
		})
	case n < 14:
		return "unlink " + p, func(s *sys) error { return s.unlink(p) }
	case n < 15:
		return "rmdir " + p, func(s *sys) error { return s.rmdir(p) }
	case n < 20:
		return fmt.Sprintf("rename %s %s flags %d", p, q, flags), func(s *sys) error { return s.rename2(p, q, flags) }
	case n < 21 && lacks&Links == 0:
		return "link " + p + " " + q, func(s *sys) error { return s.link(p, q) }
	case n < 22 && lacks&Symlinks == 0:
		return "symlink " + p + " " + q, func(s *sys) error { return s.symlink(p, q) }
	case n < 23:
		return fmt.Sprintf("chmod %s %o", p, mode), func(s *sys) error { return s.chmod(p, mode) }
	}
	return "stat " + p, func(s *sys) error { _, err := s.stat(p); return err }
}

// dump describes a tree: names, types, modes, link counts, contents.
func (s *sys) dump(path string) (lines []string) {
	s.t.Helper()
	for _, name := range s.list(path) {
		child := strings.TrimSuffix(path, "/") + "/" + name
		a := s.attr(child)
		line := fmt.Sprintf("%s %o", child, a.Mode)
		switch a.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			lines = append(append(lines, line), s.dump(child)...)
			continue
		case unix.S_IFLNK:
			target, err := s.readlink(child)
			s.ok(err, "readlink %s", child)
			line += " => " + target
		case unix.S_IFREG:
			line += fmt.Sprintf(" %d links %q", a.Nlink, s.get(child))
		}
		lines = append(lines, line)
	}
	return lines
}
