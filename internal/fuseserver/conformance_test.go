package fuseserver_test

import (
	"testing"

	"cloister/internal/kernel"
	"cloister/internal/testenv"
	"cloister/vfs/vfstest"

	"github.com/stretchr/testify/require"
)

// TestConformance runs the suite of all drivers through FUSE: the calls go to the kernel, on mounts that another
// process serves.
func TestConformance(t *testing.T) {
	testenv.NeedFUSE(t)
	testenv.NeedRoot(t)
	// What FUSE forces on all drivers, and why.
	const never = vfstest.Whiteouts | // they belong to stacking drivers; see Rename
		vfstest.ShiftRange | // the kernel does not pass it on (fs/fuse/file.c: fuse_file_fallocate)
		vfstest.ReadTimes // the kernel's page cache answers reads and does not tell
	for _, c := range []struct {
		name, kind string
		lower      bool // the files with which a test begins are in the lower layer
		lacks      vfstest.Feature
	}{
		{"ramfs", "ramfs", false, 0},
		// On a tmpfs of the host.
		{"hostfs", "hostfs", false, vfstest.Devices | vfstest.FIFOs | vfstest.Tmpfile | vfstest.TrustedXattrs | vfstest.ZeroRange},
		{"sefs", "sefs", false, 0},
		{"unionfs", "unionfs", false, vfstest.DirLinks},
		{"unionfs with files in the lower layer", "unionfs", true, vfstest.DirLinks | vfstest.LowerDirs},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := startMany(t)
			vfstest.RunTasks(t, vfstest.System{
				Start: func(t *testing.T, prepare func(vfstest.Task)) vfstest.Task {
					m := &mountedTree{server: server, kind: c.kind}
					if c.lower {
						below := &mountedTree{server: server, kind: "sefs", layer: true}
						first, stop := startKernel(t, below)
						prepare(first)
						first.Exit()
						stop()
						m.lower = below.ids[0]
					}
					first, stop := startKernel(t, m)
					t.Cleanup(stop)
					if !c.lower {
						prepare(first)
					}
					return first
				},
				Lacks:     c.lacks | never,
				HugeFiles: c.kind == "hostfs", // as on tmpfs
			})
		})
	}
}

// startKernel starts a process on mounts of m, and returns it with a function that checks, when all processes are
// gone, that the mounts came to a good end.
func startKernel(t *testing.T, m *mountedTree) (first vfstest.Task, stop func()) {
	t.Helper()
	s := &kernel.System{Mounter: m}
	p, err := s.Start()
	require.NoError(t, err, "start")
	m.lower = 0
	return task{p}, func() {
		require.NoError(t, s.Stop(), "stop")
		require.NoError(t, m.end(), "end of the mounts")
	}
}

// task makes a kernel.Task a vfstest.Task.
type task struct{ *kernel.Task }

func (t task) Fork() (vfstest.Task, error) {
	c, err := t.Task.Fork()
	if err != nil {
		return nil, err
	}
	return task{c}, nil
}
