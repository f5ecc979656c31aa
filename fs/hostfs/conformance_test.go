package hostfs_test

import (
	"testing"

	"cloister/fs/hostfs"
	"cloister/internal/testenv"
	"cloister/vfs"
	"cloister/vfs/vfstest"
)

// poorHost is a Host that can do less.
type poorHost struct {
	hostfs.Host
	lacks hostfs.Caps
}

func (h poorHost) Caps() hostfs.Caps { return h.Host.Caps() &^ h.lacks }

func TestConformance(t *testing.T) {
	testenv.NeedRoot(t) // files of several owners
	const never = vfstest.Devices | vfstest.FIFOs | vfstest.Tmpfile | vfstest.Whiteouts
	for _, c := range []struct {
		name  string
		host  hostfs.Host
		lacks vfstest.Feature
	}{
		{"openat2", hostfs.Linux(), never | vfstest.TrustedXattrs},
		{"openat", hostfs.LinuxWithoutOpenat2(), never | vfstest.TrustedXattrs},
		{
			"without capabilities", poorHost{hostfs.Linux(), ^hostfs.Caps(0) &^ hostfs.CanChmod},
			never | vfstest.Links | vfstest.Symlinks | vfstest.Owners | vfstest.Times | vfstest.Xattrs | vfstest.Exchange |
				vfstest.Allocate | vfstest.PunchHole | vfstest.ZeroRange | vfstest.ShiftRange | vfstest.Sparse,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			testenv.CheckLeaks(t)
			typ := hostfs.NewType(hostfs.Config{Host: c.host})
			vfstest.Run(t, vfstest.Driver{
				New: func(t *testing.T) vfs.FileSystem {
					return mount(t, typ, hostDir(t))
				},
				Lacks: c.lacks,
			})
		})
	}
}
