package syscall_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func mount(target string, flags uintptr) func(c caller) error {
	return func(c caller) error { return c.Mount("none", target, "ramfs", flags, "") }
}

func umount(target string, flags int) func(c caller) error {
	return func(c caller) error { return c.Umount2(target, flags) }
}

// after runs calls in turn, of which all but the last must succeed.
func after(calls ...func(c caller) error) func(c caller) error {
	return func(c caller) error {
		for _, call := range calls[:len(calls)-1] {
			if err := call(c); err != nil {
				return err
			}
		}
		return calls[len(calls)-1](c)
	}
}

func TestMount(t *testing.T) {
	long := strings.Repeat("x", 4096)
	typ := func(target, fstype, source string) func(c caller) error {
		return func(c caller) error { return c.Mount(source, target, fstype, 0, "") }
	}
	runRows(t, []row{
		{"on directory", mount("d", 0), 0},
		{"on link to directory", mount("dl", 0), 0},
		{"stacked", after(mount("d", 0), mount("d", 0)), 0},
		{"on working directory", after(func(c caller) error { return c.Chdir("d") }, mount(".", 0)), 0},
		{"on file", mount("f", 0), unix.ENOTDIR},
		{"on link to file", mount("ln", 0), unix.ENOTDIR},
		{"on missing", mount("missing", 0), unix.ENOENT},
		{"on dangling link", mount("dang", 0), unix.ENOENT},
		{"on empty path", mount("", 0), unix.ENOENT},
		{"on loop", mount("loop", 0), unix.ELOOP},
		{"below file", mount("f/x", 0), unix.ENOTDIR},
		{"on long component", mount(name256, 0), unix.ENAMETOOLONG},
		{"on long path", mount(path4096, 0), unix.ENAMETOOLONG},
		{"long type before missing target", typ("missing", long, "none"), unix.EINVAL},
		{"long source", typ("missing", "ramfs", long), unix.EINVAL},
		{"unknown type", typ("d", "nosuchfs", "none"), unix.ENODEV},
		{"empty type", typ("d", "", "none"), unix.ENODEV},
		{"unknown type on file", typ("f", "nosuchfs", "none"), unix.ENODEV},
		{"by user", as(1000, mount("d", 0)), unix.EPERM},
		{"by user on missing", as(1000, mount("missing", 0)), unix.ENOENT},
		{"nouser", mount("d", unix.MS_NOUSER), unix.EINVAL},
		{"magic", mount("d", 0xC0ED0000), 0},
		{"attribute flags", mount("d", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC|unix.MS_NOATIME|unix.MS_SILENT), 0},
		{"create on read-only", after(mount("d", unix.MS_RDONLY), open("d/x", unix.O_CREAT|unix.O_RDWR)), unix.EROFS},
		{"covered file is hidden", after(mount("d", 0), open("d/sub/f", 0)), unix.ENOENT},
		{"remove mount point", after(mount("empty", 0), func(c caller) error { return c.Unlinkat(cwd, "empty", unix.AT_REMOVEDIR) }), unix.EBUSY},
		{"rename mount point", after(mount("empty", 0), func(c caller) error { return c.Renameat2(cwd, "empty", cwd, "new", 0) }), unix.EBUSY},
		{"rename across", after(mount("d", 0), func(c caller) error { return c.Renameat2(cwd, "f", cwd, "d/f", 0) }), unix.EXDEV},
		{"link across", after(mount("d", 0), func(c caller) error { return c.Linkat(cwd, "f", cwd, "d/f", 0) }), unix.EXDEV},
	})
}

