package syscall_test

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/syscall"
	"cloister/vfs"
)

const cwd = unix.AT_FDCWD

var (
	name256  = strings.Repeat("n", 256)
	path4096 = strings.Repeat("./", 2048)
	path4095 = strings.Repeat("/", 4095)
)

// A row is one call and the errno it must give, 0 for success.
type row struct {
	name string
	call func(c caller) error
	want unix.Errno
}

// layout is the tree that each row finds, in the notation of tree.
var layout = []string{"d/", "d/sub/", "d/sub/f", "empty/", "f", "g", "ln => f", "dl => d", "dang => missing", "loop => loop"}

// runRows runs each row in a tree of its own, on a Task and, where this machine
// lets us, on the kernel: so Linux itself vouches for the expectations.
func runRows(t *testing.T, rows []row) {
	t.Helper()
	run := func(t *testing.T, r row, c caller) {
		c.Umask(0o022)
		tree(t, c, layout...)
		err := r.call(c)
		if r.want == 0 {
			require.NoError(t, err)
			return
		}
		require.ErrorIs(t, err, r.want)
		if _, ok := c.(*syscall.Task); ok {
			require.Equal(t, r.want, vfs.Errno(err), "the errno that a program sees")
		}
	}
	for _, r := range rows {
		t.Run("libos/"+r.name, func(t *testing.T) { run(t, r, newTask(t)) })
		t.Run("linux/"+r.name, func(t *testing.T) { run(t, r, newKernel(t)) })
	}
}

func open(path string, flags int) func(c caller) error {
	return func(c caller) error { return openAt(c, cwd, path, flags) }
}

func openAt(c caller, dirfd int, path string, flags int) error {
	fd, err := c.Openat(dirfd, path, flags, 0o644)
	if err != nil {
		return err
	}
	return c.Close(fd)
}

// with opens path and calls do with the descriptor.
func with(path string, flags int, do func(c caller, fd int) error) func(c caller) error {
	return func(c caller) error {
		fd, err := c.Openat(cwd, path, flags, 0o644)
		if err != nil {
			return err
		}
		defer c.Close(fd)
		return do(c, fd)
	}
}

// as runs call as another effective user.
func as(euid int, call func(c caller) error) func(c caller) error {
	return func(c caller) error {
		if err := c.Setresuid(-1, euid, -1); err != nil {
			return err
		}
		defer c.Setresuid(-1, 0, -1)
		return call(c)
	}
}

func TestOpen(t *testing.T) {
	const creat = unix.O_CREAT | unix.O_RDWR
	runRows(t, []row{
		{"file with slash", open("f/", unix.O_RDONLY), unix.ENOTDIR},
		{"new with slash", open("new/", creat), unix.EISDIR},
		{"create directory", open("d", creat), unix.EISDIR},
		{"create exclusively over directory", open("d", creat|unix.O_EXCL), unix.EEXIST},
		{"write directory", open("d", unix.O_WRONLY), unix.EISDIR},
		{"read and write directory", open("d", unix.O_RDWR), unix.EISDIR},
		{"truncate directory", open("d", unix.O_RDONLY|unix.O_TRUNC), unix.EISDIR},
		{"file as directory", open("f", unix.O_DIRECTORY), unix.ENOTDIR},
		{"create missing directory", open("new", creat|unix.O_DIRECTORY), unix.EINVAL},
		{"nofollow link", open("ln", unix.O_NOFOLLOW), unix.ELOOP},
		{"nofollow link as directory", open("dl", unix.O_NOFOLLOW|unix.O_DIRECTORY), unix.ENOTDIR},
		{"path of a link", open("ln", unix.O_PATH|unix.O_NOFOLLOW), 0},
		{"dangling link", open("dang", unix.O_RDONLY), unix.ENOENT},
		{"create through dangling link", open("dang", creat), 0},
		{"create exclusively through dangling link", open("dang", creat|unix.O_EXCL), unix.EEXIST},
		{"loop", open("loop", unix.O_RDONLY), unix.ELOOP},
		{"create exclusively over loop", open("loop", creat|unix.O_EXCL), unix.EEXIST},
		{"long component", open(name256, unix.O_RDONLY), unix.ENAMETOOLONG},
		{"long path", open(path4096, unix.O_RDONLY), unix.ENAMETOOLONG},
		{"longest path", open(path4095, unix.O_RDONLY), 0},
		{"empty path", open("", unix.O_RDONLY), unix.ENOENT},
		{"access mode 3", open("f", unix.O_ACCMODE), 0},
		{"unknown bits", open("f", 1<<30), 0},
		{"flags before path", open("", creat|unix.O_DIRECTORY), unix.EINVAL},
		{"tmpfile without write access", open("d", unix.O_TMPFILE|unix.O_RDONLY), unix.EINVAL},
		{"tmpfile on a file", open("f", unix.O_TMPFILE|unix.O_RDWR), unix.ENOTDIR},
		{"tmpfile", open("d", unix.O_TMPFILE|unix.O_RDWR), 0},
		{"below a file", open("f/x", unix.O_RDONLY), unix.ENOTDIR},
		{"below nothing", open("no/x", creat), unix.ENOENT},
		{"no permission", as(1000, open("f", unix.O_WRONLY)), unix.EACCES},
		{"create without permission", as(1000, open("new", creat)), unix.EACCES},
	})
}

