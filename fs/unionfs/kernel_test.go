package unionfs_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/internal/kernel"
	"cloister/internal/testenv"
	"cloister/vfs"
)

// kernelUnion is an overlay of the kernel, on a tmpfs in a mount namespace that only its
// thread sees. It implements target.
type kernelUnion struct {
	t    testing.TB
	root string // of the overlay
}

// newKernelUnion mounts the layers, top to bottom, the first being the upper one. The
// calling goroutine keeps its thread, which ends with it.
func newKernelUnion(t testing.TB, layers [][]string) *kernelUnion {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"))
	lowers := make([]string, 0, len(layers))
	for i, files := range layers {
		layer := filepath.Join(dir, fmt.Sprint(i))
		require.NoError(t, unix.Mkdir(layer, 0o755))
		k := &kernelUnion{t, layer}
		for _, line := range files {
			k.make(line)
		}
		if i > 0 {
			lowers = append(lowers, layer)
		}
	}
	k := &kernelUnion{t, filepath.Join(dir, "m")}
	require.NoError(t, unix.Mkdir(filepath.Join(dir, "work"), 0o755))
	require.NoError(t, unix.Mkdir(k.root, 0o755))
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s/0,workdir=%s/work,index=on,redirect_dir=off,metacopy=off",
		strings.Join(lowers, ":"), dir, dir)
	require.NoError(t, unix.Mount("overlay", k.root, "overlay", 0, options))
	return k
}

// make makes what one line of a layout says; see tree.make.
func (k *kernelUnion) make(line string) {
	k.t.Helper()
	name, _, _ := strings.Cut(line, " ")
	name, text, _ := strings.Cut(name, "=")
	for i, c := range name {
		if c == '/' && i < len(name)-1 {
			_ = unix.Mkdir(k.path(name[:i]), 0o755)
		}
	}
	switch {
	case strings.Contains(line, " => "):
		require.NoError(k.t, unix.Symlink(line[strings.Index(line, " => ")+4:], k.path(name)), line)
	case strings.Contains(line, " == "):
		require.NoError(k.t, unix.Link(k.path(line[strings.Index(line, " == ")+4:]), k.path(name)), line)
	case strings.HasSuffix(line, "|"):
		require.NoError(k.t, unix.Mknod(k.path(strings.TrimSuffix(name, "|")), unix.S_IFIFO|0o644, 0), line)
	case strings.HasSuffix(line, "!"):
		require.NoError(k.t, unix.Mknod(k.path(strings.TrimSuffix(name, "!")), unix.S_IFCHR, 0), line)
	case strings.HasSuffix(name, "/"):
		require.NoError(k.t, unix.Mkdir(k.path(name), 0o755), line)
		if strings.HasSuffix(line, " opaque") {
			require.NoError(k.t, unix.Setxattr(k.path(name), "trusted.overlay.opaque", []byte("y"), 0), line)
		}
	default:
		require.NoError(k.t, k.writeAt("/"+name, unix.O_CREAT|unix.O_WRONLY, text, 0), line)
	}
}

func (k *kernelUnion) path(p string) string { return k.root + "/" + strings.TrimPrefix(p, "/") }

