package kernel_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/internal/kernel"
	"cloister/internal/testenv"
)

func TestDetachFUSE(t *testing.T) {
	testenv.NeedRoot(t)
	testenv.NeedFUSE(t)
	dir := filepath.Join(t.TempDir(), "a b")
	require.NoError(t, os.Mkdir(dir, 0o755))
	mounts := func() (fuse, tmpfs bool) {
		info, err := os.ReadFile("/proc/thread-self/mountinfo")
		require.NoError(t, err)
		return strings.Contains(string(info), "- fuse detach-me "), strings.Contains(string(info), "- tmpfs keep-me ")
	}
	err := kernel.OnThread(func() error {
		if err := kernel.PrivateMounts(); err != nil {
			return err
		}
		fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.Mount("keep-me", dir, "tmpfs", 0, ""); err != nil {
			return err
		}
		data := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd)
		if err := unix.Mount("detach-me", dir, "fuse", 0, data); err != nil {
			return err
		}
		fuse, tmpfs := mounts()
		require.True(t, fuse && tmpfs)
		err = kernel.DetachFUSE()
		fuse, tmpfs = mounts()
		require.False(t, fuse, "the FUSE mount has gone")
		require.True(t, tmpfs, "other mounts stay")
		return err
	})
	require.NoError(t, err)
}
