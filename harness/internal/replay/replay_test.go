package replay_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/harness/internal/replay"
	"cloister/harness/internal/script"
)

// recorder is a System that notes what is asked of it and answers as told.
type recorder struct {
	calls []string
	next  int // descriptor that openat returns next
	ids   []replay.Identity
}

func (r *recorder) note(s string) { r.calls = append(r.calls, s) }

func (r *recorder) Start(_ context.Context, id replay.Identity) (replay.Task, error) {
	r.ids = append(r.ids, id)
	r.note("start")
	return &fakeTask{r: r}, nil
}

func (r *recorder) Stop(context.Context) error { r.note("stop"); return nil }
func (r *recorder) Kill()                      { r.note("kill") }

// fakeTask panics on calls that a test does not expect: its Task is nil.
type fakeTask struct {
	replay.Task
	r *recorder
}

func (t *fakeTask) Fork() (replay.Task, error) { t.r.note("fork"); return &fakeTask{r: t.r}, nil }
func (t *fakeTask) Exit()                      { t.r.note("exit") }
func (t *fakeTask) Exec()                      { t.r.note("exec") }

func (t *fakeTask) Openat(_ int, path string, _ int, _ uint32) (int, error) {
	t.r.note("openat " + path)
	t.r.next++
	return t.r.next, nil
}

func (t *fakeTask) Close(fd int) error {
	t.r.note("close " + strings.Repeat("I", min(fd, 20)))
	if fd > 1000 {
		return unix.EBADF
	}
	return nil
}

func (t *fakeTask) Mkdirat(_ int, path string, _ uint32) error {
	t.r.note("mkdir " + path)
	if path == "" {
		return unix.ENOENT
	}
	return nil
}

func (t *fakeTask) Chdir(path string) error { t.r.note("chdir " + path); return nil }

// play runs text on a recorder and requires that all went as the script says.
func play(t *testing.T, text string, change func(*replay.Config)) (*recorder, replay.Outcome) {
	t.Helper()
	f, err := script.Parse("s.txt", []byte(text))
	require.NoError(t, err)
	r := &recorder{}
	cfg := replay.Config{System: r, Host: t.TempDir(), Conds: map[string]bool{"libos": true, "linux": false}}
	if change != nil {
		change(&cfg)
	}
	out, err := replay.Run(t.Context(), cfg, f)
	require.NoError(t, err)
	require.Nil(t, out.Failure, "%v", out.Failure)
	return r, out
}

func TestDescriptorsAreRenamed(t *testing.T) {
	r, _ := play(t, `open("a", O_RDONLY) = 9
open("b", O_RDONLY) = 3
close(9) = 0
close(3) = 0
close(9) = -1 EBADF
close(1) = 0
`, nil)
	require.Equal(t, []string{"start", "openat a", "openat b", "close I", "close II", "close " + strings.Repeat("I", 20), "exit", "stop"}, r.calls,
		"9 names the system's 1, 3 its 2; a number that is not open names none; the standard streams are not the system's")
}

func TestLostDescriptorIsClosed(t *testing.T) {
	r, _ := play(t, `open("a", O_RDONLY) = 3
open("b", O_RDONLY) = 3
`, nil)
	require.Equal(t, []string{"start", "openat a", "openat b", "close I", "exit", "stop"}, r.calls)
}

func TestForeignDescriptorsAreSkipped(t *testing.T) {
	r, out := play(t, `pipe2([3, 4], O_CLOEXEC) = 0
close(3) = 0
fcntl(4, F_DUPFD, 10) = 10
ioctl(10, TCGETS, {c_iflag=BRKINT|ICRNL, B38400 opost}) = -1 ENOTTY
mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f0000000000
open("a", O_RDONLY) = 3
`, nil)
	require.Equal(t, []string{"start", "openat a", "exit", "stop"}, r.calls)
	require.Equal(t, 1, out.Calls)
	require.Equal(t, 5, out.Skipped)
}

func TestTasks(t *testing.T) {
	r, _ := play(t, `mkdir("first", 0755) = 0
vfork() = 7
[pid 7] execve("/bin/true", ["true"], []) = 0
[pid 7] clone(child_stack=0x1000, flags=CLONE_VM|CLONE_FILES|CLONE_THREAD) = 8
[pid 8] mkdir("thread", 0755) = 0
[pid 8] exit(0) = ?
[pid 8] +++ exited with 0 +++
[pid 7] exit_group(0) = ?
mkdir("last", 0755) = 0
`, nil)
	require.Equal(t, []string{"start", "mkdir first", "fork", "exec", "mkdir thread", "exit", "mkdir last", "exit", "stop"}, r.calls)
}

