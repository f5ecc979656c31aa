package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const envMain = "CLOISTER_TEST_MAIN"

// TestMain makes the test binary the command itself where a test needs a process:
// one that mounts, or one to be killed.
func TestMain(m *testing.M) {
	if os.Getenv(envMain) != "" {
		os.Exit(run(os.Args[1:], streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}))
	}
	os.Exit(m.Run())
}

// result is what a command line gave.
type result struct {
	code     int
	out, err string
}

// cloister runs a command line in this process.
func cloister(t testing.TB, args ...string) result {
	t.Helper()
	return cloisterIn(t, "", args...)
}

func cloisterIn(t testing.TB, stdin string, args ...string) result {
	t.Helper()
	var out, errOut bytes.Buffer
	code := run(args, streams{in: strings.NewReader(stdin), out: &out, err: &errOut})
	return result{code, out.String(), errOut.String()}
}

// must runs a command line that has to succeed and returns its output.
func must(t testing.TB, args ...string) string {
	t.Helper()
	r := cloister(t, args...)
	require.Equal(t, exitOK, r.code, "cloister %s: %s", strings.Join(args, " "), r.err)
	return r.out
}

// refused runs a command line that has to fail with a code and one line.
func refused(t testing.TB, code int, args ...string) string {
	t.Helper()
	r := cloister(t, args...)
	require.Equal(t, code, r.code, "cloister %s: %s", strings.Join(args, " "), r.err)
	lines := strings.Split(strings.TrimSuffix(r.err, "\n"), "\n")
	last := lines[len(lines)-1]
	require.Regexp(t, `^cloister: .+`, last)
	for _, line := range lines[:len(lines)-1] {
		require.Regexp(t, `^cloister: (warning|note): `, line, "only notes come before the error")
	}
	return last
}

// env is a scratch place with keys, a machine and a source tree.
type env struct {
	t                                testing.TB
	dir, key, machine, image, source string
}

func newEnv(t testing.TB) *env {
	dir := t.TempDir()
	e := &env{
		t: t, dir: dir,
		key: filepath.Join(dir, "key"), machine: filepath.Join(dir, "machine"),
		image: filepath.Join(dir, "image"), source: filepath.Join(dir, "source"),
	}
	must(t, "gen-image-key", e.key)
	return e
}

// tree makes a source tree with a file of every kind.
func (e *env) tree() {
	t := e.t
	write := func(name, data string, mode os.FileMode) {
		path := filepath.Join(e.source, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(data), 0o600))
		require.NoError(t, os.Chmod(path, mode))
	}
	write("hello.txt", "hello, world\n", 0o644)
	write("empty", "", 0o600)
	write("dir/sub/deep", strings.Repeat("deep ", 1000), 0o640)
	write("bin/tool", "#!/bin/sh\n", 0o755|os.ModeSetuid)
	write("big", strings.Repeat("0123456789abcdef", 200_000), 0o600)
	require.NoError(t, os.Symlink("../hello.txt", filepath.Join(e.source, "dir/link")))
	require.NoError(t, os.Symlink("/dir/sub", filepath.Join(e.source, "abs")))
	require.NoError(t, os.Link(filepath.Join(e.source, "hello.txt"), filepath.Join(e.source, "dir/hard")))
	require.NoError(t, unix.Mkfifo(filepath.Join(e.source, "fifo"), 0o600))
	require.NoError(t, os.Chmod(filepath.Join(e.source, "fifo"), 0o620))
	hole, err := os.Create(filepath.Join(e.source, "hole"))
	require.NoError(t, err)
	_, err = hole.WriteAt([]byte("end"), 5<<20)
	require.NoError(t, err)
	require.NoError(t, hole.Truncate(8<<20))
	require.NoError(t, hole.Close())
	require.NoError(t, os.Mkdir(filepath.Join(e.source, "private"), 0o700))
	require.NoError(t, os.Chmod(filepath.Join(e.source, "private"), 0o1770|os.ModeSticky))
	if err := unix.Setxattr(filepath.Join(e.source, "hello.txt"), "user.note", []byte("attribute"), 0); err != nil {
		require.ErrorIs(t, err, unix.EOPNOTSUPP)
	}
	old := time.Unix(1_234_567_890, 123_456_789)
	require.NoError(t, os.Chtimes(filepath.Join(e.source, "hello.txt"), old, old))
	require.NoError(t, os.Chtimes(filepath.Join(e.source, "dir/sub"), old, old))
	require.NoError(t, unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(e.source, "dir/link"),
		[]unix.Timespec{unix.NsecToTimespec(old.UnixNano()), unix.NsecToTimespec(old.UnixNano())}, unix.AT_SYMLINK_NOFOLLOW))
}

func (e *env) build() {
	e.t.Helper()
	must(e.t, "build", "--from", e.source, "--image", e.image, "--image-key", e.key)
}

// digest names the state of every file below a directory: contents, modes and times.
func digest(t testing.TB, dir string) string {
	t.Helper()
	h := sha256.New()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := d.Info()
		require.NoError(t, err)
		h.Write([]byte(path + info.Mode().String() + info.ModTime().String() + "\x00"))
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			h.Write(data)
		}
		return nil
	})
	require.NoError(t, err)
	return hex.EncodeToString(h.Sum(nil))
}

// process is a command that runs on its own.
type process struct {
	cmd      *exec.Cmd
	out, err *lines
	done     chan struct{}
}

// spawn starts the command in a process of its own.
func spawn(t testing.TB, args ...string) *process {
	t.Helper()
	return spawnIn(t, nil, args...)
}

func spawnIn(t testing.TB, stdin *os.File, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0], args...), out: newLines(), err: newLines(), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), envMain+"=1")
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.err
	if stdin != nil {
		p.cmd.Stdin = stdin
	}
	require.NoError(t, p.cmd.Start())
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // the code is read from ProcessState
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
	})
	return p
}

// exit waits for the end of the process and returns its code, -1 for a signal.
func (p *process) exit(t testing.TB) int {
	t.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(30 * time.Second):
		t.Fatalf("the command does not end; it said %s%s", p.out, p.err)
		return 0
	}
}
