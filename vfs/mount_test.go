package vfs_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/vfs"
)

func TestMountErrors(t *testing.T) {
	long := strings.Repeat("x", 256)
	for _, c := range []struct {
		name   string
		uid    uint32
		target string
		typ    string
		flags  uintptr
		want   unix.Errno
	}{
		{"directory", 0, "/d", "flaky", 0, 0},
		{"symlink to a directory", 0, "/l", "flaky", 0, 0},
		{"symlink, not following symlinks inside", 0, "/l", "flaky", unix.MS_NOSYMFOLLOW, 0},
		{"trailing slash", 0, "/d/", "flaky", 0, 0},
		{"magic number", 0, "/d", "flaky", unix.MS_MGC_VAL, 0},
		{"unknown low bit", 0, "/d", "flaky", 1 << 9, 0},
		{"internal bits", 0, "/d", "flaky", 1<<22 | 1<<26 | 1<<29 | 1<<30, 0},
		{"silent and recursive", 0, "/d", "flaky", unix.MS_SILENT | unix.MS_REC, 0},
		{"missing", 0, "/x", "flaky", 0, unix.ENOENT},
		{"empty", 0, "", "flaky", 0, unix.ENOENT},
		{"dangling symlink", 0, "/dangling", "flaky", 0, unix.ENOENT},
		{"loop", 0, "/loop", "flaky", 0, unix.ELOOP},
		{"long name", 0, "/" + long, "flaky", 0, unix.ENAMETOOLONG},
		{"file", 0, "/f", "flaky", 0, unix.ENOTDIR},
		{"file with slash", 0, "/f/", "flaky", 0, unix.ENOTDIR},
		{"below a file", 0, "/f/x", "flaky", 0, unix.ENOTDIR},
		{"root", 0, "/", "flaky", 0, unix.EPERM},
		{"root with slashes", 0, "//", "flaky", 0, unix.EPERM},
		{"root and dot", 0, "/.", "flaky", 0, unix.EPERM},
		{"root by dot-dot", 0, "/d/..", "flaky", 0, unix.EPERM},
		{"root by symlink", 0, "/rootlink", "flaky", 0, unix.EPERM},
		{"dot in the root", 0, ".", "flaky", 0, unix.EPERM},
		{"unprivileged", 1, "/d", "flaky", 0, unix.EPERM},
		{"unprivileged, missing target", 1, "/x", "flaky", 0, unix.ENOENT},
		{"unprivileged, unknown type", 1, "/d", "none", 0, unix.EPERM},
		{"unprivileged, file", 1, "/f", "flaky", 0, unix.EPERM},
		{"unknown type", 0, "/d", "none", 0, unix.ENODEV},
		{"empty type", 0, "/d", "", 0, unix.ENODEV},
		{"unknown type, file", 0, "/f", "none", 0, unix.ENODEV},
		{"nouser", 0, "/d", "flaky", unix.MS_NOUSER, unix.EINVAL},
		{"high bit", 0, "/d", "flaky", 1 << 32, unix.EINVAL},
		{"remount", 0, "/d", "flaky", unix.MS_REMOUNT, unix.EINVAL},
		{"bind", 0, "/d", "flaky", unix.MS_BIND, unix.EINVAL},
		{"move", 0, "/d", "flaky", unix.MS_MOVE, unix.EINVAL},
		{"shared", 0, "/d", "flaky", unix.MS_SHARED, unix.EINVAL},
		{"private", 0, "/d", "flaky", unix.MS_PRIVATE | unix.MS_REC, unix.EINVAL},
		{"slave", 0, "/d", "flaky", unix.MS_SLAVE, unix.EINVAL},
		{"unbindable", 0, "/d", "flaky", unix.MS_UNBINDABLE, unix.EINVAL},
		{"bind, unknown type", 0, "/d", "none", unix.MS_BIND, unix.EINVAL},
		{"bind, missing target", 0, "/x", "none", unix.MS_BIND, unix.ENOENT},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, "/d")
			w.touch("/f")
			for link, target := range map[string]string{"/l": "d", "/dangling": "x", "/loop": "loop", "/rootlink": "/"} {
				w.ok(w.v.SymlinkAt(w.ctx, target, cwd, link), "symlink")
			}
			w.v.SetCred(&vfs.Cred{EUID: c.uid})
			err := w.v.Mount(w.ctx, "src", c.target, c.typ, c.flags, "")
			w.fails(c.want, err, "mount on %s", c.target)
			if c.want != 0 {
				require.Nil(t, w.last, "the driver was not called")
				require.Len(t, w.v.Mounts(), 1)
				return
			}
			require.Len(t, w.v.Mounts(), 2)
			w.ok(w.umount(c.target, 0), "umount")
			require.EqualValues(t, 1, w.last.closed.Load())
		})
	}
}