func TestNullIsAFault(t *testing.T) {
	r, _ := play(t, `mkdir(NULL, 0755) = -1 EFAULT
mkdir(0x1000, 0755) = -1 EFAULT
mkdir("", 0755) = -1 ENOENT
`, nil)
	require.Equal(t, []string{"start", "mkdir ", "mkdir ", "mkdir ", "exit", "stop"}, r.calls)
}

func TestEnclaveLines(t *testing.T) {
	r, _ := play(t, `enclave: restart
enclave: signer mallory
enclave: product 7
enclave: kill
enclave: version 9
enclave: machine m2
`, nil)
	require.Equal(t, []string{"start", "exit", "stop", "start", "exit", "stop", "start", "exit", "stop", "start", "kill", "exit",
		"start", "exit", "stop", "start", "exit", "stop", "start", "exit", "stop"}, r.calls)
	first := replay.Identity{Machine: "default", Signer: "default", Product: 1, Version: 1}
	last := replay.Identity{Machine: "m2", Signer: "mallory", Product: 7, Version: 9}
	require.Equal(t, first, r.ids[0])
	require.Equal(t, first, r.ids[1])
	require.Equal(t, last, r.ids[len(r.ids)-1])
}

func TestConditionsAndSkip(t *testing.T) {
	r, out := play(t, `[linux] mkdir("no", 0755) = 0
[!linux] [libos] mkdir("yes", 0755) = 0
skip "the rest"
mkdir("never", 0755) = 0
`, nil)
	require.Equal(t, []string{"start", "mkdir yes", "exit", "stop"}, r.calls)
	require.Equal(t, "the rest", out.SkipReason)
}

func TestVariables(t *testing.T) {
	r, _ := play(t, `mkdir("/$NAME/$NAMES/\x24NAME/$other/$", 0755) = 0
`, func(c *replay.Config) { c.Vars = map[string]string{"NAME": "value"} })
	require.Equal(t, "mkdir /value/$NAMES/$NAME/$other/$", r.calls[1])
}

func TestBelow(t *testing.T) {
	r, out := play(t, `100 mkdir("relative-to-what", 0755) = 0
100 mkdir("/elsewhere", 0755) = 0
100 mkdir("/w/d", 0755) = 0
100 mkdir("/w/../x", 0755) = 0
100 mkdir("/wide", 0755) = 0
100 openat(AT_FDCWD, "/etc/passwd", O_RDONLY) = 3
100 close(3) = 0
100 openat(AT_FDCWD, "/w/d", O_RDONLY) = 3
100 openat(3, "f", O_RDONLY) = 4
100 chdir("/w") = 0
100 mkdir("e", 0755) = 0
100 fork() = 101
101 mkdir("g", 0755) = 0
101 chdir("/") = 0
101 mkdir("h", 0755) = 0
101 +++ exited with 0 +++
`, func(c *replay.Config) { c.Below = "/w" })
	require.Equal(t, []string{"start", "mkdir /w", "mkdir /w/d", "openat /w/d", "openat f", "chdir /w", "mkdir e", "fork", "mkdir g",
		"exit", "exit", "stop"}, r.calls)
	require.Equal(t, 8, out.Skipped)
}

// TestHostStaysBelow checks that no host: line reaches outside $HOST.
func TestHostStaysBelow(t *testing.T) {
	outside := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(outside, "f"), []byte("untouched"), 0o600))
	for _, line := range []string{
		`host: write ` + outside + `/f "x"`,
		`host: write ../f "x"`,
		`host: write a/../../f "x"`,
		`host: write out/f "x"`,
		`host: append out/f "x"`,
		`host: rm out/f`,
		`host: mv out/f f`,
		`host: cp out/f f`,
		`host: flip out/f 0`,
		`host: truncate out/f 0`,
		`host: chmod 000 out/f`,
		`host: mkfifo out/p`,
		`host: ls out`,
		`host: cat out/f`,
	} {
		t.Run(line, func(t *testing.T) {
			f, err := script.Parse("s.txt", []byte("host: symlink "+outside+" out\n"+line))
			require.NoError(t, err)
			_, err = replay.Run(t.Context(), replay.Config{System: &recorder{}, Host: t.TempDir()}, f)
			var bad *script.Error
			require.ErrorAs(t, err, &bad)
			require.Equal(t, 2, bad.Pos.Line)
			content, err := os.ReadFile(filepath.Join(outside, "f"))
			require.NoError(t, err)
			require.Equal(t, "untouched", string(content))
			names, err := os.ReadDir(outside)
			require.NoError(t, err)
			require.Len(t, names, 1)
		})
	}
}

