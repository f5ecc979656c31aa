package fuseserver_test

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"cloister/fs/ramfs"
	"cloister/internal/fuseserver"
	"cloister/internal/testenv"
	"cloister/vfs"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// dropCaches makes the kernel forget the pages of a file.
func dropCaches(t testing.TB, path string) {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, f.Sync())
	require.NoError(t, unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
}

// as runs a shell command as another user.
func as(t *testing.T, uid, gid uint32, groups []uint32, dir, script string) (string, error) {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", "umask 022; "+script)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid, Groups: groups}}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestRootAlone: without AllowOther there is nobody else, and root may do what root may on any file system.
func TestRootAlone(t *testing.T) {
	testenv.NeedRoot(t)
	s := start(t, "", "")
	require.NoError(t, os.WriteFile(s.path("f"), []byte("#!/bin/sh\n"), 0o600))
	require.NoError(t, os.Chown(s.path("f"), 1000, 1000))
	require.NoError(t, os.Mkdir(s.path("d"), 0))
	require.NoError(t, os.WriteFile(s.path("d/f"), nil, 0))
	for _, call := range []struct {
		name string
		err  error
		want error
	}{
		{"read", unix.Access(s.path("f"), unix.R_OK|unix.W_OK), nil},
		{"read what nobody may", unix.Access(s.path("d/f"), unix.R_OK|unix.W_OK), nil},
		{"execute what nobody may", unix.Access(s.path("f"), unix.X_OK), unix.EACCES},
		{"run what nobody may", exec.Command(s.path("f")).Run(), unix.EACCES},
		{"search", unix.Access(s.path("d"), unix.X_OK), nil},
		{"chmod to executable", unix.Chmod(s.path("f"), 0o010), nil},
		{"execute", unix.Access(s.path("f"), unix.X_OK), nil},
		{"run", exec.Command(s.path("f")).Run(), nil},
		{"missing", unix.Access(s.path("none"), unix.R_OK), unix.ENOENT},
	} {
		require.ErrorIs(t, call.err, call.want, call.name)
	}
	for _, uid := range []uint32{1000, 65534} {
		_, err := as(t, uid, uid, nil, "/", "stat "+s.path("f"))
		require.Error(t, err, "user %d", uid)
	}
	s.stop(t)
}

func TestOtherUsers(t *testing.T) {
	s := start(t, "", "other")
	require.NoError(t, os.Chmod(s.dir, 0o777|os.ModeSticky))
	require.NoError(t, os.Mkdir(s.path("setgid"), 0o755))
	require.NoError(t, os.Chown(s.path("setgid"), 0, 3000))
	require.NoError(t, os.Chmod(s.path("setgid"), 0o775|os.ModeSetgid))
	require.NoError(t, os.WriteFile(s.path("secret"), nil, 0o600))
	require.NoError(t, os.WriteFile(s.path("group"), []byte("g"), 0o640))
	require.NoError(t, os.Chown(s.path("group"), 0, 3000))

	out, err := as(t, 1000, 2000, []uint32{3000}, s.dir,
		"echo x > mine && mkdir dir && ln -s mine link && mkfifo fifo && cat group && echo y > setgid/f && mkdir setgid/d")
	require.NoError(t, err, out)
	for _, name := range []string{"mine", "dir", "link", "fifo"} {
		st := stat(t, s.path(name))
		require.EqualValues(t, 1000, st.Uid, name)
		require.EqualValues(t, 2000, st.Gid, name)
	}
	require.EqualValues(t, unix.S_IFREG|0o644, stat(t, s.path("mine")).Mode)
	require.EqualValues(t, 3000, stat(t, s.path("setgid/f")).Gid)
	require.EqualValues(t, 3000, stat(t, s.path("setgid/d")).Gid)
	require.EqualValues(t, unix.S_IFDIR|unix.S_ISGID|0o755, stat(t, s.path("setgid/d")).Mode)

	for name, script := range map[string]string{
		"read without permission":         "cat secret",
		"write without permission":        "echo x >> group",
		"remove from a sticky directory":  "rm -f secret",
		"chmod of another's file":         "chmod 644 secret",
		"without the supplementary group": "cat group",
	} {
		t.Run(name, func(t *testing.T) {
			groups := []uint32{3000}
			if strings.Contains(name, "without the supplementary") {
				groups = nil
			}
			out, err := as(t, 1000, 2000, groups, s.dir, script)
			require.Error(t, err, out)
		})
	}

	t.Run("a write takes set-id bits from a file", func(t *testing.T) {
		require.NoError(t, os.Chmod(s.path("mine"), 0o777|os.ModeSetuid|os.ModeSetgid))
		require.EqualValues(t, unix.S_IFREG|0o6777, stat(t, s.path("mine")).Mode)
		out, err := as(t, 1001, 2001, nil, s.dir, "echo more >> mine")
		require.NoError(t, err, out)
		require.EqualValues(t, unix.S_IFREG|0o777, stat(t, s.path("mine")).Mode)
	})
	s.stop(t)
}

func TestPanicIsAnIOError(t *testing.T) {
	s := start(t, "", "panic")
	_, err := os.Stat(s.path("panic"))
	require.ErrorIs(t, err, unix.EIO)
	require.NoError(t, os.WriteFile(s.path("f"), nil, 0o600), "the mount lives on")
	s.stop(t)
}

func TestReadOnly(t *testing.T) {
	s := start(t, "", "ro")
	require.ErrorIs(t, unix.Mkdir(s.path("d"), 0o700), unix.EROFS)
	require.ErrorIs(t, unix.Setxattr(s.dir, "user.x", nil, 0), unix.EROFS)
	_, err := os.Create(s.path("f"))
	require.ErrorIs(t, err, unix.EROFS)
	s.stop(t)
}

func TestUnmount(t *testing.T) {
	t.Run("refused while in use, then granted", func(t *testing.T) {
		s := start(t, "", "")
		f, err := os.Create(s.path("f"))
		require.NoError(t, err)
		require.NoError(t, s.cmd.Process.Signal(unix.SIGTERM))
		require.Equal(t, "unmount: "+unix.EBUSY.Error(), s.line(t))
		_, err = f.WriteString("works on")
		require.NoError(t, err)
		require.NoError(t, f.Close())
		s.stop(t)
		noLeftMount(t, s.dir)
	})
	t.Run("from outside", func(t *testing.T) {
		s := start(t, "", "")
		require.NoError(t, os.WriteFile(s.path("f"), nil, 0o600))
		require.NoError(t, unix.Unmount(s.dir, 0))
		s.wait(t)
	})
	t.Run("lazily, with a file open", func(t *testing.T) {
		s := start(t, "", "")
		f, err := os.Create(s.path("f"))
		require.NoError(t, err)
		require.NoError(t, unix.Unmount(s.dir, unix.MNT_DETACH))
		_, err = f.WriteString("to the last")
		require.NoError(t, err)
		require.NoError(t, f.Close())
		s.wait(t)
	})
}

func TestShownInMounts(t *testing.T) {
	for flags, checked := range map[string]bool{"": false, "other": true} {
		s := start(t, "", flags)
		options := shownOptions(t, s.dir)
		for _, option := range []string{"rw", "nosuid", "nodev"} {
			require.Contains(t, options, option)
		}
		// Other users are held to modes by the kernel; root alone is not.
		require.Equal(t, checked, slices.Contains(options, "default_permissions"), "flags %q: %v", flags, options)
		require.Equal(t, checked, slices.Contains(options, "allow_other"), "flags %q: %v", flags, options)
		s.stop(t)
	}
}

// shownOptions returns the options of the mount at dir.
func shownOptions(t *testing.T, dir string) []string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	require.NoError(t, err)
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); f[1] == dir {
			require.Equal(t, "test,image", f[0])
			require.Equal(t, "fuse.cloister", f[2])
			return strings.Split(f[3], ",")
		}
	}
	t.Fatal("the mount is not listed")
	return nil
}

func TestRefusals(t *testing.T) {
	testenv.NeedFUSE(t)
	testenv.NeedRoot(t)
	file := t.TempDir() + "/file"
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for name, row := range map[string]struct {
		target string
		want   error
	}{
		"missing":         {file + ".missing", unix.ENOENT},
		"not a directory": {file, unix.ENOTDIR},
	} {
		t.Run(name, func(t *testing.T) {
			root, closeMount := vfs.NewPrivateMount(ramfs.New(ramfs.Config{}), 0, vfs.PrivateConfig{})
			_, err := fuseserver.New(fuseserver.Config{Root: root, Target: row.target})
			require.ErrorIs(t, err, row.want)
			root.Put()
			require.NoError(t, closeMount(context.Background(), vfs.SafeClose), "nothing stays pinned")
		})
	}
}
