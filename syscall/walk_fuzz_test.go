package syscall_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/ramfs"
	"cloister/syscall"
	"cloister/vfs"
)

// A planted file is one of the tree that FuzzWalk walks in.
type planted struct {
	path   string
	target string // of a symlink
	mode   uint32 // of a directory, or S_IFREG for a file; 0: a symlink
	mount  bool   // something is mounted there then
	flags  uintptr
}

// walkTree is the tree in the order in which it is made. The owner of each file is its number, so that one sees
// where a path has led.
var walkTree = append([]planted{
	{path: "a", mode: 0o755}, {path: "a/a", mode: 0o755}, {path: "a/a/a", mode: 0o755}, {path: "a/a/a/f", mode: unix.S_IFREG},
	{path: "a/f", mode: unix.S_IFREG}, {path: "f", mode: unix.S_IFREG},
	{path: "b", mode: 0o755}, {path: "b/f", mode: unix.S_IFREG},
	{path: "b", mount: true}, {path: "b/m", mode: 0o755}, {path: "b/f", mode: unix.S_IFREG}, {path: "b/l", target: "../a/a"}, {path: "b/r", target: "/a"},
	{path: "b/m", mount: true}, {path: "b/m/d", mode: 0o755}, {path: "b/m/d/f", mode: unix.S_IFREG}, {path: "b/m/o", target: "../../f"},
	{path: "c", mode: 0o755}, {path: "c", mount: true}, {path: "c", mount: true, flags: unix.MS_NOSYMFOLLOW},
	{path: "c/d", mode: 0o755}, {path: "c/l", target: "d"},
	{path: "p", mode: 0o700}, {path: "p/d", mode: 0o755}, {path: "p/f", mode: unix.S_IFREG}, {path: "x", mode: 0o711}, {path: "x/d", mode: 0o755},
	{path: "w", mode: 0o777}, {path: "l", target: "a"}, {path: "a/l", target: "../l/a/"}, {path: "ll", target: "l/l/f"}, {path: "s", target: "a/f/"},
	{path: "u", target: ".."}, {path: "t", target: "."}, {path: "i", target: "/"}, {path: "n", target: "missing"}, {path: "nn", target: "w/new"},
	{path: "o", target: "o"}, {path: "g", target: "/b/m/../../u/a/./f"}, {path: "h", target: "p/d"},
}, chain(42)...)

// chain returns n symlinks, k0 to a directory and each of the others to the one before: a walk follows 40.
func chain(n int) (links []planted) {
	target := "a"
	for i := range n {
		links = append(links, planted{path: fmt.Sprintf("k%d", i), target: target})
		target = links[i].path
	}
	return links
}

// walkBases are where relative paths start: descriptors are opened on them in this order.
var walkBases = []string{"a", "b/m", "p", "f", "l", "c", "dead"}

// grow makes the tree as c and returns the descriptors.
func grow(t testing.TB, c caller) (fds []int) {
	c.Umask(0)
	require.NoError(t, c.Fchownat(cwd, "/", 5000, 5000, 0))
	for i, e := range walkTree {
		var err error
		switch {
		case e.mount:
			err = c.Mount("none", e.path, "ramfs", e.flags, "")
		case e.mode == 0:
			err = c.Symlinkat(e.target, cwd, e.path)
		case e.mode == unix.S_IFREG:
			err = c.Mknodat(cwd, e.path, unix.S_IFREG|0o644, 0)
		default:
			err = c.Mkdirat(cwd, e.path, e.mode)
		}
		require.NoError(t, err, e.path)
		require.NoError(t, c.Fchownat(cwd, e.path, 5001+i, 5001+i, unix.AT_SYMLINK_NOFOLLOW), e.path)
		if e.mount {
			require.NoError(t, c.Fchmodat2(cwd, e.path, 0o755, 0), e.path)
		}
	}
	require.NoError(t, c.Mkdirat(cwd, "dead", 0o755))
	for _, path := range walkBases {
		fd, err := c.Openat(cwd, path, unix.O_PATH|unix.O_NOFOLLOW, 0)
		require.NoError(t, err, path)
		fds = append(fds, fd)
	}
	require.NoError(t, c.Unlinkat(cwd, "dead", unix.AT_REMOVEDIR))
	return fds
}

