package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// runText writes a script and runs it with flags; it returns exit status,
// standard output and standard error.
func runText(t *testing.T, text string, flags ...string) (status int, stdout, stderr string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s.txt")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return runHarness(append(append([]string{"run"}, flags...), path)...)
}

func runHarness(args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	status = execute(context.Background(), args, &out, &errs)
	return status, out.String(), errs.String()
}

func TestCommandLine(t *testing.T) {
	for _, tc := range []struct {
		name   string
		args   []string
		status int
		errs   string
	}{
		{"no script", []string{"run"}, exitBroken, "requires at least 1 arg"},
		{"missing script", []string{"run", "/missing/s.txt"}, exitBroken, ""},
		{"unknown flag", []string{"run", "--what", "s.txt"}, exitBroken, "unknown flag: --what"},
		{"unknown command", []string{"walk"}, exitBroken, "unknown command"},
		{"bad variable", []string{"run", "--set", "a=b", "testdata/open-flags.txt"}, exitBroken, "--set a: NAME=value"},
		{"reserved variable", []string{"run", "--set", "HOST=/", "testdata/open-flags.txt"}, exitBroken, "not HOST"},
		{"bad regexp", []string{"run", "--run", "(", "testdata"}, exitBroken, "--run"},
		{"nothing chosen", []string{"run", "--run", "no-such-script", "testdata"}, exitBroken, "no script to run"},
		{"unknown system", []string{"run", "--on", "dos", "testdata/open-flags.txt"}, exitBroken, "libos, linux or fuse"},
		{"unknown root", []string{"run", "--root", "ext4", "testdata/open-flags.txt"}, exitBroken, "ramfs, sefs, unionfs"},
		{"root elsewhere", []string{"run", "--on", "linux", "--root", "sefs", "testdata/open-flags.txt"}, exitBroken, "only with --on=libos"},
		{"relative directory", []string{"run", "--below", "x", "testdata/open-flags.txt"}, exitBroken, "absolute path"},
		{"both forms", []string{"run", "--json", "--tap", "testdata/open-flags.txt"}, exitBroken, "json"},
		{"bad time", []string{"run", "--timeout", "soon", "testdata/open-flags.txt"}, exitBroken, "--timeout"},
		{"no time", []string{"run", "--timeout", "0s", "testdata/open-flags.txt"}, exitBroken, "--timeout 0s: a time above zero"},
		{"calls among objects", []string{"run", "--json", "-v", "testdata/open-flags.txt"}, exitBroken, "verbose"},
		{"calls among test points", []string{"run", "--tap", "-v", "testdata/open-flags.txt"}, exitBroken, "verbose"},
		{"help", []string{"run", "--help"}, exitPassed, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status, out, errs := runHarness(tc.args...)
			require.Equal(t, tc.status, status, "%s%s", out, errs)
			require.Contains(t, errs, tc.errs)
		})
	}
}

// TestStatusIsTheWorst checks the exit status of several scripts.
func TestStatusIsTheWorst(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	pass, skip := write("pass.txt", "sync() = 0"), write("skip.txt", `skip "why not"`)
	fail, broken := write("fail.txt", "sync() = 1"), write("broken.txt", "sync(")
	for _, tc := range []struct {
		scripts []string
		status  int
	}{
		{[]string{pass, skip}, exitPassed},
		{[]string{fail, pass}, exitFailed},
		{[]string{broken, fail, pass}, exitBroken},
		{[]string{dir}, exitBroken},
	} {
		status, out, errs := runHarness(append([]string{"run"}, tc.scripts...)...)
		require.Equal(t, tc.status, status, "%s%s", out, errs)
	}
}

func TestRunChooses(t *testing.T) {
	status, out, errs := runHarness("run", "--run", "/open-(flags|excl)[.]txt$", "testdata")
	require.Equal(t, exitPassed, status, "%s%s", out, errs)
	require.Regexp(t, `^ok    testdata/open-excl.txt .*\nok    testdata/open-flags.txt .*\n2 passed, 0 failed`, out)
}

func TestSet(t *testing.T) {
	const text = "mkdir(\"/$NAME\", 0755) = 0\nrmdir(\"/first\") = ?\nrmdir(\"/second\") = 0\nhost: write a \"$KEY$OTHER_2\"\nhost: cat a = \"key=z\""
	status, out, errs := runText(t, text, "--set", "NAME=first", "--set", "NAME=second", "--set", "KEY=key", "--set", "OTHER_2==z")
	require.Equal(t, exitPassed, status, "the last value of a name counts: %s%s", out, errs)
	status, out, _ = runText(t, text, "--set", "NAME=first")
	require.Equal(t, exitFailed, status)
	require.Contains(t, out, `s.txt:3:20: the result differs`)
}

// TestBelow replays a trace that touches other directories, too.
func TestBelow(t *testing.T) {
	const text = `7 open("/etc/passwd", O_RDONLY) = 3
7 open("/tmp/w/f", O_WRONLY|O_CREAT, 0600) = 4
7 write(3, "skipped", 7) = 7
7 write(4, "made", 4) = 4
7 chdir("/tmp/w") = 0
7 stat("f", {st_size=4, ...}) = 0
7 stat("../w2", {st_size=4, ...}) = 0
`
	status, out, errs := runText(t, text, "--below", "/tmp/w/")
	require.Equal(t, exitFailed, status, "a relative path is looked up where the task is: %s%s", out, errs)
	status, out, errs = runText(t, strings.ReplaceAll(text, "../w2", "/tmp/w2"), "--below", "/tmp/w/")
	require.Equal(t, exitPassed, status, "%s%s", out, errs)
	require.Contains(t, out, "(4 calls, 3 skipped)")
}

