package ramfs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/ramfs"
	"cloister/internal/testenv"
	"cloister/vfs"
)

// TestClock holds that the files of a mount have the time of the Type.
func TestClock(t *testing.T) {
	now := time.Unix(1234, 5678)
	fs, err := ramfs.Type{Now: func() time.Time { return now }}.Mount(t.Context(), vfs.MountRequest{})
	require.NoError(t, err)
	a, err := fs.Root().Getattr(t.Context(), unix.STATX_MTIME)
	require.NoError(t, err)
	require.Equal(t, unix.Timespec{Sec: 1234, Nsec: 5678}, a.Mtime)
}

// TestOptions holds what the options are, and how they are shown.
func TestOptions(t *testing.T) {
	for _, tc := range []struct {
		data, shown  string
		pages, files uint64
		mode         uint32
	}{
		{"", "", 0, 0, 0o1777},
		{",,", "", 0, 0, 0o1777},
		{"size=0,nr_inodes=0", "", 0, 0, 0o1777},
		{"size=1", "size=4k", 1, 0, 0o1777},
		{"size=4097", "size=8k", 2, 0, 0o1777},
		{"size=64k", "size=64k", 16, 0, 0o1777},
		{"size=2M", "size=2048k", 512, 0, 0o1777},
		{"size=1g,nr_inodes=1", "size=1048576k,nr_inodes=1", 1 << 18, 1, 0o1777},
		{"nr_inodes=2k", "nr_inodes=2048", 0, 2048, 0o1777},
		{"mode=700", "mode=700", 0, 0, 0o700},
		{"mode=0", "mode=000", 0, 0, 0},
		{"mode=01777", "", 0, 0, 0o1777},
		{"size=9223372036854775807,nr_inodes=9007199254740991", "size=9007199254740991k,nr_inodes=9007199254740991", 1 << 51, 9007199254740991, 0o1777},
	} {
		t.Run(tc.data, func(t *testing.T) {
			for data := range map[string]bool{tc.data: true, tc.shown: true} {
				fs, err := ramfs.Type{}.Mount(t.Context(), vfs.MountRequest{Data: data})
				require.NoError(t, err, "mount with %q", data)
				require.Equal(t, tc.shown, fs.Options())
				st, err := fs.Statfs(t.Context())
				require.NoError(t, err)
				require.Equal(t, tc.pages, st.Blocks)
				require.Equal(t, tc.pages, st.Bfree)
				require.Equal(t, tc.files, st.Files)
				require.Equal(t, max(tc.files, 1)-1, st.Ffree, "the root is one")
				a, err := fs.Root().Getattr(t.Context(), unix.STATX_MODE)
				require.NoError(t, err)
				require.Equal(t, unix.S_IFDIR|tc.mode, a.Mode)
			}
		})
	}
}

func TestOptionsRefused(t *testing.T) {
	for data, says := range map[string]string{
		"size=50%":                    `"size" cannot be a share of the memory`,
		"size=-1":                     `"size" must be a number of bytes`,
		"size=k":                      `"size" must be a number of bytes`,
		"size=":                       `"size" has an empty value`,
		"size":                        `"size" needs a value`,
		"size=1,size=1":               `"size" is given twice`,
		"size=9223372036854775808":    `"size" must be`,
		"size=16e":                    `"size" must be`,
		"sise=1":                      `did you mean "size"?`,
		"nr_inode=1":                  `did you mean "nr_inodes"?`,
		"nr_inodes=1%":                `"nr_inodes" must be a number`,
		"nr_inodes=9007199254740992":  `"nr_inodes" must be a number of at most 9007199254740991`,
		"nr_inodes=18014398509481984": `"nr_inodes" must be`,
		"mode=8":                      `"mode" must be an octal mode`,
		"mode=10000":                  `"mode" must be an octal mode`,
		"dir=/x":                      `"dir" is unknown`,
	} {
		fs, err := ramfs.Type{}.Mount(t.Context(), vfs.MountRequest{Data: data})
		require.ErrorIs(t, err, unix.EINVAL, "mount with %q", data)
		require.ErrorContains(t, err, says, "mount with %q", data)
		require.Nil(t, fs)
	}
}

// TestOptionsShown holds that the list of mounts shows limits as Linux does.
func TestOptionsShown(t *testing.T) {
	const shown = "size=8k,nr_inodes=5,mode=700"
	task, err := newTask(t, "nr_inodes=5,mode=0700,size=5000")
	require.NoError(t, err)
	mounts, err := task.ProcMountinfo()
	require.NoError(t, err)
	require.Contains(t, mounts, " /m rw,relatime - ramfs none rw,"+shown+"\n")
}

func TestOptionsShownByKernel(t *testing.T) {
	testenv.NeedRoot(t)
	root := filepath.Join(t.TempDir(), "m")
	require.NoError(t, os.Mkdir(root, 0o755))
	require.NoError(t, unix.Mount("none", root, "tmpfs", 0, "nr_inodes=5,mode=0700,size=5000"))
	defer func() { require.NoError(t, unix.Unmount(root, 0)) }()
	data, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	_, line, found := strings.Cut(string(data), fmt.Sprintf(" %s rw,", root))
	require.True(t, found)
	line, _, _ = strings.Cut(line, "\n")
	require.Contains(t, line, " - tmpfs none rw,size=8k,nr_inodes=5,mode=700")
}
