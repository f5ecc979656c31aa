package libos_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/libos"
	"cloister/mountopt"
	"cloister/syscall"
)

const (
	keyText   = "c7-32-b3-ed-44-df-ec-7b-25-2d-9a-32-38-8d-58-61"
	otherText = "00-32-b3-ed-44-df-ec-7b-25-2d-9a-32-38-8d-58-61"
)

// image makes an image with the key of keyText that holds the file f, and returns its directory.
func image(t *testing.T, task *syscall.Task) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, task.Mount("sefs", "/m", "sefs", 0, "dir="+dir+",key="+keyText))
	write(t, task, "/m/f", "in the image", false)
	require.NoError(t, task.Umount("/m"))
	return dir
}

// TestKeyFile mounts with keys in files of the LibOS.
func TestKeyFile(t *testing.T) {
	host := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(host, "key"), []byte(keyText), 0o600))
	l := start(t)
	task := l.NewTask()
	require.NoError(t, task.Mkdir("/m", 0o755))
	require.NoError(t, task.Mkdir("/host", 0o755))
	require.NoError(t, task.Mkdir("/keys", 0o700))
	require.NoError(t, task.Mount("", "/host", "hostfs", 0, "dir="+host))
	dir := image(t, task)
	write(t, task, "/keys/good", keyText+"\n", false)
	write(t, task, "/keys/other", otherText+"\n", false)
	write(t, task, "/keys/text", "no key\n", false)
	write(t, task, "/keys/empty", "", false)
	write(t, task, "/keys/open", keyText, false)
	require.NoError(t, task.Chmod("/keys/open", 0o640))
	require.NoError(t, task.Symlink("/keys/good", "/link"))
	require.NoError(t, task.Symlink("/host/key", "/tohost"))
	require.NoError(t, task.Mknod("/keys/fifo", unix.S_IFIFO|0o600, 0))

	for path, want := range map[string]unix.Errno{
		"/keys/good":                0,
		"/link":                     0,
		"/keys/../link":             0,
		"/keys/other":               unix.EACCES,
		"/keys/text":                unix.EINVAL,
		"/keys/empty":               unix.EINVAL,
		"/keys/open":                unix.EACCES,
		"/keys/none":                unix.ENOENT,
		"/keys/good/x":              unix.ENOTDIR,
		"/keys":                     unix.EISDIR,
		"/keys/fifo":                unix.ENXIO,
		"/host/key":                 unix.EACCES,
		"/tohost":                   unix.EACCES,
		"keys/good":                 unix.EINVAL,
		"/keys/good,key=" + keyText: unix.EINVAL,
	} {
		for _, data := range []string{"dir=" + dir, "lowerdir=" + dir + ",upperdir=" + t.TempDir()} {
			typ := "sefs"
			if data[0] == 'l' {
				typ = "unionfs"
			}
			err := task.Mount("none", "/m", typ, unix.MS_RDONLY, data+",keyfile="+path)
			if want != 0 {
				require.ErrorIs(t, err, want, "mount %s with %s", typ, path)
				continue
			}
			require.NoError(t, err, "mount %s with %s", typ, path)
			require.Equal(t, "in the image", read(t, task, "/m/f"))
			require.NoError(t, task.Umount("/m"))
		}
	}

	require.NoError(t, task.Mount("none", "/m", "sefs", 0, "dir="+dir+",keyfile=/keys/good"))
	text, err := task.ProcMounts()
	require.NoError(t, err)
	require.Contains(t, text, "keyfile=/keys/good")
	require.NotContains(t, text, "b3")
	require.NoError(t, task.Umount("/m"), "the file is not kept open")

	// A process in a chroot names the file from the root of the LibOS all the same.
	jailed := task.Fork()
	require.NoError(t, task.Mkdir("/jail", 0o755))
	require.NoError(t, task.Mkdir("/jail/m", 0o755))
	require.NoError(t, jailed.Chroot("/jail"))
	require.NoError(t, jailed.Mount("none", "/m", "sefs", unix.MS_RDONLY, "dir="+dir+",keyfile=/keys/good"))
	require.NoError(t, jailed.Umount("/m"))

	// The file is opened as the mounter, who must be privileged to mount at all.
	require.NoError(t, jailed.Setresuid(1000, 1000, 1000))
	require.ErrorIs(t, jailed.Mount("none", "/m", "sefs", 0, "dir="+dir+",keyfile=/keys/good"), unix.EPERM)
	jailed.Exit()
	require.NoError(t, task.Unlink("/keys/good"))
	require.NoError(t, task.Umount("/host"))
	task.Exit()
	require.NoError(t, l.Close(t.Context()))
}