// FuzzWalk: a path leads where it does on Linux, or to the same errno, whatever the options, and however little is in the cache.
func FuzzWalk(f *testing.F) {
	for _, e := range walkTree {
		f.Add(e.path, uint16(0))
		f.Add("/"+e.path+"/../"+e.target, uint16(0x1234))
	}
	for i, path := range []string{
		"", "/", ".", "..", "//a//a/./..//a/f", "a/l/l", "b/../b/m/../m/d/f", "i/i/i/b/l/a/f", "u/u/a", "g/", "k39", "k40", "k41", "t/t/k38", "nn/", "n/x",
		"h/../f", "c/l", "c/l/", "w/new", "w/new/", "w/new/.", strings.Repeat("a/../", 800) + "f", strings.Repeat("n", 256), "x/" + strings.Repeat("n", 255),
		"b/m/o", "f/", "f/..", "ll/..", "s", "dead", "\x00", "a\x00b",
	} {
		for _, options := range []uint16{0, 1, 0x8, 0x110, 0x222, 0x444, 0x1888, 0x3fff, 0x2001 << uint(i%3)} {
			f.Add(path, options)
		}
	}
	linux := newKernel(f)
	sides := []caller{linux}
	for _, dentries := range []int{vfs.DefaultMaxDentries, 1} {
		ns, err := vfs.New(vfs.Config{Types: []vfs.FileSystemType{ramfs.Type{}}, Root: ramfs.New(ramfs.Config{}), RootType: "ramfs", MaxDentries: dentries})
		require.NoError(f, err)
		task := syscall.NewTask(ns, vfs.RootCred())
		f.Cleanup(func() {
			task.Exit()
			require.NoError(f, ns.Close(context.Background()))
		})
		sides = append(sides, task)
	}
	var bases [][]int
	for _, c := range sides {
		bases = append(bases, append(grow(f, c), cwd))
	}
	f.Fuzz(func(t *testing.T, path string, options uint16) {
		if strings.ContainsRune(path, 0) {
			t.Skip("a path of Linux's ends there")
		}
		q := newQuestion(options)
		for i, c := range sides[1:] {
			got := q.ask(c, bases[i+1], path)
			want := q.ask(sides[0], bases[0], path)
			for tries := 0; got != want && tries < 20; tries++ {
				// A walk of Linux's that something interrupts starts again, but goes on counting symlinks.
				want = q.ask(sides[0], bases[0], path)
			}
			require.Equal(t, want, got, "side %d: %q from %d: %+v", i, path, q.base, q)
		}
	})
}

// A question is what is asked about a path.
type question struct {
	base    int // index of the descriptor
	user    bool
	how     unix.OpenHow
	atFlags int
}

func newQuestion(options uint16) question {
	bit := func(i, value int) int { return int(options>>i&1) * value }
	q := question{
		base: int(options & 7), user: options&8 != 0,
		how: unix.OpenHow{
			Flags: uint64(unix.O_PATH | bit(4, unix.O_NOFOLLOW) | bit(5, unix.O_DIRECTORY)),
			Resolve: uint64(bit(6, unix.RESOLVE_NO_XDEV) | bit(7, unix.RESOLVE_NO_SYMLINKS) | bit(8, unix.RESOLVE_BENEATH) |
				bit(9, unix.RESOLVE_IN_ROOT) | bit(10, unix.RESOLVE_NO_MAGICLINKS)),
		},
		atFlags: bit(11, unix.AT_SYMLINK_NOFOLLOW) | bit(12, unix.AT_EMPTY_PATH),
	}
	if q.how.Resolve&unix.RESOLVE_BENEATH != 0 {
		q.how.Resolve &^= unix.RESOLVE_IN_ROOT // not both
	}
	return q
}

// ask walks in all ways, and tells where to.
func (q *question) ask(c caller, bases []int, path string) string {
	if q.user {
		_ = c.Setresuid(-1, 1000, -1)
		defer c.Setresuid(-1, 0, -1)
	}
	base := bases[q.base]
	var answers []string
	answer := func(call string, uid uint32, err error) {
		if err != nil {
			answers = append(answers, fmt.Sprintf("%s: %v", call, vfs.Errno(err)))
			return
		}
		answers = append(answers, fmt.Sprintf("%s: %d", call, uid))
	}
	var st unix.Stat_t
	err := c.Newfstatat(base, path, &st, q.atFlags)
	answer("stat", st.Uid, err)

	fd, err := c.Openat2(base, path, &q.how, 24)
	for tries := 0; errors.Is(err, unix.EAGAIN) && tries < 100; tries++ { // any rename on the machine does that
		fd, err = c.Openat2(base, path, &q.how, 24)
	}
	st = unix.Stat_t{}
	if err == nil {
		err = c.Fstat(fd, &st)
		_ = c.Close(fd)
	}
	answer("open", st.Uid, err)

	// A walk to the last component but one.
	err = c.Mkdirat(base, path, 0o700)
	answer("mkdir", 0, err)
	if err == nil {
		err = c.Unlinkat(base, path, unix.AT_REMOVEDIR)
		for tries := 0; errors.Is(err, unix.ELOOP) && tries < 100; tries++ { // see FuzzWalk: it must not stay
			err = c.Unlinkat(base, path, unix.AT_REMOVEDIR)
		}
		answer("rmdir", 0, err)
	}
	return strings.Join(answers, ", ")
}