func TestOpenBase(t *testing.T) {
	runRows(t, []row{
		{"file", with("f", unix.O_RDONLY, func(c caller, fd int) error { return openAt(c, fd, "x", 0) }), unix.ENOTDIR},
		{"directory", with("d", unix.O_RDONLY, func(c caller, fd int) error { return openAt(c, fd, "sub/f", 0) }), 0},
		{"path descriptor", with("d", unix.O_PATH, func(c caller, fd int) error { return openAt(c, fd, "sub/f", 0) }), 0},
		{"up from it", with("d/sub", unix.O_PATH, func(c caller, fd int) error { return openAt(c, fd, "../../f", 0) }), 0},
		{"bad", func(c caller) error { return openAt(c, 9999, "f", 0) }, unix.EBADF},
		{"negative", func(c caller) error { return openAt(c, -1, "f", 0) }, unix.EBADF},
		{"bad, absolute path", func(c caller) error { return openAt(c, -1, "/f", 0) }, 0},
		{"bad, empty path", func(c caller) error { return openAt(c, -1, "", 0) }, unix.ENOENT},
		{"bad, long path", func(c caller) error { return openAt(c, -1, path4096, 0) }, unix.ENAMETOOLONG},
		{"removed", with("empty", unix.O_RDONLY, func(c caller, fd int) error {
			if err := c.Unlinkat(cwd, "empty", unix.AT_REMOVEDIR); err != nil {
				return err
			}
			return openAt(c, fd, "x", unix.O_CREAT|unix.O_RDWR)
		}), unix.ENOENT},
	})
}

func TestReadWrite(t *testing.T) {
	read := func(c caller, fd int) error { _, err := c.Read(fd, make([]byte, 1)); return err }
	write := func(c caller, fd int) error { _, err := c.Write(fd, []byte("x")); return err }
	pread := func(off int64) func(c caller, fd int) error {
		return func(c caller, fd int) error { _, err := c.Pread64(fd, make([]byte, 1), off); return err }
	}
	pwrite := func(off int64) func(c caller, fd int) error {
		return func(c caller, fd int) error { _, err := c.Pwrite64(fd, []byte("x"), off); return err }
	}
	vec := func(n int) func(c caller, fd int) error {
		return func(c caller, fd int) error { _, err := c.Readv(fd, make([][]byte, n)); return err }
	}
	runRows(t, []row{
		{"read for writing", with("f", unix.O_WRONLY, read), unix.EBADF},
		{"write for reading", with("f", unix.O_RDONLY, write), unix.EBADF},
		{"read with access mode 3", with("f", unix.O_ACCMODE, read), unix.EBADF},
		{"write with access mode 3", with("f", unix.O_ACCMODE, write), unix.EBADF},
		{"read path descriptor", with("f", unix.O_PATH, read), unix.EBADF},
		{"read directory", with("d", unix.O_RDONLY, read), unix.EISDIR},
		{"pread directory", with("d", unix.O_RDONLY, pread(0)), unix.EISDIR},
		{"write directory", with("d", unix.O_RDONLY, write), unix.EBADF},
		{"read bad", func(c caller) error { return read(c, -1) }, unix.EBADF},
		{"pread negative", with("f", unix.O_RDONLY, pread(-1)), unix.EINVAL},
		{"pread negative, bad descriptor", func(c caller) error { return pread(-1)(c, -1) }, unix.EINVAL},
		{"pwrite negative", with("f", unix.O_RDWR, pwrite(-1)), unix.EINVAL},
		{"pwrite past every limit", with("f", unix.O_RDWR, pwrite(math.MaxInt64)), unix.EINVAL},
		{"no segments", with("f", unix.O_RDONLY, vec(0)), 0},
		{"1025 segments", with("f", unix.O_RDONLY, vec(1025)), unix.EINVAL},
		{"1025 segments, wrong direction", with("f", unix.O_WRONLY, vec(1025)), unix.EBADF},
	})
}