func TestUmount(t *testing.T) {
	m := mount("d", 0)
	hold := func(path string, flags int) func(c caller) error {
		return func(c caller) error { _, err := c.Openat(cwd, path, flags, 0o644); return err }
	}
	chdir := func(path string) func(c caller) error { return func(c caller) error { return c.Chdir(path) } }
	stat := func(path string) func(c caller) error {
		return func(c caller) error { return c.Newfstatat(cwd, path, new(unix.Stat_t), 0) }
	}
	again := func(want unix.Errno, call func(c caller) error) func(c caller) error {
		return func(c caller) error {
			if err := call(c); !errors.Is(err, want) {
				return unix.ENOTRECOVERABLE
			}
			return nil
		}
	}
	runRows(t, []row{
		{"idle", after(m, umount("d", 0)), 0},
		{"shows what was there", after(m, umount("d", 0), stat("d/sub/f")), 0},
		{"by other spellings", after(m, umount("dl/../d/.", 0)), 0},
		{"twice", after(m, umount("d", 0), umount("d", 0)), unix.EINVAL},
		{"directory", umount("d", 0), unix.EINVAL},
		{"file", umount("f", 0), unix.EINVAL},
		{"inside", after(m, func(c caller) error { return c.Mkdirat(cwd, "d/in", 0o755) }, umount("d/in", 0)), unix.EINVAL},
		{"missing", umount("missing", 0), unix.ENOENT},
		{"empty path", umount("", 0), unix.ENOENT},
		{"empty path in a mount", after(m, chdir("d"), umount("", 0)), unix.ENOENT},
		{"long path", umount(path4096, 0), unix.ENAMETOOLONG},
		{"loop", umount("loop", 0), unix.ELOOP},
		{"below file", umount("f/x", 0), unix.ENOTDIR},
		{"unknown flags, missing", umount("missing", 1<<10), unix.EINVAL},
		{"by user", after(m, as(1000, umount("d", 0))), unix.EPERM},
		{"by user, no mount", as(1000, umount("d", 0)), unix.EPERM},
		{"nofollow link", after(m, umount("dl", unix.UMOUNT_NOFOLLOW)), unix.EINVAL},
		{"nofollow link with slash", after(m, umount("dl/", unix.UMOUNT_NOFOLLOW)), 0},
		{"open file", after(m, hold("d/x", unix.O_CREAT|unix.O_RDWR), umount("d", 0)), unix.EBUSY},
		{"open directory", after(m, hold("d", unix.O_RDONLY), umount("d", 0)), unix.EBUSY},
		{"path descriptor", after(m, hold("d", unix.O_PATH), umount("d", 0)), unix.EBUSY},
		{"working directory", after(m, chdir("d"), umount("/d", 0)), unix.EBUSY},
		{"stacked on working directory", after(chdir("d"), mount(".", 0), umount(".", 0)), 0},
		{"child mount", after(m, func(c caller) error { return c.Mkdirat(cwd, "d/in", 0o755) }, mount("d/in", 0), umount("d", 0)), unix.EBUSY},
		{"stacked", after(m, m, umount("d", 0), umount("d", 0), umount("d", 0)), unix.EINVAL},
		{"force idle", after(m, umount("d", unix.MNT_FORCE)), 0},
		{"force busy", after(m, hold("d", unix.O_RDONLY), umount("d", unix.MNT_FORCE)), unix.EBUSY},
		{"detach busy", after(m, hold("d", unix.O_RDONLY), umount("d", unix.MNT_DETACH), stat("d/sub")), 0},
		{"expire once", after(m, umount("d", unix.MNT_EXPIRE)), unix.EAGAIN},
		{"expire twice", after(m, again(unix.EAGAIN, umount("d", unix.MNT_EXPIRE)), umount("d", unix.MNT_EXPIRE)), 0},
		{"expire after use", after(m, again(unix.EAGAIN, umount("d", unix.MNT_EXPIRE)), stat("d/."), umount("d", unix.MNT_EXPIRE)), unix.EAGAIN},
		{"expire busy", after(m, hold("d", unix.O_RDONLY), umount("d", unix.MNT_EXPIRE)), unix.EBUSY},
		{"expire and force", after(m, umount("d", unix.MNT_EXPIRE|unix.MNT_FORCE)), unix.EINVAL},
		{"expire and force, missing", umount("missing", unix.MNT_EXPIRE|unix.MNT_FORCE), unix.ENOENT},
	})
}

// TestRootMount holds the rules for "/", which are not Linux's.
func TestRootMount(t *testing.T) {
	for _, target := range []string{"/", "//", "/.", "/d/..", "..", ".", "rl", "rl/"} {
		t.Run(target, func(t *testing.T) {
			task := newTask(t)
			tree(t, task, "d/", "rl => /")
			require.ErrorIs(t, task.Mount("none", target, "ramfs", 0, ""), unix.EPERM, "mount")
			for _, flags := range []int{0, unix.MNT_FORCE, unix.MNT_DETACH, unix.MNT_EXPIRE} {
				require.ErrorIs(t, task.Umount2(target, flags), unix.EPERM, "umount2 with flags %#x", flags)
			}
			require.ErrorIs(t, task.Umount2("missing", 0), unix.ENOENT, "a missing path beats it")
		})
	}
}

func TestMountOperations(t *testing.T) {
	for name, flag := range map[string]uintptr{
		"remount": unix.MS_REMOUNT, "bind": unix.MS_BIND, "move": unix.MS_MOVE, "shared": unix.MS_SHARED,
		"private": unix.MS_PRIVATE, "slave": unix.MS_SLAVE, "unbindable": unix.MS_UNBINDABLE,
		"recursive bind": unix.MS_BIND | unix.MS_REC, "bit 32": 1 << 32,
	} {
		t.Run(name, func(t *testing.T) {
			task := newTask(t)
			tree(t, task, "d/")
			require.NoError(t, task.Mount("none", "/d", "ramfs", 0, ""))
			require.ErrorIs(t, task.Mount("/d", "/d", "ramfs", flag, ""), unix.EINVAL)
			require.NoError(t, task.Umount("/d"))
		})
	}
}