func (k *kernelUnion) writeAt(path string, flags int, text string, off int64) error {
	fd, err := unix.Open(k.path(path), flags|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Pwrite(fd, []byte(text), off)
	return err
}

func (k *kernelUnion) open(path string, flags int) error {
	fd, err := unix.Open(k.path(path), flags|unix.O_CLOEXEC|unix.O_NONBLOCK, 0o644)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// do implements target.
func (k *kernelUnion) do(o op) unix.Errno {
	a, b := k.path(o.a), k.path(o.b)
	const nofollow = unix.AT_SYMLINK_NOFOLLOW
	var err error
	switch o.call {
	case "create":
		err = k.open(o.a, unix.O_CREAT|unix.O_EXCL|unix.O_RDWR)
	case "write":
		err = k.writeAt(o.a, unix.O_WRONLY|unix.O_NOFOLLOW, fmt.Sprint(o.n), o.n)
	case "trunc":
		err = k.writeAt(o.a, unix.O_WRONLY|unix.O_TRUNC|unix.O_CREAT|unix.O_NOFOLLOW, fmt.Sprint(o.n), 0)
	case "append":
		err = k.writeAt(o.a, unix.O_WRONLY|unix.O_APPEND|unix.O_NOFOLLOW, fmt.Sprint(o.n), 0)
	case "truncate":
		err = unix.Truncate(a, o.n)
	case "mkdir":
		err = unix.Mkdir(a, 0o755)
	case "rmdir":
		err = unix.Rmdir(a)
	case "unlink":
		err = unix.Unlink(a)
	case "rename":
		err = unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, uint(o.flags))
	case "link":
		err = unix.Link(a, b)
	case "symlink":
		err = unix.Symlink("a/b", a)
	case "mkfifo":
		err = unix.Mknod(a, unix.S_IFIFO|0o644, 0)
	case "chmod":
		err = unix.Fchmodat(unix.AT_FDCWD, a, uint32(o.n)%0o1000, nofollow)
	case "chown":
		err = unix.Lchown(a, int(o.n), int(o.n))
	case "open":
		err = k.open(o.a, int(o.flags))
	}
	if err == nil {
		return 0
	}
	return err.(unix.Errno)
}

func (k *kernelUnion) isFIFO(path string) bool {
	var st unix.Stat_t
	return unix.Lstat(k.path(path), &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFIFO
}

// dump describes everything as tree.dump does.
func (k *kernelUnion) dump() []string {
	k.t.Helper()
	var lines []string
	var walk func(path string)
	walk = func(path string) {
		var st unix.Stat_t
		require.NoError(k.t, unix.Lstat(k.path(path), &st))
		line := fmt.Sprintf("%s %06o %d:%d", path, st.Mode, st.Uid, st.Gid)
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			line += fmt.Sprintf(" links=%d", st.Nlink)
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			line += fmt.Sprintf(" %q", k.read(path))
		case unix.S_IFLNK:
			buf := make([]byte, 4096)
			n, err := unix.Readlink(k.path(path), buf)
			require.NoError(k.t, err)
			line += fmt.Sprintf(" -> %q", buf[:n])
		}
		lines = append(lines, line)
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			for _, name := range k.names(path) {
				walk(strings.TrimSuffix(path, "/") + "/" + name)
			}
		}
	}
	walk("/")
	return lines
}

func (k *kernelUnion) read(path string) string {
	k.t.Helper()
	fd, err := unix.Open(k.path(path), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	require.NoError(k.t, err)
	defer unix.Close(fd)
	buf := make([]byte, 4096)
	n, err := unix.Read(fd, buf)
	require.NoError(k.t, err)
	return string(buf[:n])
}

func (k *kernelUnion) names(path string) []string {
	k.t.Helper()
	fd, err := unix.Open(k.path(path), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	require.NoError(k.t, err)
	defer unix.Close(fd)
	var names []string
	buf := make([]byte, 8192)
	for {
		n, err := unix.Getdents(fd, buf)
		require.NoError(k.t, err)
		if n == 0 {
			slices.Sort(names)
			return names
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}

// Random calls on a union and on the kernel's overlay of the same layers: the
// same answers, and the same files in the end.
func TestRandomAgainstKernel(t *testing.T) {
	testenv.NeedKernelOverlay(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for i, layout := range lowerLayouts {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			// The thread is not given back: it ends, and its mounts with it.
			runtime.LockOSThread()
			require.NoError(t, kernel.PrivateMounts())
			old := unix.Umask(0)
			defer unix.Umask(old)
			rnd := rand.New(rand.NewPCG(seed, uint64(i)))
			for range 12 {
				compareWithKernel(t, append([][]string{nil}, layout...), rnd)
			}
		})
	}
}

func compareWithKernel(t *testing.T, files [][]string, rnd *rand.Rand) {
	t.Helper()
	k := newKernelUnion(t, files)
	defer unix.Unmount(filepath.Dir(k.root), unix.MNT_DETACH)
	defer unix.Unmount(k.root, unix.MNT_DETACH)
	var layers []vfs.FileSystem
	for _, f := range files {
		layers = append(layers, newLayer(t, f...))
	}
	s := newStack(t, layers...)
	s.v.SetUmask(0)
	require.Equal(t, k.dump(), s.dump(dumpLinks), "before")
	var history []string
	for range 80 {
		o := randomOp(rnd.IntN)
		if k.isFIFO(o.a) && slices.Contains([]string{"open", "write", "trunc", "append", "truncate"}, o.call) {
			continue // there is nothing behind ours
		}
		want, got := k.do(o), s.do(o)
		history = append(history, fmt.Sprintf("%v = %v", o, want))
		if want != got {
			t.Fatalf("kernel %v, union %v (%d, %d):\n%s", want, got, want, got, strings.Join(history, "\n"))
		}
	}
	require.Equal(t, k.dump(), s.dump(dumpLinks), "%s", strings.Join(history, "\n"))
	s.unmount()
}
