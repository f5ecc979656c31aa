package syscall_test

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestGetdentsOld(t *testing.T) {
	run := func(t *testing.T, c caller) {
		tree(t, c, "d/", "d/file", "d/sub/", "d/link => x", "d/"+strings.Repeat("n", 255))
		fd, err := c.Openat(cwd, "d", unix.O_RDONLY, 0)
		require.NoError(t, err)
		types := map[string]byte{}
		for {
			buf := make([]byte, 300)
			n, err := c.Getdents(fd, buf)
			require.NoError(t, err)
			if n == 0 {
				break
			}
			for buf = buf[:n]; len(buf) > 0; {
				size := binary.NativeEndian.Uint16(buf[16:])
				name, _, _ := strings.Cut(string(buf[18:size-1]), "\x00")
				types[name] = buf[size-1]
				var st unix.Stat_t
				require.NoError(t, c.Newfstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW))
				require.Equal(t, st.Ino, binary.NativeEndian.Uint64(buf))
				buf = buf[size:]
			}
		}
		require.Equal(t, map[string]byte{
			".": unix.DT_DIR, "..": unix.DT_DIR, "file": unix.DT_REG, "sub": unix.DT_DIR, "link": unix.DT_LNK,
			strings.Repeat("n", 255): unix.DT_REG,
		}, types)
		_, err = c.Lseek(fd, 0, unix.SEEK_SET)
		require.NoError(t, err)
		_, err = c.Getdents(fd, make([]byte, 20))
		require.ErrorIs(t, err, unix.EINVAL, "no room for one entry")
		require.NoError(t, c.Close(fd))
	}
	t.Run("libos", func(t *testing.T) { run(t, newTask(t)) })
	t.Run("linux", func(t *testing.T) { run(t, newKernel(t)) })
}
