// Package testenv tells tests what this machine can do, and finds what they
// leave behind. Only tests import it.
//
// A test that needs something which the machine lacks is skipped, with the
// reason. Where the environment has CI=true nothing may be lacking: there it
// fails instead.
package testenv

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// lacking skips the test, or fails it in CI.
func lacking(t testing.TB, format string, args ...any) {
	t.Helper()
	reason := fmt.Sprintf(format, args...)
	if os.Getenv("CI") == "true" {
		t.Fatalf("CI may not skip tests: %s", reason)
	}
	t.Skip(reason)
}

// NeedRoot skips the test if the process is not root.
func NeedRoot(t testing.TB) {
	t.Helper()
	if uid := os.Geteuid(); uid != 0 {
		lacking(t, "needs root, but runs as user %d", uid)
	}
}

// NeedFUSE skips the test if the process cannot mount a FUSE file system: it
// must be able to open /dev/fuse and to mount.
func NeedFUSE(t testing.TB) {
	t.Helper()
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		lacking(t, "needs FUSE: open /dev/fuse: %v (in a container: --device /dev/fuse)", err)
		return
	}
	defer unix.Close(fd)
	dir := t.TempDir()
	err = inMountNamespace(func() error {
		data := fmt.Sprintf("fd=%d,rootmode=40000,user_id=%d,group_id=%d", fd, os.Geteuid(), os.Getegid())
		if err := unix.Mount("testenv", dir, "fuse", unix.MS_NODEV|unix.MS_NOSUID, data); err != nil {
			return err
		}
		return unix.Unmount(dir, unix.MNT_DETACH)
	})
	if err != nil {
		lacking(t, "needs FUSE: mount: %v (in a container: --cap-add SYS_ADMIN)", err)
	}
}

// NeedKernelOverlay skips the test if the process cannot mount the kernel's
// overlayfs with layers on tmpfs.
func NeedKernelOverlay(t testing.TB) {
	t.Helper()
	dir := t.TempDir()
	if err := inMountNamespace(func() error { return tryOverlay(dir) }); err != nil {
		lacking(t, "needs overlayfs of the kernel: %v", err)
	}
}

// NeedUserNamespaces skips the test if the process cannot make a user namespace
// with a mount namespace in it, as "unshare --user --mount" does.
func NeedUserNamespaces(t testing.TB) {
	t.Helper()
	data, err := os.ReadFile("/proc/sys/user/max_user_namespaces")
	if err == nil && string(data) == "0\n" {
		lacking(t, "needs user namespaces, but user.max_user_namespaces is 0")
		return
	}
	if err := tryUserNamespace(); err != nil {
		lacking(t, "needs user namespaces: %v", err)
	}
}

// tryOverlay mounts a tmpfs on dir and an overlay in it, and unmounts both.
func tryOverlay(dir string) error {
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		return fmt.Errorf("mount tmpfs: %w", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	for _, name := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			return err
		}
	}
	data := fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", dir)
	return unix.Mount("overlay", filepath.Join(dir, "merged"), "overlay", 0, data)
}

// inMountNamespace calls f on a thread in a mount namespace of its own, so that
// nothing is seen outside of what f mounts.
func inMountNamespace(f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The first thread lives as long as the process, which would stay in
			// the namespace with it. Held here, it is not the one that f gets.
			defer runtime.UnlockOSThread()
			result <- inMountNamespace(f)
			return
		}
		// Never unlocked: the thread ends with the goroutine, the namespace with
		// the thread.
		result <- func() error {
			if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
				return fmt.Errorf("new mount namespace: %w", err)
			}
			if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
				return fmt.Errorf("make mounts private: %w", err)
			}
			return f()
		}()
	}()
	return <-result
}