// TestKeyFileAtStart: keys of start-up mounts can lie in an image that is mounted before them, sealed
// to the enclave. The error says why a key file is refused, and shows nothing of what is in it.
func TestKeyFileAtStart(t *testing.T) {
	l := start(t)
	task := l.NewTask()
	require.NoError(t, task.Mkdir("/m", 0o755))
	dir, keys := image(t, task), t.TempDir()
	require.NoError(t, task.Mount("sefs", "/m", "sefs", 0, "dir="+keys))
	write(t, task, "/m/image", keyText, false)
	write(t, task, "/m/broken", keyText+"00", false)
	require.NoError(t, task.Umount("/m"))
	task.Exit()
	require.NoError(t, l.Close(t.Context()))

	mounts := func(path string) []mountopt.Mount {
		return []mountopt.Mount{
			{Source: "none", Target: "/keys", Type: "sefs", Data: "dir=" + keys, Flags: unix.MS_RDONLY},
			{Source: "none", Target: "/app", Type: "sefs", Data: "dir=" + dir + ",keyfile=" + path},
		}
	}
	l = start(t, mounts("/keys/image")...)
	task = l.NewTask()
	require.Equal(t, "in the image", read(t, task, "/app/f"))
	task.Exit()
	require.NoError(t, l.Close(t.Context()))

	for path, says := range map[string]string{
		"/keys/none":   `key file "/keys/none"`,
		"/keys/broken": `key file "/keys/broken": mountopt: text is not a key`,
		"/keys":        `key file "/keys": is a directory`,
		"keys/image":   `option "keyfile" must be an absolute path`,
	} {
		_, err := libos.Start(t.Context(), libos.Config{Platform: platform(t), Mounts: mounts(path)})
		require.ErrorContains(t, err, says)
		require.NotContains(t, err.Error(), "b3")
	}
}

// TestMACIsNotIgnored: an image has no root MAC yet, so a mount that asks for one must not succeed.
func TestMACIsNotIgnored(t *testing.T) {
	const mac = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	dir := t.TempDir()
	for data, want := range map[string]struct {
		errno unix.Errno
		says  string
	}{
		"dir=" + dir + ",mac=" + mac:                                   {unix.EINVAL, "the directory is empty"},
		"dir=" + dir + ",key=" + keyText + ",mac=" + mac:               {unix.EINVAL, "the directory is empty"},
		"dir=" + dir + ",mac=" + mac[1:]:                               {unix.EINVAL, `option "mac" is not a MAC: 32 bytes as 64 hex digits`},
		"dir=" + dir + ",mac=" + keyText:                               {unix.EINVAL, `option "mac" is not a MAC`},
		"dir=" + dir + ",mac=" + mac + ",mac=" + mac:                   {unix.EINVAL, `option "mac" is given twice`},
		"dir=" + dir + ",mca=" + mac:                                   {unix.EINVAL, `did you mean "mac"?`},
		"dir=" + dir + ",key=" + keyText + ",keyfile=/k":               {unix.EINVAL, "cannot both be given"},
		"dir=" + dir + ",key=" + keyText + ",mac=" + mac + ",x=" + mac: {unix.EINVAL, `option "x" is unknown, there are dir, mac, key, keyfile`},
	} {
		_, err := libos.Start(t.Context(), libos.Config{Platform: platform(t), Mounts: []mountopt.Mount{
			{Source: "none", Target: "/m", Type: "sefs", Data: data},
		}})
		require.ErrorIs(t, err, want.errno, data)
		require.ErrorContains(t, err, want.says, data)
		require.NotContains(t, err.Error(), "b3")
		names, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, names, "a refused mount leaves nothing")
	}
}
