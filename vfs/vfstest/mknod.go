package vfstest

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func testMknod(t *testing.T, d Driver) {
	for _, c := range []struct {
		name    string
		mode    uint32
		rdev    uint64
		feature Feature
		want    unix.Errno
	}{
		{"regular", unix.S_IFREG | 0o640, 0, 0, 0},
		{"no type", 0o640, 0, 0, 0},
		{"fifo", unix.S_IFIFO | 0o640, 0, FIFOs, 0},
		{"socket", unix.S_IFSOCK | 0o640, 0, FIFOs, 0},
		{"character device", unix.S_IFCHR | 0o640, unix.Mkdev(300, 3), Devices, 0},
		{"block device", unix.S_IFBLK | 0o640, unix.Mkdev(300, 70000), Devices, 0},
		{"directory", unix.S_IFDIR | 0o640, 0, 0, unix.EPERM},
		{"symlink", unix.S_IFLNK | 0o640, 0, 0, unix.EINVAL},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSys(t, d)
			err := s.mknod("n", c.mode, c.rdev)
			if !d.has(c.feature) {
				c.want = unix.EPERM
			}
			s.fails(c.want, err, "mknod")
			if c.want != 0 {
				require.False(t, s.exists("n"))
				return
			}
			kind := c.mode & unix.S_IFMT
			if kind == 0 {
				kind = unix.S_IFREG
			}
			a := s.attr("n")
			require.EqualValues(t, kind|0o640, a.Mode)
			require.Equal(t, c.rdev, a.Rdev)
			if kind != unix.S_IFREG {
				// Nobody listens, reads, or has such a device.
				s.fails(unix.ENXIO, s.opens("n", unix.O_WRONLY|unix.O_NONBLOCK, 0), "open")
				s.ok(s.opens("n", unix.O_PATH, 0), "open O_PATH")
			}
			s.ok(s.unlink("n"), "unlink")
		})
	}
	if d.has(Devices) {
		s := newSys(t, d)
		s.ok(s.chmod("/", 0o777), "chmod")
		u := s.as(1001, 1001)
		s.fails(unix.EPERM, u.mknod("n", unix.S_IFCHR|0o666, unix.Mkdev(1, 3)), "mknod without privilege")
	}
}
