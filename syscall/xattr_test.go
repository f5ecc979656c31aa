package syscall_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestXattrErrors(t *testing.T) {
	name255, name256 := "user."+strings.Repeat("n", 250), "user."+strings.Repeat("n", 251)
	set := func(path, name string, size, flags int) func(c caller) error {
		return func(c caller) error { return c.Setxattr(path, name, make([]byte, size), flags) }
	}
	lset := func(path, name string) func(c caller) error {
		return func(c caller) error { return c.Lsetxattr(path, name, []byte("v"), 0) }
	}
	get := func(path, name string, size int) func(c caller) error {
		return func(c caller) error { _, err := c.Getxattr(path, name, make([]byte, size)); return err }
	}
	lget := func(path, name string) func(c caller) error {
		return func(c caller) error { _, err := c.Lgetxattr(path, name, nil); return err }
	}
	remove := func(path, name string) func(c caller) error {
		return func(c caller) error { return c.Removexattr(path, name) }
	}
	list := func(path string, size int) func(c caller) error {
		return func(c caller) error { _, err := c.Listxattr(path, make([]byte, size)); return err }
	}
	fset := func(c caller, fd int) error { return c.Fsetxattr(fd, "user.a", nil, 0) }
	fget := func(c caller, fd int) error { _, err := c.Fgetxattr(fd, "user.a", nil); return err }
	flist := func(c caller, fd int) error { _, err := c.Flistxattr(fd, nil); return err }
	fremove := func(c caller, fd int) error { return c.Fremovexattr(fd, "user.a") }
	x := set("f", "user.x", 10, 0)
	runRows(t, []row{
		{"set", x, 0},
		{"set empty value", set("f", "user.x", 0, 0), 0},
		{"set through link", set("ln", "user.x", 1, 0), 0},
		{"set on directory", set("d", "user.x", 1, 0), 0},
		{"set on link itself", lset("ln", "user.x"), unix.EPERM},
		{"set trusted on link itself", lset("ln", "trusted.x"), 0},
		{"set unknown flags", set("f", "", 70000, 4), unix.EINVAL},
		{"set empty name", set("missing", "", 70000, 0), unix.ERANGE},
		{"set longest name", set("f", name255, 1, 0), 0},
		{"set long name", set("missing", name256, 70000, 0), unix.ERANGE},
		{"set large value", set("missing", "user.x", 65537, 0), unix.E2BIG},
		{"set on missing", set("missing", "user.x", 1, 0), unix.ENOENT},
		{"set on file with slash", set("f/", "user.x", 1, 0), unix.ENOTDIR},
		{"set without namespace", set("f", "x", 1, 0), unix.EOPNOTSUPP},
		{"set unknown namespace", set("f", "foo.x", 1, 0), unix.EOPNOTSUPP},
		{"set bare namespace", set("f", "user.", 1, 0), unix.EINVAL},
		{"set only namespace", set("f", "user", 1, 0), unix.EOPNOTSUPP},
		{"set only namespace on link itself", lset("ln", "user"), unix.EOPNOTSUPP},
		{"set only namespace by user", as(1000, set("f", "user", 1, 0)), unix.EACCES},
		{"set on the working directory as a descriptor", func(c caller) error { return fset(c, cwd) }, 0},
		{"get from the working directory as a descriptor", func(c caller) error { return fget(c, cwd) }, unix.ENODATA},
		{"list the working directory as a descriptor", func(c caller) error { return flist(c, cwd) }, unix.EBADF},
		{"remove from the working directory as a descriptor", func(c caller) error { return fremove(c, cwd) }, unix.EBADF},
		{"set by user", as(1000, x), unix.EACCES},
		{"set trusted by user", as(1000, set("f", "trusted.x", 1, 0)), unix.EPERM},
		{"create existing", after(x, set("f", "user.x", 1, unix.XATTR_CREATE)), unix.EEXIST},
		{"create", set("f", "user.x", 1, unix.XATTR_CREATE), 0},
		{"replace missing", set("f", "user.x", 1, unix.XATTR_REPLACE), unix.ENODATA},
		{"replace", after(x, set("f", "user.x", 1, unix.XATTR_REPLACE)), 0},
		{"set on read-only mount", after(mount("d", unix.MS_RDONLY), set("d", "user.x", 1, 0)), unix.EROFS},
		{"set on read-only mount without namespace", after(mount("d", unix.MS_RDONLY), set("d", "x", 1, 0)), unix.EROFS},
		{"get", after(x, get("f", "user.x", 10)), 0},
		{"get length", after(x, get("f", "user.x", 0)), 0},
		{"get small", after(x, get("f", "user.x", 9)), unix.ERANGE},
		{"get absent", get("f", "user.x", 9), unix.ENODATA},
		{"get empty name", get("missing", "", 9), unix.ERANGE},
		{"get long name", get("missing", name256, 9), unix.ERANGE},
		{"get missing", get("missing", "user.x", 9), unix.ENOENT},
		{"get without namespace", get("f", "x", 9), unix.EOPNOTSUPP},
		{"get bare namespace", get("f", "user.", 9), unix.EINVAL},
		{"get of link itself", lget("ln", "user.x"), unix.ENODATA},
		{"get trusted by user", as(1000, get("f", "trusted.x", 9)), unix.ENODATA},
		{"get by user", after(x, as(1000, get("f", "user.x", 10))), 0},
		{"remove", after(x, remove("f", "user.x")), 0},
		{"remove absent", remove("f", "user.x"), unix.ENODATA},
		{"remove long name", remove("missing", name256), unix.ERANGE},
		{"remove missing", remove("missing", "user.x"), unix.ENOENT},
		{"remove of link itself", func(c caller) error { return c.Lremovexattr("ln", "user.x") }, unix.EPERM},
		{"remove by user", after(x, as(1000, remove("f", "user.x"))), unix.EACCES},
		{"list", after(x, list("f", 7)), 0},
		{"list small", after(x, list("f", 6)), unix.ERANGE},
		{"list length", after(x, list("f", 0)), 0},
		{"list missing", list("missing", 0), unix.ENOENT},
		{"list of link itself", func(c caller) error { _, err := c.Llistxattr("dang", nil); return err }, 0},
		{"list by user", after(x, as(1000, list("f", 100))), 0},
		{"set by descriptor for reading", with("f", unix.O_RDONLY, fset), 0},
		{"set by path descriptor", with("f", unix.O_PATH, fset), unix.EBADF},
		{"get by path descriptor", with("f", unix.O_PATH, fget), unix.EBADF},
		{"list by path descriptor", with("f", unix.O_PATH, flist), unix.EBADF},
		{"remove by path descriptor", with("f", unix.O_PATH, fremove), unix.EBADF},
		{"set by bad descriptor", func(c caller) error { return fset(c, -1) }, unix.EBADF},
		{"set by bad descriptor, unknown flags", func(c caller) error { return c.Fsetxattr(-1, "user.a", nil, 9) }, unix.EINVAL},
		{"get by bad descriptor, empty name", func(c caller) error { _, err := c.Fgetxattr(-1, "", nil); return err }, unix.ERANGE},
	})
}