func TestMountStack(t *testing.T) {
	w := newWorld(t, "/d", "/d/bottom")
	w.ok(w.mount("/d", 0), "mount")
	first := w.last
	w.ok(w.mkdir("/d/first"), "mkdir")
	w.ok(w.mount("/d", 0), "mount")
	w.ok(w.mkdir("/d/second"), "mkdir")
	require.NotSame(t, first, w.last)
	w.ok(w.stat("/d/second"), "stat")
	w.fails(unix.ENOENT, w.stat("/d/first"), "stat of what is covered")
	w.ok(w.stat("/d/../d/second"), "stat through dot-dot")
	w.ok(w.umount("/d", 0), "umount")
	w.ok(w.stat("/d/first"), "stat")
	w.ok(w.umount("/d", 0), "umount")
	w.ok(w.stat("/d/bottom"), "stat")
	w.fails(unix.EINVAL, w.umount("/d", 0), "umount of no mount")
}

func TestMountOnWorkingDirectory(t *testing.T) {
	w := newWorld(t, "/d", "/d/covered")
	w.chdir("/d")
	w.ok(w.mount(".", 0), "mount on .")
	w.ok(w.stat("covered"), "the working directory sees what is covered")
	w.fails(unix.ENOENT, w.stat("/d/covered"), "walks see the mount")
	w.ok(w.mount(".", 0), "mount on . again stacks")
	w.ok(w.umount(".", 0), "umount of . reaches the topmost")
	w.ok(w.umount(".", 0), "umount of .")
	w.fails(unix.EINVAL, w.umount(".", 0), "umount of . without a mount")
	w.ok(w.stat("/d/covered"), "stat")
}

func TestUmountErrors(t *testing.T) {
	for _, c := range []struct {
		name   string
		uid    uint32
		target string
		flags  int
		want   unix.Errno
	}{
		{"mount", 0, "/m", 0, 0},
		{"trailing slash", 0, "/m/", 0, 0},
		{"dot", 0, "/m/.", 0, 0},
		{"dot-dot", 0, "/m/sub/..", 0, 0},
		{"symlink", 0, "/l", 0, 0},
		{"force", 0, "/m", unix.MNT_FORCE, 0},
		{"detach", 0, "/m", unix.MNT_DETACH, 0},
		{"symlink not followed", 0, "/l", unix.UMOUNT_NOFOLLOW, unix.EINVAL},
		{"dangling symlink not followed", 0, "/dangling", unix.UMOUNT_NOFOLLOW, unix.EINVAL},
		{"symlink with slash not followed", 0, "/l/", unix.UMOUNT_NOFOLLOW, 0},
		{"symlink in the middle", 0, "/rootlink/m", unix.UMOUNT_NOFOLLOW, 0},
		{"no mount", 0, "/d", 0, unix.EINVAL},
		{"file", 0, "/f", 0, unix.EINVAL},
		{"below a mount", 0, "/m/sub", 0, unix.EINVAL},
		{"missing", 0, "/x", 0, unix.ENOENT},
		{"empty", 0, "", 0, unix.ENOENT},
		{"below a file", 0, "/f/x", 0, unix.ENOTDIR},
		{"loop", 0, "/loop", 0, unix.ELOOP},
		{"root", 0, "/", 0, unix.EPERM},
		{"root by dot-dot", 0, "/m/..", 0, unix.EPERM},
		{"root, detached", 0, "//", unix.MNT_DETACH, unix.EPERM},
		{"root by symlink", 0, "/rootlink", 0, unix.EPERM},
		{"unknown flag", 0, "/m", 1 << 6, unix.EINVAL},
		{"unknown flag, missing", 0, "/x", 1 << 6, unix.EINVAL},
		{"unknown flag, unprivileged", 1, "/m", 1 << 6, unix.EINVAL},
		{"unprivileged", 1, "/m", 0, unix.EPERM},
		{"unprivileged, no mount", 1, "/d", 0, unix.EPERM},
		{"unprivileged, missing", 1, "/x", 0, unix.ENOENT},
		{"expire and force", 0, "/m", unix.MNT_EXPIRE | unix.MNT_FORCE, unix.EINVAL},
		{"expire and detach", 0, "/m", unix.MNT_EXPIRE | unix.MNT_DETACH, unix.EINVAL},
		{"expire and detach, missing", 0, "/x", unix.MNT_EXPIRE | unix.MNT_DETACH, unix.ENOENT},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, "/d", "/m")
			w.touch("/f")
			for link, target := range map[string]string{"/l": "m", "/dangling": "x", "/loop": "loop", "/rootlink": "/"} {
				w.ok(w.v.SymlinkAt(w.ctx, target, cwd, link), "symlink")
			}
			w.ok(w.mount("/m", 0), "mount")
			w.ok(w.mkdir("/m/sub"), "mkdir")
			w.v.SetCred(&vfs.Cred{EUID: c.uid})
			w.fails(c.want, w.umount(c.target, c.flags), "umount %s", c.target)
			w.v.SetCred(vfs.RootCred())
			if c.want == 0 {
				require.EqualValues(t, 1, w.last.closed.Load(), "closed")
				require.Len(t, w.v.Mounts(), 1)
			} else {
				w.ok(w.stat("/m/sub"), "still mounted")
			}
		})
	}
}