// TestVerboseOutputIsAScript runs the output of -v again.
func TestVerboseOutputIsAScript(t *testing.T) {
	for _, name := range []string{"mount-union", "mount-hostfs", "open-flags", "fd-fork", "fd-vectors", "perm-times", "dirs-read", "union-attributes", "enclave-restart", "option-escapes",
		"xattr-user", "lock-record", "lock-open-description", "fd-copy-range", "fd-sendfile", "dirs-statx", "fd-ioctl", "open-how", "perm-times-old", "fd-close-range"} {
		t.Run(name, func(t *testing.T) {
			status, first, errs := runHarness("run", "-v", "testdata/"+name+".txt")
			require.Equal(t, exitPassed, status, "%s%s", first, errs)
			status, second, errs := runText(t, first, "-v")
			require.Equal(t, exitPassed, status, "%s%s", second, errs)
			calls := func(out string) []string {
				return regexp.MustCompile(`(?m)^[^#].*`).FindAllString(out, -1)
			}
			require.Equal(t, calls(first), calls(second))
		})
	}
}

// TestVerboseShowsAnswers checks that -v prints what came, not what was wanted.
func TestVerboseShowsAnswers(t *testing.T) {
	_, out, _ := runText(t, "open(\"/f\", O_RDWR|O_CREAT, 0600) = ?\nwrite(3, \"abc\", 3) = ?\npread64(3, ..., 10, 0)\nstat(\"/f\", ...)\nrmdir(\"/f\") = ?", "-v")
	for _, line := range []string{
		`open("/f", O_RDWR|O_CREAT, 0600) = 3`,
		`write(3, "abc", 3) = 3`,
		`pread64(3, "abc", 10, 0) = 3`,
		`stat("/f", {st_mode=S_IFREG|0600, st_nlink=1, st_uid=0, st_gid=0, st_size=3, ...}) = 0`,
		`rmdir("/f") = -1 ENOTDIR (Not a directory)`,
	} {
		require.Contains(t, out, line+"\n")
	}
}

// TestKeepsKeysOut checks that no value of a key variable is printed.
func TestKeepsKeysOut(t *testing.T) {
	const key = "0123456789abcdef0123456789abcdef"
	for _, text := range []string{
		`mount("hostfs", "/", "hostfs", 0, "dir=/x,key=$KEY") = 0`,
		`mount("hostfs", "/$KEY", "hostfs", 0, "key=$KEY,key=$KEY") = 0`,
		"symlink(\"$KEY\", \"/l\") = 0\nreadlink(\"/l\", \"x\", 100)",
		`host: rm $KEY`,
	} {
		_, out, errs := runText(t, text, "-v", "--set", "KEY="+key)
		require.NotContains(t, out+errs, key, "output for %s", text)
		require.Contains(t, out, "$KEY")
	}
}

func TestKeep(t *testing.T) {
	status, out, _ := runText(t, `host: write kept "x"`, "--keep")
	require.Equal(t, exitPassed, status)
	m := regexp.MustCompile(`kept: (\S+)`).FindStringSubmatch(out)
	require.Len(t, m, 2, out)
	t.Cleanup(func() { os.RemoveAll(m[1]) })
	require.FileExists(t, filepath.Join(m[1], "kept"))
}

// TestInterrupted checks that a script which is interrupted is taken down, and
// that no other is begun.
func TestInterrupted(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	status := execute(ctx, []string{"run", "testdata/open-flags.txt", "testdata/open-excl.txt"}, &out, &errs)
	require.Equal(t, exitBroken, status)
	require.Contains(t, out.String(), "ERROR testdata/open-flags.txt\n  interrupted\n0 passed, 0 failed, 0 skipped, 1 broken")
	out.Reset()
	require.Equal(t, exitBroken, execute(ctx, []string{"run", "--tap", "testdata/open-flags.txt", "testdata/open-excl.txt"}, &out, &errs))
	require.True(t, strings.HasSuffix(out.String(), "\nBail out! interrupted\n"), "%s", out.String())
	require.Empty(t, errs.String())
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// TestTimeoutNamesTheLine checks that a call that hangs is named, and that
// nothing is left of the system that it hangs on.
func TestTimeoutNamesTheLine(t *testing.T) {
	for _, system := range systems {
		if system.on == "libos" {
			continue // where opening a FIFO does not wait
		}
		t.Run(system.on, func(t *testing.T) {
			system.need(t)
			t.Setenv("TMPDIR", t.TempDir())
			status, out, _ := runText(t, "mknod(\"p\", S_IFIFO|0600, 0) = 0\nopen(\"p\", O_RDONLY) = 3", "--on", system.on, "--timeout", "300ms")
			require.Equal(t, exitFailed, status)
			require.Contains(t, out, "s.txt:2:1: its time is over\n  \topen(\"p\", O_RDONLY) = 3\n  \t^\n")
			require.Contains(t, out, "an end within 300ms")
			left, err := os.ReadDir(os.Getenv("TMPDIR"))
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

func TestTimeout(t *testing.T) {
	status, out, _ := runText(t, strings.Repeat("sync() = 0\n", 100), "--timeout", "1ns")
	require.Equal(t, exitFailed, status)
	require.Contains(t, out, "an end within 1ns")
}
