package fuseserver_test

import (
	"os"
	"testing"

	"cloister/internal/kernel"
	"cloister/internal/testenv"
	"cloister/vfs/vfstest"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestConformance runs the suite of all drivers through FUSE: the calls go to the kernel, on mounts that another
// process serves.
func TestConformance(t *testing.T) {
	testenv.NeedFUSE(t)
	testenv.NeedRoot(t)
	// What FUSE forces on all drivers, and why.
	never := vfstest.Whiteouts | // they belong to stacking drivers; see Rename
		vfstest.ShiftRange | // the kernel does not pass it on (fs/fuse/file.c: fuse_file_fallocate)
		vfstest.ReadTimes // the kernel's page cache answers reads and does not tell
	if protects, err := kernel.ProtectsLinks(); !protects {
		require.NoError(t, err)
		never |= vfstest.ProtectedLinks // the kernel checks
	}
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
			start := (&reusedTree{kind: t, server: server, fs: c.kind}).start
			if c.lower {
				start = server.startOverLower
			}
			vfstest.RunTasks(t, vfstest.System{
				Start:     start,
				Lacks:     c.lacks | never,
				HugeFiles: c.kind == "hostfs", // as on tmpfs
			})
		})
	}
}

// startOverLower starts a process on a new union whose lower layer has the files that prepare makes.
func (s *manyServer) startOverLower(t *testing.T, prepare func(vfstest.Task)) vfstest.Task {
	t.Helper()
	below := &mountedTree{server: s, kind: "sefs", layer: true}
	first, stop := startKernel(t, below)
	prepare(first)
	first.Exit()
	stop()
	first, stop = startKernel(t, &mountedTree{server: s, kind: "unionfs", lower: below.ids[0]})
	t.Cleanup(stop)
	return first
}

// reusedTree is a tree that is emptied after each test, which is quicker than to make a new one.
type reusedTree struct {
	kind   *testing.T // the test of this kind of file system, at whose end the tree is unmounted
	server *manyServer
	fs     string
	first  task // has the zero value before the first test, and after one that has failed
}

// start starts a process on the tree.
func (r *reusedTree) start(t *testing.T, prepare func(vfstest.Task)) vfstest.Task {
	t.Helper()
	if r.first.Task == nil {
		first, stop := startKernel(r.kind, &mountedTree{server: r.server, kind: r.fs})
		r.kind.Cleanup(stop)
		r.kind.Cleanup(first.Exit)
		r.first = first
	}
	require.NoError(t, r.first.Do(empty), "empty the tree")
	t.Cleanup(func() {
		if t.Failed() {
			r.first = task{}
		}
	})
	p, err := r.first.Fork()
	require.NoError(t, err, "fork")
	prepare(p)
	return p
}

// empty makes the calling process's tree as it was in the beginning.
func empty() error {
	entries, err := os.ReadDir("/")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll("/" + e.Name()); err != nil {
			return err
		}
	}
	if err := unix.Chown("/", 0, 0); err != nil {
		return err
	}
	return unix.Chmod("/", 0o755)
}

// startKernel starts a process on mounts of m, and returns it with a function that checks, when all processes are
// gone, that the mounts came to a good end.
func startKernel(t *testing.T, m *mountedTree) (first task, stop func()) {
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