func TestUmountBusy(t *testing.T) {
	for _, c := range []struct {
		name string
		use  func(w *world) (release func())
	}{
		{"open file", func(w *world) func() {
			f := w.open("/m/f", unix.O_CREAT|unix.O_RDWR)
			return func() { _ = f.Close(w.ctx) }
		}},
		{"unlinked open file", func(w *world) func() {
			f := w.open("/m/f", unix.O_CREAT|unix.O_RDWR)
			w.ok(w.v.UnlinkAt(w.ctx, cwd, "/m/f"), "unlink")
			return func() { _ = f.Close(w.ctx) }
		}},
		{"O_PATH file", func(w *world) func() {
			f := w.open("/m", unix.O_PATH)
			return func() { _ = f.Close(w.ctx) }
		}},
		{"open directory", func(w *world) func() {
			f := w.open("/m/sub", unix.O_DIRECTORY)
			f.Ref()
			_ = f.Close(w.ctx)
			return func() { _ = f.Close(w.ctx) }
		}},
		{"working directory", func(w *world) func() {
			w.chdir("/m/sub")
			return func() { w.chdir("/") }
		}},
		{"working directory of another process", func(w *world) func() {
			w.chdir("/m")
			child := w.v.Clone()
			w.chdir("/")
			return child.Release
		}},
		{"mount below", func(w *world) func() {
			w.ok(w.mount("/m/sub", 0), "mount")
			return func() { w.ok(w.umount("/m/sub", 0), "umount") }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, "/m")
			w.ok(w.mount("/m", 0), "mount")
			w.ok(w.mkdir("/m/sub"), "mkdir")
			release := c.use(w)
			for _, flags := range []int{0, unix.MNT_FORCE, unix.MNT_EXPIRE, unix.MNT_EXPIRE} {
				w.fails(unix.EBUSY, w.umount("/m", flags), "umount, flags %d", flags)
			}
			release()
			w.ok(w.umount("/m", 0), "umount")
		})
	}
}

func TestUmountDetach(t *testing.T) {
	w := newWorld(t, "/m", "/m/under")
	w.ok(w.mount("/m", 0), "mount")
	outer := w.last
	w.ok(w.mkdir("/m/sub"), "mkdir")
	w.ok(w.mount("/m/sub", 0), "mount")
	inner := w.last
	w.ok(w.mkdir("/m/sub/dir"), "mkdir")
	f := w.open("/m/sub/f", unix.O_CREAT|unix.O_RDWR)
	dir := w.open("/m/sub/dir", unix.O_DIRECTORY)
	w.chdir("/m/sub")

	w.ok(w.umount("/m", unix.MNT_DETACH), "umount")
	require.Len(t, w.v.Mounts(), 1, "the whole tree has gone")
	w.ok(w.stat("/m/under"), "what was covered is back")
	require.EqualValues(t, 1, outer.closed.Load(), "nothing uses the outer one")
	require.EqualValues(t, 0, inner.closed.Load())
	_, err := f.Write(w.ctx, []byte("still open"))
	w.ok(err, "write")
	p, err := w.v.Walk(w.ctx, dir.Path(), "../f", 0)
	w.ok(err, "walk through dot-dot")
	p.Put()
	p, err = w.v.Walk(w.ctx, dir.Path(), "../../../f", 0)
	w.ok(err, "dot-dot stays in the detached mount")
	p.Put()
	require.Equal(t, "(unreachable)/", w.getcwd())
	w.fails(unix.ENOENT, w.mount("dir", 0), "mount in a detached mount")

	w.ok(f.Close(w.ctx), "close")
	w.ok(dir.Close(w.ctx), "close")
	require.EqualValues(t, 0, inner.closed.Load(), "the working directory is left")
	w.chdir("/")
	require.EqualValues(t, 1, inner.closed.Load())
}

