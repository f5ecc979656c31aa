package syscall_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestStatxErrors(t *testing.T) {
	statx := func(path string, flags int, mask uint32) func(c caller) error {
		return func(c caller) error { return c.Statx(cwd, path, flags, mask, new(unix.Statx_t)) }
	}
	byFd := func(path string, flags int) func(c caller, fd int) error {
		return func(c caller, fd int) error { return c.Statx(fd, path, flags, unix.STATX_ALL, new(unix.Statx_t)) }
	}
	runRows(t, []row{
		{"file", statx("f", 0, unix.STATX_BASIC_STATS), 0},
		{"nothing wanted", statx("f", 0, 0), 0},
		{"reserved mask", statx("f", 0, unix.STATX__RESERVED), unix.EINVAL},
		{"reserved mask, missing", statx("missing", 0, unix.STATX__RESERVED), unix.EINVAL},
		{"reserved mask, empty path", statx("", 0, unix.STATX__RESERVED), unix.EINVAL},
		{"reserved mask, long path", statx(path4096, 0, unix.STATX__RESERVED), unix.EINVAL},
		{"unknown mask", statx("f", 0, 1<<28), 0},
		{"unknown flag", statx("f", 1<<20, 0), unix.EINVAL},
		{"unknown flag, missing", statx("missing", 1<<20, 0), unix.EINVAL},
		{"unknown flag, empty path", statx("", 1<<20, 0), unix.EINVAL},
		{"both sync flags", statx("f", unix.AT_STATX_FORCE_SYNC|unix.AT_STATX_DONT_SYNC, 0), unix.EINVAL},
		{"force sync", statx("f", unix.AT_STATX_FORCE_SYNC, 0), 0},
		{"do not sync", statx("f", unix.AT_STATX_DONT_SYNC|unix.AT_NO_AUTOMOUNT, 0), 0},
		{"missing", statx("missing", 0, 0), unix.ENOENT},
		{"dangling link", statx("dang", 0, 0), unix.ENOENT},
		{"dangling link itself", statx("dang", unix.AT_SYMLINK_NOFOLLOW, 0), 0},
		{"file with slash", statx("f/", 0, 0), unix.ENOTDIR},
		{"empty path", statx("", 0, 0), unix.ENOENT},
		{"empty path of working directory", statx("", unix.AT_EMPTY_PATH, 0), 0},
		{"empty path of descriptor", with("f", unix.O_RDONLY, byFd("", unix.AT_EMPTY_PATH)), 0},
		{"empty path of path descriptor", with("ln", unix.O_PATH|unix.O_NOFOLLOW, byFd("", unix.AT_EMPTY_PATH)), 0},
		{"below file", with("f", unix.O_RDONLY, byFd("x", 0)), unix.ENOTDIR},
		{"empty path of descriptor, unknown flag", with("f", unix.O_RDONLY, byFd("", unix.AT_EMPTY_PATH|1<<20)), 0},
		{"bad descriptor", func(c caller) error { return byFd("", unix.AT_EMPTY_PATH)(c, -1) }, unix.EBADF},
		{"bad descriptor, unknown flag", func(c caller) error { return byFd("x", 1<<20)(c, -1) }, unix.EINVAL},
	})
}

// TestStatx compares statx with stat, here and on Linux.
func TestStatx(t *testing.T) {
	run := func(t *testing.T, c caller) {
		tree(t, c, layout...)
		require.NoError(t, c.Mknodat(cwd, "p", unix.S_IFIFO|0o640, 0))
		require.NoError(t, c.Mknodat(cwd, "dev", unix.S_IFCHR|0o600, unix.Mkdev(700, 123456)))
		require.NoError(t, c.Fchownat(cwd, "f", 7, 8, 0))
		require.NoError(t, c.Utimensat(cwd, "f", &[2]unix.Timespec{{Sec: 5, Nsec: 6}, {Sec: -7, Nsec: 8}}, 0))
		for _, path := range []string{"f", "d", "ln", "p", "dev", "/"} {
			var st unix.Stat_t
			var x unix.Statx_t
			require.NoError(t, c.Newfstatat(cwd, path, &st, unix.AT_SYMLINK_NOFOLLOW))
			require.NoError(t, c.Statx(cwd, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_ALL, &x))
			require.EqualValues(t, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, x.Mask&(unix.STATX_BASIC_STATS|unix.STATX_MNT_ID|unix.STATX_MNT_ID_UNIQUE), path)
			require.Equal(t, unix.Stat_t{
				Dev: unix.Mkdev(x.Dev_major, x.Dev_minor), Rdev: unix.Mkdev(x.Rdev_major, x.Rdev_minor),
				Ino: x.Ino, Nlink: uint64(x.Nlink), Mode: uint32(x.Mode), Uid: x.Uid, Gid: x.Gid,
				Size: int64(x.Size), Blksize: int64(x.Blksize), Blocks: int64(x.Blocks),
				Atim: timespec(x.Atime), Mtim: timespec(x.Mtime), Ctim: timespec(x.Ctime),
			}, st, path)
			require.NotZero(t, x.Mask&unix.STATX_BTIME, "%s: both file systems keep the birth time", path)
			require.InDelta(t, x.Ctime.Sec, x.Btime.Sec, 2, path)
			require.NotZero(t, x.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT, path)
			require.Equal(t, path == "/", x.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, path)
			require.NotZero(t, x.Mnt_id)

			require.NoError(t, c.Statx(cwd, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_MNT_ID_UNIQUE, &x))
			require.EqualValues(t, unix.STATX_MNT_ID_UNIQUE, x.Mask&(unix.STATX_MNT_ID|unix.STATX_MNT_ID_UNIQUE), path)
		}
		var root, inside unix.Statx_t
		require.NoError(t, c.Mount("none", "empty", "ramfs", 0, ""))
		require.NoError(t, c.Statx(cwd, "/", 0, unix.STATX_MNT_ID, &root))
		require.NoError(t, c.Statx(cwd, "empty", 0, unix.STATX_MNT_ID, &inside))
		require.NotEqual(t, root.Mnt_id, inside.Mnt_id)
		require.NotZero(t, inside.Attributes&unix.STATX_ATTR_MOUNT_ROOT)
	}
	t.Run("libos", func(t *testing.T) { run(t, newTask(t)) })
	t.Run("linux", func(t *testing.T) { run(t, newKernel(t)) })
}

func timespec(ts unix.StatxTimestamp) unix.Timespec {
	return unix.Timespec{Sec: ts.Sec, Nsec: int64(ts.Nsec)}
}
