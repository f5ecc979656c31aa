package fuseserver_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// TestRandomOperations does the same random calls on the mount and on the host's
// own file system: results, errnos and the resulting trees must be equal.
func TestRandomOperations(t *testing.T) {
	for name, flags := range map[string]string{"ramfs": "", "sefs": "", "union over sefs": "union"} {
		t.Run(name, func(t *testing.T) {
			image := ""
			if name != "ramfs" {
				image = filepath.Join(t.TempDir(), "image")
				require.NoError(t, os.Mkdir(image, 0o700))
				require.NoError(t, os.Mkdir(image+".lower", 0o700))
			}
			randomOperations(t, start(t, image, flags))
		})
	}
}

func randomOperations(t *testing.T, s *server) {
	host, err := os.MkdirTemp("/dev/shm", "fusetest")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(host) })
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		ours, theirs := s.path(fmt.Sprint(run)), filepath.Join(host, fmt.Sprint(run))
		require.NoError(t, os.Mkdir(ours, 0o700))
		require.NoError(t, os.Mkdir(theirs, 0o700))
		for range rapid.IntRange(10, 60).Draw(t, "calls") {
			op := drawOp(t)
			want := op.do(theirs)
			require.Equal(t, want, op.do(ours), "%+v", op)
		}
		require.Equal(t, tree(t, theirs), tree(t, ours))
		require.NoError(t, os.RemoveAll(ours))
		require.NoError(t, os.RemoveAll(theirs))
	})
	s.stop(t)
}

// op is one call.
type op struct {
	call   string
	a, b   string
	off, n int64
}

func drawOp(t *rapid.T) op {
	calls := []string{"create", "write", "append", "read", "truncate", "punch", "mkdir", "rmdir", "unlink", "rename", "exchange",
		"noreplace", "link", "symlink", "readlink", "chmod", "list", "mmap"}
	names := []string{"a", "b", "c", "d", "a/a", "a/b", "b/a", "b/b", "a/b/a", "missing/x"}
	return op{
		call: rapid.SampledFrom(calls).Draw(t, "call"),
		a:    rapid.SampledFrom(names).Draw(t, "a"),
		b:    rapid.SampledFrom(names).Draw(t, "b"),
		off:  rapid.Int64Range(0, 70_000).Draw(t, "off"),
		n:    rapid.Int64Range(1, 9_000).Draw(t, "n"),
	}
}

// do makes the call below root and describes the outcome.
func (o op) do(root string) string {
	a, b := filepath.Join(root, o.a), filepath.Join(root, o.b)
	data := bytes.Repeat([]byte{byte('a' + o.n%26)}, int(o.n))
	onFile := func(flags int, f func(fd int) string) string {
		fd, err := unix.Open(a, flags|unix.O_CLOEXEC, 0o640)
		if err != nil {
			return fmt.Sprint("open: ", err)
		}
		defer unix.Close(fd)
		return f(fd)
	}
	switch o.call {
	case "create":
		return onFile(unix.O_CREAT|unix.O_EXCL|unix.O_RDWR, func(int) string { return "created" })
	case "write":
		return onFile(unix.O_CREAT|unix.O_WRONLY, func(fd int) string { return fmt.Sprint(unix.Pwrite(fd, data, o.off)) })
	case "append":
		return onFile(unix.O_WRONLY|unix.O_APPEND, func(fd int) string { return fmt.Sprint(unix.Write(fd, data)) })
	case "read":
		return onFile(unix.O_RDONLY, func(fd int) string {
			n, err := unix.Pread(fd, data, o.off)
			return fmt.Sprintf("%d %v %q", n, err, data[:max(n, 0)])
		})
	case "truncate":
		return fmt.Sprint(unix.Truncate(a, o.off))
	case "punch":
		return onFile(unix.O_WRONLY, func(fd int) string {
			return fmt.Sprint(unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, o.off, o.n))
		})
	case "mmap":
		return onFile(unix.O_RDWR, func(fd int) string {
			m, err := unix.Mmap(fd, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			if err != nil {
				return fmt.Sprint("mmap: ", err)
			}
			defer unix.Munmap(m)
			if st := (unix.Stat_t{}); unix.Fstat(fd, &st) != nil || st.Size < 4096 {
				return "too small"
			}
			copy(m, data)
			return fmt.Sprint(unix.Msync(m, unix.MS_SYNC))
		})
	case "mkdir":
		return fmt.Sprint(unix.Mkdir(a, 0o751))
	case "rmdir":
		return fmt.Sprint(unix.Rmdir(a))
	case "unlink":
		return fmt.Sprint(unix.Unlink(a))
	case "rename", "exchange", "noreplace":
		flags := map[string]uint{"exchange": unix.RENAME_EXCHANGE, "noreplace": unix.RENAME_NOREPLACE}[o.call]
		return fmt.Sprint(unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, flags))
	case "link":
		return fmt.Sprint(unix.Link(a, b))
	case "symlink":
		return fmt.Sprint(unix.Symlink(o.b, a))
	case "readlink":
		target, err := os.Readlink(a)
		return fmt.Sprint(target, vfsErr(err))
	case "chmod":
		return fmt.Sprint(unix.Fchmodat(unix.AT_FDCWD, a, uint32(o.n)&0o777, 0))
	}
	entries, err := os.ReadDir(a)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name()+e.Type().String())
	}
	slices.Sort(names)
	return fmt.Sprint(names, vfsErr(err))
}

// vfsErr drops the path from an error of package os.
func vfsErr(err error) string {
	if e, ok := err.(*os.PathError); ok {
		return e.Err.Error()
	}
	return fmt.Sprint(err)
}

// tree describes everything below a directory.
func tree(t require.TestingT, root string) string {
	var out strings.Builder
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		fmt.Fprintf(&out, "%s %o %d", rel, st.Mode, st.Nlink)
		if !d.IsDir() {
			fmt.Fprintf(&out, " %d", st.Size)
		}
		if d.Type().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&out, " %q", data)
		}
		out.WriteString("\n")
		return nil
	})
	require.NoError(t, err)
	return out.String()
}