func TestSizes(t *testing.T) {
	truncate := func(path string, n int64) func(c caller) error {
		return func(c caller) error { return c.Truncate(path, n) }
	}
	ftruncate := func(n int64) func(c caller, fd int) error {
		return func(c caller, fd int) error { return c.Ftruncate(fd, n) }
	}
	fallocate := func(mode uint32, off, n int64) func(c caller, fd int) error {
		return func(c caller, fd int) error { return c.Fallocate(fd, mode, off, n) }
	}
	seek := func(off int64, whence int) func(c caller, fd int) error {
		return func(c caller, fd int) error { _, err := c.Lseek(fd, off, whence); return err }
	}
	runRows(t, []row{
		{"truncate negative", truncate("missing", -1), unix.EINVAL},
		{"truncate directory", truncate("d", 0), unix.EISDIR},
		{"truncate missing", truncate("missing", 0), unix.ENOENT},
		{"truncate through link", truncate("ln", 0), 0},
		{"truncate without permission", as(1000, truncate("f", 0)), unix.EACCES},
		{"ftruncate for reading", with("f", unix.O_RDONLY, ftruncate(0)), unix.EINVAL},
		{"ftruncate directory", with("d", unix.O_RDONLY, ftruncate(0)), unix.EINVAL},
		{"ftruncate negative, bad descriptor", func(c caller) error { return c.Ftruncate(-1, -1) }, unix.EINVAL},
		{"ftruncate path descriptor", with("f", unix.O_PATH, ftruncate(0)), unix.EBADF},
		{"fallocate for reading", with("f", unix.O_RDONLY, fallocate(0, 0, 1)), unix.EBADF},
		{"fallocate negative offset", with("f", unix.O_RDWR, fallocate(0, -1, 1)), unix.EINVAL},
		{"fallocate no length", with("f", unix.O_RDWR, fallocate(0, 0, 0)), unix.EINVAL},
		{"fallocate no length, for reading", with("f", unix.O_RDONLY, fallocate(0, 0, 0)), unix.EINVAL},
		{"fallocate hole without keep size", with("f", unix.O_RDWR, fallocate(unix.FALLOC_FL_PUNCH_HOLE, 0, 1)), unix.EOPNOTSUPP},
		{"fallocate unknown mode", with("f", unix.O_RDWR, fallocate(1<<20, 0, 1)), unix.EOPNOTSUPP},
		{"fallocate directory", with("d", unix.O_RDONLY, fallocate(0, 0, 1)), unix.EBADF},
		{"fallocate too large", with("f", unix.O_RDWR, fallocate(0, math.MaxInt64, 1)), unix.EFBIG},
		{"seek before start", with("f", unix.O_RDONLY, seek(-1, unix.SEEK_SET)), unix.EINVAL},
		{"seek by unknown whence", with("f", unix.O_RDONLY, seek(0, 9)), unix.EINVAL},
		{"seek data at end", with("f", unix.O_RDONLY, seek(1, unix.SEEK_DATA)), unix.ENXIO},
		{"seek hole past end", with("f", unix.O_RDONLY, seek(5, unix.SEEK_HOLE)), unix.ENXIO},
		{"seek data", with("f", unix.O_RDONLY, seek(0, unix.SEEK_DATA)), 0},
		{"seek path descriptor", with("f", unix.O_PATH, seek(0, 0)), unix.EBADF},
	})
}

