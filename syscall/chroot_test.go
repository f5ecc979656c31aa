package syscall_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestChroot(t *testing.T) {
	chroot := func(path string) func(c caller) error {
		return func(c caller) error { return c.Chroot(path) }
	}
	getcwd := func(want string) func(c caller) error {
		return func(c caller) error {
			buf := make([]byte, 100)
			n, err := c.Getcwd(buf)
			if err == nil && !strings.HasPrefix(string(buf[:n-1]), want) {
				return unix.ENOTRECOVERABLE
			}
			return err
		}
	}
	chdir := func(path string) func(c caller) error { return func(c caller) error { return c.Chdir(path) } }
	in := after(chroot("d"), chdir("/"))
	runRows(t, []row{
		{"directory", after(in, open("/sub/f", 0)), 0},
		{"through link", after(chroot("dl"), open("/sub/f", 0)), 0},
		{"up", after(in, open("../../sub/f", 0)), 0},
		{"what is outside", after(in, open("/f", 0)), unix.ENOENT},
		{"working directory stays", after(chroot("d"), open("f", 0)), 0},
		{"unreachable working directory", after(chroot("d"), getcwd("(unreachable)/")), 0},
		{"working directory inside", after(chroot("d"), chdir("/sub"), getcwd("/sub")), 0},
		{"file", chroot("f"), unix.ENOTDIR},
		{"missing", chroot("missing"), unix.ENOENT},
		{"empty path", chroot(""), unix.ENOENT},
		{"by user", as(1000, chroot("d")), unix.EPERM},
		{"by user, file", as(1000, chroot("f")), unix.ENOTDIR},
		{"by user, without search permission", func(c caller) error {
			if err := c.Fchmodat2(cwd, "d", 0, 0); err != nil {
				return err
			}
			return as(1000, chroot("d"))(c)
		}, unix.EACCES},
		{"pivot_root by user", as(1000, func(c caller) error { return c.PivotRoot("missing", "") }), unix.EPERM},
	})
	require.ErrorIs(t, newTask(t).PivotRoot("/", "/"), unix.EPERM, "for root, too")
}
