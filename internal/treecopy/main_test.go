package treecopy_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloister/fs/ramfs"
	"cloister/internal/treecopy"
	"cloister/vfs"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// target is an empty tree in memory.
func target(t *testing.T) vfs.Path {
	t.Helper()
	root, closeMount := vfs.NewPrivateMount(ramfs.New(ramfs.Config{}), 0, vfs.PrivateConfig{})
	t.Cleanup(func() {
		root.Put()
		require.NoError(t, closeMount(context.Background(), vfs.SafeClose), "nothing stays pinned")
	})
	return root
}

// copied is the tree of a host directory in memory.
func copied(t *testing.T, source string) vfs.Path {
	t.Helper()
	root := target(t)
	_, err := treecopy.Copy(t.Context(), treecopy.Config{Target: root, Cred: vfs.RootCred()}, source)
	require.NoError(t, err, "copy %s", source)
	return root
}

// changes compares two trees and returns a line for each difference.
func changes(t *testing.T, old, new vfs.Path) (lines []string) {
	t.Helper()
	err := treecopy.Compare(t.Context(), vfs.RootCred(), treecopy.Tree{Root: old}, treecopy.Tree{Root: new}, func(c treecopy.Change) error {
		line := fmt.Sprintf("%s %q", c.Kind, c.Path)
		for _, d := range c.Differences {
			line += fmt.Sprintf(" %s(%s,%s)", d.What, d.Old, d.New)
		}
		lines = append(lines, line)
		return nil
	})
	require.NoError(t, err, "compare")
	return lines
}

// oddTree makes a tree with a file of every kind, odd names, times, modes and holes.
func oddTree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	rng := rand.New(rand.NewChaCha8([32]byte{1}))
	random := make([]byte, 3<<20+123)
	for i := range random {
		random[i] = byte(rng.Uint32())
	}
	for _, d := range []string{"empty", "deep/" + strings.Repeat("d/", 30), "sticky", "names"} {
		require.NoError(t, os.MkdirAll(at(d), 0o755))
	}
	for _, name := range []string{" blank", "new\nline", "back\\slash", "\xff\xfe not UTF-8", "ünïcode", strings.Repeat("long-", 51), "eq=ual", "-dash", "*"} {
		require.NoError(t, os.WriteFile(at("names/"+name), []byte("content of "+name), 0o640))
	}
	for _, size := range []int{0, 1, 511, 512, 513, 4095, 4096, 4097, 1 << 20, 1<<20 + 1, 3<<20 + 123} {
		require.NoError(t, os.WriteFile(at(fmt.Sprintf("size-%d", size)), random[:size], 0o644))
	}
	require.NoError(t, os.WriteFile(at("zeros"), make([]byte, 100_000), 0o444))
	require.NoError(t, os.Link(at("size-513"), at("deep/hardlink")))
	require.NoError(t, os.Link(at("size-513"), at("zz-hardlink")))
	require.NoError(t, os.Symlink("../size-1", at("deep/link")))
	require.NoError(t, os.Symlink("/no/such/place", at("dangling")))
	require.NoError(t, os.Symlink(strings.Repeat("../x/", 300), at("longlink")))
	require.NoError(t, unix.Mkfifo(at("fifo"), 0o600))
	sparse(t, at("hole-first"), 5<<20, random[:5000], 3<<20)
	sparse(t, at("hole-last"), 5<<20, random[:5000], 0)
	sparse(t, at("hole-only"), 5<<20, nil, 0)
	many, err := os.Create(at("hole-many"))
	require.NoError(t, err)
	for i := range int64(50) {
		_, err := many.WriteAt(random[:4096], i*64<<10)
		require.NoError(t, err)
	}
	require.NoError(t, many.Close())

	require.NoError(t, os.Chmod(at("sticky"), 0o777|os.ModeSticky))
	require.NoError(t, os.Chmod(at("size-1"), 0o755|os.ModeSetuid))
	for name, value := range map[string]string{"user.text": "value", "user.binary": "\x00\xff\n=", "user.large": strings.Repeat("x", 3000)} {
		if err := unix.Setxattr(at("size-4096"), name, []byte(value), 0); err != nil {
			require.ErrorIs(t, err, unix.EOPNOTSUPP)
		}
	}
	if os.Geteuid() == 0 {
		require.NoError(t, os.Lchown(at("size-512"), 1234, 3_000_000_000))
		require.NoError(t, os.Lchown(at("dangling"), 5, 6))
		capability := "\x01\x00\x00\x02\x00\x20\x00\x00" + strings.Repeat("\x00", 12) // cap_net_raw=ep
		for name, value := range map[string]string{"security.capability": capability, "trusted.t": "trusted"} {
			if err := unix.Setxattr(at("size-4097"), name, []byte(value), 0); err != nil {
				require.True(t, errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPERM), err)
			}
		}
		if err := unix.Mknod(at("device"), unix.S_IFBLK|0o640, int(unix.Mkdev(300, 70000))); err != nil {
			require.ErrorIs(t, err, unix.EPERM)
		}
	}
	for name, when := range map[string]time.Time{
		"size-0": time.Unix(0, 1), "size-1": time.Unix(-1, 500_000_000), "size-511": time.Unix(-12345, 0),
		"size-4095": time.Unix(10_000_000_000, 123_456_789), "hole-first": time.Unix(-2, 250_000_000), "hole-last": time.Unix(1_500_000_000, 10),
		"empty": time.Unix(981_173_106, 789_012_345), "names": time.Unix(1, 0), "deep": time.Unix(2, 3),
	} {
		require.NoError(t, os.Chtimes(at(name), when.Add(time.Hour), when))
	}
	require.NoError(t, os.Chmod(dir, 0o751))
	require.NoError(t, os.Chtimes(dir, time.Unix(77, 7), time.Unix(88, 8)))
	return dir
}

// sparse makes a file of holes with data at one place.
func sparse(t *testing.T, path string, size int64, data []byte, off int64) {
	t.Helper()
	f, err := os.Create(path)
	require.NoError(t, err)
	_, err = f.WriteAt(data, off)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(size))
	require.NoError(t, f.Close())
}