func TestDirectories(t *testing.T) {
	mkdir := func(path string) func(c caller) error {
		return func(c caller) error { return c.Mkdirat(cwd, path, 0o755) }
	}
	rmdir := func(path string) func(c caller) error {
		return func(c caller) error { return c.Unlinkat(cwd, path, unix.AT_REMOVEDIR) }
	}
	unlink := func(path string, flags int) func(c caller) error {
		return func(c caller) error { return c.Unlinkat(cwd, path, flags) }
	}
	runRows(t, []row{
		{"mkdir existing", mkdir("d"), unix.EEXIST},
		{"mkdir dot", mkdir("."), unix.EEXIST},
		{"mkdir root", mkdir("/"), unix.EEXIST},
		{"mkdir over dangling link", mkdir("dang"), unix.EEXIST},
		{"mkdir over dangling link with slash", mkdir("dang/"), unix.EEXIST},
		{"mkdir with slash", mkdir("new/"), 0},
		{"mkdir empty", mkdir(""), unix.ENOENT},
		{"mkdir below file", mkdir("f/x"), unix.ENOTDIR},
		{"mkdir long", mkdir(name256), unix.ENAMETOOLONG},
		{"mkdir without permission", as(1000, mkdir("new")), unix.EACCES},
		{"mkdir existing without permission", as(1000, mkdir("d")), unix.EEXIST},
		{"rmdir not empty", rmdir("d"), unix.ENOTEMPTY},
		{"rmdir file", rmdir("f"), unix.ENOTDIR},
		{"rmdir link", rmdir("dl"), unix.ENOTDIR},
		{"rmdir link with slash", rmdir("dl/"), unix.ENOTDIR},
		{"rmdir dot", rmdir("empty/."), unix.EINVAL},
		{"rmdir dot dot", rmdir("d/sub/.."), unix.ENOTEMPTY},
		{"rmdir root", rmdir("/"), unix.EBUSY},
		{"rmdir with slash", rmdir("empty/"), 0},
		{"rmdir missing", rmdir("missing"), unix.ENOENT},
		{"unlink directory", unlink("d", 0), unix.EISDIR},
		{"unlink dot", unlink(".", 0), unix.EISDIR},
		{"unlink root", unlink("/", 0), unix.EISDIR},
		{"unlink file with slash", unlink("f/", 0), unix.ENOTDIR},
		{"unlink link with slash", unlink("ln/", 0), unix.ENOTDIR},
		{"unlink link", unlink("loop", 0), 0},
		{"unlink bad flag", unlink("missing", 1), unix.EINVAL},
		{"unlink without permission", as(1000, unlink("f", 0)), unix.EACCES},
		{"rmdir working directory", func(c caller) error {
			if err := c.Chdir("empty"); err != nil {
				return err
			}
			return c.Unlinkat(cwd, "../empty", unix.AT_REMOVEDIR)
		}, 0},
	})
}

func TestRename(t *testing.T) {
	rename := func(from, to string, flags uint32) func(c caller) error {
		return func(c caller) error { return c.Renameat2(cwd, from, cwd, to, flags) }
	}
	runRows(t, []row{
		{"directory onto full one", rename("empty", "d", 0), unix.ENOTEMPTY},
		{"file onto directory", rename("f", "empty", 0), unix.EISDIR},
		{"directory onto file", rename("d", "f", 0), unix.ENOTDIR},
		{"directory into itself", rename("d", "d/x", 0), unix.EINVAL},
		{"directory into descendant", rename("d", "d/sub/x", 0), unix.EINVAL},
		{"onto ancestor", rename("d/sub", "d", 0), unix.ENOTEMPTY},
		{"onto itself", rename("f", "f", 0), 0},
		{"dot", rename(".", "x", 0), unix.EBUSY},
		{"dot in directory", rename("d/.", "x", 0), unix.EBUSY},
		{"onto dot dot", rename("f", "d/..", 0), unix.EBUSY},
		{"file to name with slash", rename("f", "new/", 0), unix.ENOTDIR},
		{"file with slash", rename("f/", "new", 0), unix.ENOTDIR},
		{"directory to name with slash", rename("empty", "new/", 0), 0},
		{"missing", rename("missing", "new", 0), unix.ENOENT},
		{"empty", rename("", "new", 0), unix.ENOENT},
		{"to empty", rename("f", "", 0), unix.ENOENT},
		{"noreplace", rename("f", "g", unix.RENAME_NOREPLACE), unix.EEXIST},
		{"exchange with missing", rename("f", "missing", unix.RENAME_EXCHANGE), unix.ENOENT},
		{"exchange file and directory", rename("f", "d", unix.RENAME_EXCHANGE), 0},
		{"both flags", rename("f", "g", 3), unix.EINVAL},
		{"unknown flag", rename("", "g", 1<<7), unix.EINVAL},
		{"old walk before new descriptor", func(c caller) error { return c.Renameat2(cwd, "no/x", -1, "y", 0) }, unix.ENOENT},
		{"new descriptor", func(c caller) error { return c.Renameat2(cwd, "f", -1, "y", 0) }, unix.EBADF},
		{"new descriptor before old name", func(c caller) error { return c.Renameat2(cwd, "missing", -1, "y", 0) }, unix.EBADF},
		{"without permission", as(1000, rename("f", "new", 0)), unix.EACCES},
	})
}
