package syscall_test

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"cloister/syscall"
	"cloister/vfs"
)

// TestLikeLinux makes the same random calls to a Task on ramfs and to the real
// kernel on tmpfs, and compares every answer and the trees at the end.
func TestLikeLinux(t *testing.T) {
	newKernel(t) // skips where there is none
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		task, end, err := startTask()
		require.NoError(t, err)
		linux, err := startKernel(dir)
		require.NoError(t, err)
		defer linux.close()
		task.Umask(0)
		w := &world{task: task, linux: linux}
		t.Repeat(w.actions())
		w.regainRoot()
		require.Equal(t, w.dumpTree(linux, "/"), w.dumpTree(task, "/"), "trees")
		require.NoError(t, end(), "everything is released at the end")
	})
}

// world is the state of one random run.
type world struct {
	task  *syscall.Task
	linux *kernel
	fds   []fdPair
}

// fdPair is one descriptor on both sides.
type fdPair struct{ task, linux int }

// both makes a call on both sides and compares errno and result.
func (w *world) both(t *rapid.T, call string, do func(c caller, fd func(fdPair) int) (any, error)) {
	t.Helper()
	want, wantErr := do(w.linux, func(p fdPair) int { return p.linux })
	got, gotErr := do(w.task, func(p fdPair) int { return p.task })
	result := func(v any, err error) string {
		if err != nil {
			return unix.ErrnoName(vfs.Errno(err))
		}
		return fmt.Sprint(v)
	}
	t.Log(call, "=", result(want, wantErr))
	require.Equal(t, result(want, wantErr), result(got, gotErr), "%s (error: %v)", call, gotErr)
}

// open makes a call that returns a descriptor.
func (w *world) open(t *rapid.T, call string, do func(c caller, fd func(fdPair) int) (int, error)) {
	t.Helper()
	var opened fdPair
	ok := false
	w.both(t, call, func(c caller, fd func(fdPair) int) (any, error) {
		n, err := do(c, fd)
		if c == caller(w.task) {
			opened.task = n
		} else {
			opened.linux = n
		}
		ok = err == nil
		return "fd", err
	})
	if ok {
		w.fds = append(w.fds, opened)
	}
}

func (w *world) regainRoot() {
	for _, c := range []caller{w.task, w.linux} {
		if err := c.Setresuid(-1, 0, -1); err != nil {
			panic(err) // the saved id is always 0
		}
	}
}

var badFd = fdPair{-1, -1}

func (w *world) drawFd(t *rapid.T) fdPair {
	if len(w.fds) == 0 || rapid.IntRange(0, 15).Draw(t, "fd is bad") == 0 {
		return badFd
	}
	return rapid.SampledFrom(w.fds).Draw(t, "fd")
}

// drawAt draws where a relative path starts: mostly the working directory.
func (w *world) drawAt(t *rapid.T) fdPair {
	if rapid.IntRange(0, 3).Draw(t, "at fd") != 0 {
		return fdPair{unix.AT_FDCWD, unix.AT_FDCWD}
	}
	return w.drawFd(t)
}

var (
	component = rapid.SampledFrom([]string{"a", "b", "c", "a", "b", "c", "d", ".", ".."})
	oddPath   = rapid.SampledFrom([]string{"", "/", ".", "..", "//", "a/.", "a/..", strings.Repeat("n", 255),
		strings.Repeat("n", 256), "a/" + strings.Repeat("n", 256), strings.Repeat("./", 2047) + "a", strings.Repeat("./", 2048)})
)

func drawPath(t *rapid.T, label string) string {
	if rapid.IntRange(0, 19).Draw(t, label+" is odd") == 0 {
		return oddPath.Draw(t, label)
	}
	p := strings.Join(rapid.SliceOfN(component, 1, 3).Draw(t, label), "/")
	switch rapid.IntRange(0, 7).Draw(t, label+" form") {
	case 0:
		return "/" + p
	case 1:
		return p + "/"
	case 2:
		return "//" + p
	}
	return p
}

func drawFlags(t *rapid.T, label string, flags ...int) (set int) {
	for i, f := range flags {
		if rapid.IntRange(0, 3).Draw(t, fmt.Sprint(label, i)) == 0 {
			set |= f
		}
	}
	return set
}

func drawMode(t *rapid.T) uint32 {
	return rapid.SampledFrom([]uint32{0o777, 0o755, 0o644, 0o700, 0o500, 0o300, 0, 0o1777, 0o2755, 0o4755, 0o2644}).Draw(t, "mode")
}

func drawID(t *rapid.T) int { return rapid.SampledFrom([]int{-1, 0, 1000, 1001}).Draw(t, "id") }

// statText prints what can be equal on two systems.
func (w *world) statText(st *unix.Stat_t) string {
	size := st.Size
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		size = 0
	}
	return fmt.Sprintf("mode=%o nlink=%d uid=%d gid=%d size=%d rdev=%d atime=%s mtime=%s",
		st.Mode, st.Nlink, st.Uid, st.Gid, size, st.Rdev, timeText(st.Atim), timeText(st.Mtim))
}

// timeText tells times that a call set from times of the run.
func timeText(ts unix.Timespec) string {
	if ts.Sec < 1e9 {
		return fmt.Sprint(ts)
	}
	return "now"
}

// dumpTree prints the tree at p, as root.
func (w *world) dumpTree(c caller, p string) (lines []string) {
	var st unix.Stat_t
	if err := c.Newfstatat(unix.AT_FDCWD, p, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return []string{p + ": " + err.Error()}
	}
	st.Atim = unix.Timespec{} // reading for the dump itself changes it
	line := p + ": " + w.statText(&st)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		buf := make([]byte, 4096)
		n, err := c.Readlinkat(unix.AT_FDCWD, p, buf)
		return append(lines, fmt.Sprintf("%s => %q %v", line, buf[:n], err))
	case unix.S_IFREG:
		fd, err := c.Openat(unix.AT_FDCWD, p, unix.O_RDONLY, 0)
		if err != nil {
			return append(lines, line+" "+err.Error())
		}
		defer c.Close(fd)
		buf := make([]byte, 1<<16)
		n, err := c.Read(fd, buf)
		return append(lines, fmt.Sprintf("%s %q %v", line, buf[:n], err))
	case unix.S_IFDIR:
		lines = append(lines, line)
		fd, err := c.Openat(unix.AT_FDCWD, p, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			return append(lines, line+" "+err.Error())
		}
		defer c.Close(fd)
		names, err := readDir(c, fd, 300)
		if err != nil {
			return append(lines, err.Error())
		}
		slices.Sort(names)
		for _, name := range names {
			if name != "." && name != ".." {
				lines = append(lines, w.dumpTree(c, path.Join(p, name))...)
			}
		}
		return lines
	}
	return append(lines, line)
}