func TestUmountExpire(t *testing.T) {
	w := newWorld(t, "/m")
	w.ok(w.mount("/m", 0), "mount")
	w.touch("/m/f")
	expire := func(want unix.Errno) {
		t.Helper()
		w.fails(want, w.umount("/m", unix.MNT_EXPIRE), "umount MNT_EXPIRE")
	}
	expire(unix.EAGAIN)
	w.ok(w.stat("/m/f"), "stat")
	expire(unix.EAGAIN)
	w.ok(w.open("/m/f", unix.O_RDONLY).Close(w.ctx), "close")
	expire(unix.EAGAIN)
	f := w.open("/m/f", unix.O_RDONLY)
	expire(unix.EBUSY)
	w.ok(f.Close(w.ctx), "close")
	expire(unix.EAGAIN)
	expire(0)
	require.EqualValues(t, 1, w.last.closed.Load())
}

func TestUmountFlushFails(t *testing.T) {
	w := newWorld(t, "/m")
	w.ok(w.mount("/m", 0), "mount")
	f := w.open("/m/f", unix.O_CREAT|unix.O_WRONLY)
	_, err := f.Write(w.ctx, []byte("data"))
	w.ok(err, "write")
	w.ok(f.Close(w.ctx), "close")
	enospc := unix.ENOSPC
	w.last.closeErr.Store(&enospc)
	for range 2 {
		w.fails(unix.ENOSPC, w.umount("/m", 0), "umount")
		w.ok(w.stat("/m/f"), "still mounted, with its data")
	}
	require.EqualValues(t, 0, w.last.closed.Load())
	w.ok(w.umount("/m", unix.MNT_FORCE), "umount MNT_FORCE")
	w.fails(unix.ENOENT, w.stat("/m/f"), "unmounted")

	w.ok(w.mount("/m", 0), "mount")
	w.last.closeErr.Store(&enospc)
	w.fails(unix.ENOSPC, w.umount("/m", 0), "umount")
	w.last.closeErr.Store(nil)
	w.ok(w.umount("/m", 0), "umount, retried")
}

// While a mount is flushed for the last time, walks wait for the outcome, and nothing else does.
func TestUmountWalkWaits(t *testing.T) {
	for _, fail := range []bool{false, true} {
		w := newWorld(t, "/m", "/other")
		w.ok(w.mount("/m", 0), "mount")
		w.touch("/m/f")
		slow := w.last
		entered, proceed := make(chan struct{}), make(chan struct{})
		slow.onClose = func() { close(entered); <-proceed }
		if fail {
			eio := unix.EIO
			slow.closeErr.Store(&eio)
		}
		umounted, walked := make(chan error), make(chan error)
		go func() { umounted <- w.umount("/m", 0) }()
		<-entered
		go func() { walked <- w.stat("/m/f") }()
		w.ok(w.stat("/other"), "other walks go on")
		w.ok(w.mount("/other", 0), "other mounts go on")
		w.ok(w.umount("/other", 0), "and unmounts")
		require.Len(t, w.v.Mounts(), 1, "mountinfo does not wait")
		ctx, cancel := context.WithCancel(w.ctx)
		cancel()
		_, err := w.v.Walk(ctx, cwd, "/m/f", 0)
		w.fails(unix.EINTR, err, "a waiting walk can be interrupted")
		select {
		case err := <-walked:
			t.Fatalf("walk did not wait: %v", err)
		default:
		}
		close(proceed)
		if fail {
			w.fails(unix.EIO, <-umounted, "umount")
			w.ok(<-walked, "walk finds the mount again")
			slow.onClose = nil
			slow.closeErr.Store(nil)
		} else {
			w.ok(<-umounted, "umount")
			w.fails(unix.ENOENT, <-walked, "walk finds what was covered")
		}
	}
}
