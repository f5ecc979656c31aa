package mountopt_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"cloister/mountopt"
)

func TestFormatFlags(t *testing.T) {
	for _, tc := range []struct {
		flags uintptr
		want  string
	}{
		{0, "rw"},
		{unix.MS_RDONLY, "ro"},
		{unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, "ro,nosuid,nodev,noexec"},
		{unix.MS_SYNCHRONOUS | unix.MS_RELATIME | unix.MS_NOSYMFOLLOW, "rw,sync,relatime,nosymfollow"},
		{unix.MS_NOATIME | unix.MS_NODIRATIME | unix.MS_LAZYTIME | unix.MS_DIRSYNC, "rw,dirsync,lazytime,noatime,nodiratime"},
		{unix.MS_SILENT | unix.MS_REC | unix.MS_STRICTATIME, "rw"},
	} {
		require.Equal(t, tc.want, mountopt.FormatFlags(tc.flags), "flags %#x", tc.flags)
	}
}

func TestParseFlags(t *testing.T) {
	for words, want := range map[string]uintptr{
		"": 0, "rw": 0, "ro": unix.MS_RDONLY, ",ro,,nosuid,": unix.MS_RDONLY | unix.MS_NOSUID,
		"exec,dev,suid,async,atime": 0, "strictatime,silent": unix.MS_STRICTATIME | unix.MS_SILENT, "noexec,nosymfollow": unix.MS_NOEXEC | unix.MS_NOSYMFOLLOW,
	} {
		got, err := mountopt.ParseFlags(words)
		require.NoError(t, err, words)
		require.Equal(t, want, got, words)
	}
	for _, words := range []string{"r0", "ro,ro", "ro,rw", "noexec,exec", "RO", " ro", "ro=1", "bind", "remount", "noasync"} {
		_, err := mountopt.ParseFlags(words)
		require.ErrorIs(t, err, unix.EINVAL, words)
	}
}

func TestFlagsPrintParse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		flags := uintptr(rapid.Uint32().Draw(t, "flags")) & (mountopt.MountFlags | mountopt.SuperFlags)
		again, err := mountopt.ParseFlags(mountopt.FormatFlags(flags))
		require.NoError(t, err)
		require.Equal(t, flags, again)
	})
}

func TestUnmountFlags(t *testing.T) {
	all := unix.MNT_FORCE | unix.MNT_DETACH | unix.MNT_EXPIRE | unix.UMOUNT_NOFOLLOW
	require.Equal(t, "force,detach,expire,nofollow", mountopt.FormatUnmountFlags(all))
	require.Equal(t, "detach", mountopt.FormatUnmountFlags(unix.MNT_DETACH|1<<20))
	for flags := range all + 1 {
		again, err := mountopt.ParseUnmountFlags(mountopt.FormatUnmountFlags(flags))
		require.NoError(t, err)
		require.Equal(t, flags, again)
	}
	for _, words := range []string{"lazy", "force,force"} {
		_, err := mountopt.ParseUnmountFlags(words)
		require.ErrorIs(t, err, unix.EINVAL, words)
	}
}

func TestEscape(t *testing.T) {
	require.Equal(t, `/a\040b\011\012\134#`, mountopt.EscapePath("/a b\t\n\\#"))
	require.Equal(t, `\043x\040`, mountopt.EscapeSource("#x "))
	require.Equal(t, "/plain", mountopt.EscapePath("/plain"))
	for _, field := range []string{`\`, `\04`, `\400`, `\089`, `\abc`, `a\0400\`} {
		_, err := mountopt.UnescapeField(field)
		require.ErrorIs(t, err, unix.EINVAL, field)
	}
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringOf(rapid.SampledFrom([]rune("a0 \t\n\\#\xffé"))).Draw(t, "s")
		for _, escaped := range []string{mountopt.EscapePath(s), mountopt.EscapeSource(s)} {
			require.NotContains(t, escaped, " ")
			require.NotContains(t, escaped, "\n")
			got, err := mountopt.UnescapeField(escaped)
			require.NoError(t, err)
			require.Equal(t, s, got)
		}
	})
}