func TestHostVerbs(t *testing.T) {
	play(t, `host: write a/b "x"
`, func(c *replay.Config) { require.NoError(t, os.Mkdir(filepath.Join(c.Host, "a"), 0o755)) })
	play(t, `host: mkdir d/e
host: write d/e/f "abc"
host: append d/e/f "def"
host: cat $HOST/d/e/f = "abcdef"
host: truncate d/e/f 2
host: flip d/e/f -1
host: cat d/e/f = "ac"
host: flip d/e/f 0
host: cat d/e/f = "\x60c"
host: link d/e/f d/g
host: symlink e/f d/s
host: mkfifo d/p
host: chmod 700 d/e
host: ls d = ["e", "g", "s", "p"]
host: ls d = ["e", ...]
host: rm d/p
host: cp d c
host: ls c = ["e", "g", "s"]
host: snapshot c
host: unchanged c
host: mv c/e/f c/f
host: ls c/e = []
host: grep c "\x60c"
host: grep-absent c "\x60d"
host: grep . "laid"
host: cat laid/out = "file\n"
host: ls empty = []
host: rm c

-- host/laid/out --
file
-- host/empty/ --
`, nil)
}

func (t *fakeTask) CloseRange(first, last, _ uint) error {
	if first < 1000 {
		t.r.note(fmt.Sprintf("close_range %d %d", first, last))
	}
	return nil
}

func (t *fakeTask) Fcntl(fd, _, _ int) (int, error) {
	if fd == 2 {
		return 0, unix.EBADF
	}
	return 0, nil
}

func (t *fakeTask) Fchmodat2(dirfd int, path string, _ uint32, flags int) error {
	t.r.note(fmt.Sprintf("fchmodat2 %d %q %#x", dirfd, path, flags))
	return nil
}

// TestCloseRangeOfScriptNumbers checks that close_range closes what the script
// has in its range, under whatever numbers the system knows it.
func TestCloseRangeOfScriptNumbers(t *testing.T) {
	r, _ := play(t, `openat(AT_FDCWD, "a", O_RDONLY) = 30
openat(AT_FDCWD, "b", O_RDONLY) = 40
close_range(35, 4294967295, 0) = 0
close_range(35, 4294967295, 0) = 0
`, nil)
	require.Equal(t, []string{"start", "openat a", "openat b", "close_range 2 2", "exit", "stop"}, r.calls)
}

// TestExecForgets checks that a number which execve has closed can be anything
// afterwards, in a trace that does not show all.
func TestExecForgets(t *testing.T) {
	r, out := play(t, `chdir("/w") = 0
openat(AT_FDCWD, "a", O_RDONLY) = 3
openat(AT_FDCWD, "b", O_RDONLY|O_CLOEXEC) = 4
execve("/bin/true", ["true"], []) = 0
close(4) = 0
close(3) = 0
`, func(c *replay.Config) { c.Below = "/w" })
	require.Equal(t, []string{"start", "mkdir /w", "chdir /w", "openat a", "openat b", "exec", "close I", "exit", "stop"}, r.calls)
	require.Equal(t, 1, out.Skipped)
}

// TestChmodOfDescriptorPath checks the path by which the C library changes the
// mode of an O_PATH descriptor.
func TestChmodOfDescriptorPath(t *testing.T) {
	r, _ := play(t, `chdir("/w") = 0
openat(AT_FDCWD, "a", O_PATH) = 7
chmod("/proc/self/fd/7", 0644) = 0
chmod("/proc/self/fd/8", 0644) = 0
`, func(c *replay.Config) { c.Below = "/w" })
	require.Equal(t, []string{"start", "mkdir /w", "chdir /w", "openat a", `fchmodat2 1 "" 0x1000`, "exit", "stop"}, r.calls)
}

// TestMapsOfFiles checks which maps are skipped: those through which no file can
// change.
func TestMapsOfFiles(t *testing.T) {
	_, out := play(t, `openat(AT_FDCWD, "a", O_RDWR) = 3
mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3, 0) = 0x7f00
mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE, 3, 0) = 0x7f00
mmap(NULL, 4096, PROT_READ, MAP_SHARED, 3, 0) = 0x7f00
mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS, -1, 0) = 0x7f00
msync(0x7f00, 4096, MS_SYNC) = 0
munmap(0x7f00, 4096) = 0
mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 3, 0) = 0x7f00
`, func(c *replay.Config) { c.SkipUnsupported = true })
	require.Equal(t, 6, out.Skipped)
	require.Equal(t, 1, out.Unsupported)
}
