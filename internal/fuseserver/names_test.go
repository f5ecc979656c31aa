package fuseserver_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestNames(t *testing.T) {
	s := start(t, "", "")

	t.Run("create, look up, unlink", func(t *testing.T) {
		f := s.path("f")
		_, err := os.Stat(f)
		require.ErrorIs(t, err, unix.ENOENT)
		require.NoError(t, os.WriteFile(f, []byte("hello"), 0o640))
		st := stat(t, f)
		require.EqualValues(t, unix.S_IFREG|0o640, st.Mode)
		require.EqualValues(t, 5, st.Size)
		require.EqualValues(t, 1, st.Nlink)
		_, err = os.OpenFile(f, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		require.ErrorIs(t, err, unix.EEXIST)
		require.NoError(t, os.Remove(f))
		_, err = os.Stat(f)
		require.ErrorIs(t, err, unix.ENOENT)
	})

	t.Run("mkdir and rmdir count links", func(t *testing.T) {
		before := stat(t, s.dir).Nlink
		require.NoError(t, os.Mkdir(s.path("d"), 0o750))
		require.EqualValues(t, unix.S_IFDIR|0o750, stat(t, s.path("d")).Mode)
		require.EqualValues(t, before+1, stat(t, s.dir).Nlink)
		require.NoError(t, os.Mkdir(s.path("d/e"), 0o750))
		require.ErrorIs(t, unix.Rmdir(s.path("d")), unix.ENOTEMPTY)
		require.NoError(t, unix.Rmdir(s.path("d/e")))
		require.NoError(t, unix.Rmdir(s.path("d")))
		require.EqualValues(t, before, stat(t, s.dir).Nlink)
	})

	t.Run("hard links are one file", func(t *testing.T) {
		require.NoError(t, os.WriteFile(s.path("a"), []byte("one"), 0o600))
		require.NoError(t, os.Link(s.path("a"), s.path("b")))
		require.Equal(t, stat(t, s.path("a")).Ino, stat(t, s.path("b")).Ino)
		require.EqualValues(t, 2, stat(t, s.path("a")).Nlink)
		require.NoError(t, os.WriteFile(s.path("a"), []byte("two!"), 0o600))
		got, err := os.ReadFile(s.path("b"))
		require.NoError(t, err)
		require.Equal(t, "two!", string(got))
		require.NoError(t, os.Remove(s.path("a")))
		require.EqualValues(t, 1, stat(t, s.path("b")).Nlink)
		require.NoError(t, os.Link(s.path("b"), s.path("a")))
		require.NoError(t, os.Remove(s.path("a")))
		require.NoError(t, os.Remove(s.path("b")))
	})

	t.Run("symbolic links", func(t *testing.T) {
		require.NoError(t, os.WriteFile(s.path("target"), []byte("x"), 0o600))
		require.NoError(t, os.Symlink("target", s.path("link")))
		got, err := os.Readlink(s.path("link"))
		require.NoError(t, err)
		require.Equal(t, "target", got)
		data, err := os.ReadFile(s.path("link"))
		require.NoError(t, err)
		require.Equal(t, "x", string(data))
		require.EqualValues(t, len("target"), stat(t, s.path("link")).Size)
	})

	t.Run("special files", func(t *testing.T) {
		require.NoError(t, unix.Mkfifo(s.path("fifo"), 0o600))
		require.EqualValues(t, unix.S_IFIFO|0o600, stat(t, s.path("fifo")).Mode)
		dev := unix.Mkdev(300, 70000)
		require.NoError(t, unix.Mknod(s.path("dev"), unix.S_IFCHR|0o600, int(dev)))
		require.Equal(t, dev, stat(t, s.path("dev")).Rdev)
		require.NoError(t, unix.Mknod(s.path("plain"), unix.S_IFREG|0o600, 0))
		require.EqualValues(t, unix.S_IFREG|0o600, stat(t, s.path("plain")).Mode)
	})

	t.Run("rename", func(t *testing.T) {
		require.NoError(t, os.MkdirAll(s.path("r/x/y"), 0o700))
		require.NoError(t, os.Mkdir(s.path("r/z"), 0o700))
		require.NoError(t, os.WriteFile(s.path("r/x/y/f"), []byte("1"), 0o600))
		require.NoError(t, os.WriteFile(s.path("r/g"), []byte("2"), 0o600))
		ino := stat(t, s.path("r/x/y/f")).Ino
		require.NoError(t, os.Rename(s.path("r/x"), s.path("r/z/x")), "a directory to another directory")
		require.Equal(t, ino, stat(t, s.path("r/z/x/y/f")).Ino)
		require.NoError(t, os.Rename(s.path("r/z/x/y/f"), s.path("r/g")), "over a file")
		got, err := os.ReadFile(s.path("r/g"))
		require.NoError(t, err)
		require.Equal(t, "1", string(got))
		require.ErrorIs(t, unix.Rename(s.path("r/z"), s.path("r/z/x/q")), unix.EINVAL)
		require.NoError(t, os.WriteFile(s.path("r/h"), []byte("3"), 0o600))
		require.ErrorIs(t, unix.Renameat2(-1, s.path("r/h"), -1, s.path("r/g"), unix.RENAME_NOREPLACE), unix.EEXIST)
		require.NoError(t, unix.Renameat2(-1, s.path("r/h"), -1, s.path("r/g"), unix.RENAME_EXCHANGE))
		got, err = os.ReadFile(s.path("r/h"))
		require.NoError(t, err)
		require.Equal(t, "1", string(got))
		require.ErrorIs(t, unix.Renameat2(-1, s.path("r/h"), -1, s.path("r/w"), unix.RENAME_WHITEOUT), unix.EINVAL)
	})

	t.Run("a directory of 5000 names", func(t *testing.T) {
		require.NoError(t, os.Mkdir(s.path("many"), 0o700))
		var want []string
		for i := range 5000 {
			name := fmt.Sprintf("file-%04d", i)
			want = append(want, name)
			require.NoError(t, os.WriteFile(s.path("many", name), nil, 0o600))
		}
		for _, how := range []string{"names", "attributes"} {
			entries, err := os.ReadDir(s.path("many"))
			require.NoError(t, err)
			var got []string
			for _, e := range entries {
				got = append(got, e.Name())
				if how == "attributes" {
					info, err := e.Info()
					require.NoError(t, err)
					require.True(t, info.Mode().IsRegular())
				}
			}
			slices.Sort(got)
			require.Equal(t, want, got, "by %s", how)
		}
		require.NoError(t, os.RemoveAll(s.path("many")))
	})

	t.Run("names too long", func(t *testing.T) {
		name := string(slices.Repeat([]byte{'n'}, 256))
		_, err := os.Stat(s.path(name))
		require.ErrorIs(t, err, unix.ENAMETOOLONG)
		require.NoError(t, os.WriteFile(s.path(name[1:]), nil, 0o600))
	})

	t.Run("inode numbers in listings are those of stat", func(t *testing.T) {
		d, err := unix.Open(s.dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		require.NoError(t, err)
		defer unix.Close(d)
		buf := make([]byte, 64<<10)
		n, err := unix.Getdents(d, buf)
		require.NoError(t, err)
		require.Positive(t, n)
		seen := 0
		for b := buf[:n]; len(b) > 0; {
			ino := binary.NativeEndian.Uint64(b)
			length := int(b[16]) | int(b[17])<<8
			name := unix.ByteSliceToString(b[19:length])
			if name != "." && name != ".." {
				require.Equal(t, stat(t, s.path(name)).Ino, ino, name)
				seen++
			}
			b = b[length:]
		}
		require.Positive(t, seen)
	})

	s.stop(t)
	noLeftMount(t, s.dir)
}