func TestXattrs(t *testing.T) {
	run := func(t *testing.T, c caller) {
		tree(t, c, "f", "ln => f")
		require.NoError(t, c.Setxattr("ln", "user.one", []byte("1"), 0))
		require.NoError(t, c.Setxattr("f", "trusted.two", []byte("22"), 0))
		buf := make([]byte, 100)
		n, err := c.Lgetxattr("f", "user.one", buf)
		require.NoError(t, err)
		require.Equal(t, "1", string(buf[:n]))
		n, err = c.Getxattr("f", "trusted.two", nil)
		require.NoError(t, err)
		require.Equal(t, 2, n)
		require.Equal(t, []string{"trusted.two", "user.one"}, names(t, c, "ln"))
		fd, err := c.Openat(cwd, "f", unix.O_RDONLY, 0)
		require.NoError(t, err)
		require.NoError(t, c.Fsetxattr(fd, "user.one", []byte("new"), unix.XATTR_REPLACE))
		n, err = c.Fgetxattr(fd, "user.one", buf)
		require.NoError(t, err)
		require.Equal(t, "new", string(buf[:n]))
		n, err = c.Flistxattr(fd, nil)
		require.NoError(t, err)
		require.Equal(t, len("trusted.two")+len("user.one")+2, n)
		require.NoError(t, c.Fremovexattr(fd, "user.one"))
		require.Equal(t, []string{"trusted.two"}, names(t, c, "f"))
		require.NoError(t, c.Setresuid(-1, 1000, -1))
		require.Empty(t, names(t, c, "f"), "trusted attributes are root's")
		require.NoError(t, c.Setresuid(-1, 0, -1))
		require.NoError(t, c.Close(fd))
	}
	t.Run("libos", func(t *testing.T) { run(t, newTask(t)) })
	t.Run("linux", func(t *testing.T) { run(t, newKernel(t)) })
}

func names(t *testing.T, c caller, path string) []string {
	t.Helper()
	buf := make([]byte, 1000)
	n, err := c.Listxattr(path, buf)
	require.NoError(t, err)
	list := strings.FieldsFunc(string(buf[:n]), func(r rune) bool { return r == 0 })
	list = slices.DeleteFunc(list, func(name string) bool { return strings.HasPrefix(name, "security.") }) // of a security module of the host
	slices.Sort(list)
	return list
}
