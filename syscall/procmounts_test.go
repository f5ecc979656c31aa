package syscall_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/mountopt"
)

const (
	field = `([^ \t\n#]|\\[0-3][0-7]{2})+`
	flags = `r[ow](,[^ ,\t\n]+)*`
)

var (
	mountsLine    = regexp.MustCompile(`^` + field + ` /` + `([^ \t\n])* ` + field + ` ` + flags + ` 0 0$`)
	mountinfoLine = regexp.MustCompile(`^\d+ \d+ \d+:\d+ /[^ \t\n]* /[^ \t\n]* ` + flags + `( [a-z_]+(:\d+)?)* - ` + field + ` ` + field + ` ` + flags + `$`)
)

// lines splits text that has to consist of whole lines of one form.
func lines(t *testing.T, text string, form *regexp.Regexp) (all [][]string) {
	t.Helper()
	require.True(t, strings.HasSuffix(text, "\n"))
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		require.Regexp(t, form, line)
		fields := strings.Split(line, " ")
		for i, f := range fields {
			var err error
			fields[i], err = mountopt.UnescapeField(f)
			require.NoError(t, err, "field %q", f)
		}
		all = append(all, fields)
	}
	return all
}

// TestProcForm holds the forms against the kernel's own files.
func TestProcForm(t *testing.T) {
	for path, form := range map[string]*regexp.Regexp{"mounts": mountsLine, "mountinfo": mountinfoLine} {
		text, err := os.ReadFile("/proc/thread-self/" + path) // the main thread may be one that lives elsewhere
		require.NoError(t, err)
		require.NotEmpty(t, lines(t, string(text), form), path)
	}
}

func TestProcMounts(t *testing.T) {
	task := newTask(t)
	odd := "/a b\tc\nd\\e#"
	tree(t, task, odd+"/", "m/")
	require.NoError(t, task.Mount("src #1\\", odd, "ramfs", unix.MS_RDONLY|unix.MS_NODEV|unix.MS_SYNCHRONOUS|unix.MS_NOATIME, ""))
	require.NoError(t, task.Mount("", "/m", "ramfs", 0, ""))
	require.NoError(t, task.Mkdir("/m/in", 0o755))
	require.NoError(t, task.Mount("", "/m/in", "ramfs", unix.MS_NOSUID, ""))

	text, err := task.ProcMounts()
	require.NoError(t, err)
	require.Equal(t, [][]string{
		{"none", "/", "ramfs", "rw,relatime", "0", "0"},
		{"src #1\\", odd, "ramfs", "ro,sync,nodev,noatime", "0", "0"},
		{"none", "/m", "ramfs", "rw,relatime", "0", "0"},
		{"none", "/m/in", "ramfs", "rw,nosuid,relatime", "0", "0"},
	}, lines(t, text, mountsLine))
	require.Contains(t, text, `src\040\0431\134 /a\040b\011c\012d\134e# ramfs `)

	text, err = task.ProcMountinfo()
	require.NoError(t, err)
	infos := lines(t, text, mountinfoLine)
	for i, path := range []string{"/", odd, "/m", "/m/in"} {
		var x unix.Statx_t
		require.NoError(t, task.Statx(cwd, path, 0, unix.STATX_MNT_ID, &x))
		require.Equal(t, []string{fmt.Sprint(x.Mnt_id), infos[i][1], fmt.Sprintf("%d:%d", x.Dev_major, x.Dev_minor), "/", path}, infos[i][:5])
	}
	id := func(i int) string { return infos[i][0] }
	require.Equal(t, []string{id(0), id(0), id(0), id(2)}, []string{infos[0][1], infos[1][1], infos[2][1], infos[3][1]}, "parents")
	require.Equal(t, []string{"ro,nodev,noatime", "-", "ramfs", "src #1\\", "ro,sync"}, infos[1][5:])

	// A process sees what its root leads to, as it leads there.
	child := task.Fork()
	defer child.Exit()
	require.NoError(t, child.Chroot("/m"))
	text, err = child.ProcMounts()
	require.NoError(t, err)
	var targets []string
	for _, fields := range lines(t, text, mountsLine) {
		targets = append(targets, fields[1])
	}
	require.Equal(t, []string{"/", "/in"}, targets)

	gone := task.Fork()
	gone.Exit()
	_, err = gone.ProcMounts()
	require.ErrorIs(t, err, unix.ESRCH)
}
