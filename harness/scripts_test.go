package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/harness/internal/fuserun"
	"cloister/harness/internal/libosrun"
	"cloister/harness/internal/replay"
	"cloister/harness/internal/script"
	"cloister/internal/testenv"
)

func TestMain(m *testing.M) {
	if slices.Equal(os.Args[1:], []string{fuserun.ServeArg}) {
		serveFUSE() // the child of a test with --on=fuse
	}
	// A child that finds a data race ends at once, which its test notices; others
	// do not wait a second for reports at their end.
	os.Setenv("GORACE", "halt_on_error=1 atexit_sleep_ms=0")
	os.Exit(m.Run())
}

// systems are the values of --on, and what a machine needs for them.
var systems = []struct {
	on   string
	need func(testing.TB)
}{
	{"libos", func(testing.TB) {}},
	{"linux", func(t testing.TB) { testenv.NeedRoot(t); testenv.NeedKernelOverlay(t) }},
	{"fuse", func(t testing.TB) { testenv.NeedRoot(t); testenv.NeedFUSE(t) }},
}

// TestScripts runs every script of testdata on every system: on linux the kernel
// itself says whether they expect the right thing.
func TestScripts(t *testing.T) {
	for _, system := range systems {
		t.Run(system.on, func(t *testing.T) {
			system.need(t)
			skipped := 0
			for _, path := range testdata(t) {
				t.Run(scriptName(path), func(t *testing.T) {
					o := options{on: system.on, timeout: time.Minute}
					v := o.runScript(t.Context(), path, nil)
					requirePassed(t, v)
					if v.SkipReason != "" {
						require.NotEqual(t, "libos", system.on, "a script of testdata runs on the LibOS")
						skipped++
						return
					}
					require.Positive(t, v.Calls, "calls made")
				})
			}
			t.Logf("%d scripts are not for %s", skipped, system.on)
		})
	}
}

// TestScriptsOnRoots runs the scripts and traces with SEFS, and with a union of SEFS images, in the place of
// ramfs as the root. None of them is left out; those that TestScriptsInMounts runs in a union are not run again.
func TestScriptsOnRoots(t *testing.T) {
	if inMemory("/dev/shm") {
		t.Setenv("TMPDIR", "/dev/shm") // hundreds of images: each would wait for the disk
	}
	traces, err := filepath.Glob("testdata/traces/*.txt")
	require.NoError(t, err)
	for _, root := range []string{"sefs", "unionfs"} {
		ran := 0
		for _, path := range append(testdata(t), traces...) {
			name := scriptName(path)
			o := options{on: "libos", root: root, timeout: time.Minute}
			if filepath.Base(filepath.Dir(path)) == "traces" {
				name, o.below = "trace-"+name, "/tmp/scratch"
			} else if root == "unionfs" && ordinary.MatchString(name) && !absolute.MatchString(name) {
				continue
			}
			ran++
			t.Run(root+"/"+name, func(t *testing.T) {
				v := o.runScript(t.Context(), path, nil)
				requirePassed(t, v)
				require.Empty(t, v.SkipReason, "a script of testdata runs on every root")
				require.Positive(t, v.Calls, "calls made")
			})
		}
		t.Logf("%s: %d scripts and traces", root, ran)
	}
}

// inMemory reports whether a directory is on a tmpfs.
func inMemory(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && st.Type == unix.TMPFS_MAGIC
}

// notOnTmpfs are the traces that the oracle's root cannot answer: it is a tmpfs,
// which has access control lists, and they were recorded on a ramfs, which has none.
var notOnTmpfs = map[string]bool{"cp": true, "edit": true}

// TestTraces replays the recorded traces of real programs: what Linux answered
// them has to come again. On Linux it shows that the replay itself is sound.
func TestTraces(t *testing.T) {
	traces, err := filepath.Glob("testdata/traces/*.txt")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(traces), 6)
	for _, system := range systems {
		t.Run(system.on, func(t *testing.T) {
			system.need(t)
			for _, path := range traces {
				if system.on == "linux" && notOnTmpfs[scriptName(path)] {
					continue
				}
				t.Run(scriptName(path), func(t *testing.T) {
					o := options{on: system.on, timeout: time.Minute, below: "/tmp/scratch"}
					v := o.runScript(t.Context(), path, nil)
					requirePassed(t, v)
					require.Greater(t, v.Calls, 100, "calls made")
					require.Zero(t, v.Unsupported, "calls that are not offered")
				})
			}
		})
	}
}

// tracePath are the paths that a recorded trace may name: those of the replay and
// of the programs. Nothing else of the machine that recorded it stays.
var tracePath = regexp.MustCompile(`^/(tmp|(tmp/scratch|usr/(bin|lib)|proc/self|dev/(null|fd)|selinux)(/.*)?)$`)

// TestTracesTellNothing checks that the traces hold no paths of the machine that
// recorded them.
func TestTracesTellNothing(t *testing.T) {
	traces, err := filepath.Glob("testdata/traces/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, traces)
	for _, path := range traces {
		src, err := os.ReadFile(path)
		require.NoError(t, err)
		f, err := script.Parse(path, src)
		require.NoError(t, err)
		for _, l := range f.Lines {
			call, ok := l.Stmt.(*script.Call)
			if !ok || call.Name == "write" || call.Name == "read" {
				continue
			}
			for _, arg := range call.Args {
				if s, ok := arg.(script.String); ok && strings.HasPrefix(s.Text, "/") && s.Text != "/" {
					require.Regexp(t, tracePath, s.Text, "%s", l.Pos)
				}
			}
		}
	}
}

// testdata returns the paths of all scripts.
func testdata(t *testing.T) []string {
	paths, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(paths), 250, "scripts in testdata")
	return paths
}

func scriptName(path string) string { return strings.TrimSuffix(filepath.Base(path), ".txt") }

func requirePassed(t *testing.T, v verdict) {
	t.Helper()
	require.NoError(t, v.err)
	if v.Failure != nil {
		t.Fatal(v.Failure)
	}
}

// TestScriptsComment holds the rule that a script says what it shows.
func TestScriptsComment(t *testing.T) {
	traces, err := filepath.Glob("testdata/traces/*.txt")
	require.NoError(t, err)
	for _, path := range append(traces, testdata(t)...) {
		src, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Regexp(t, `^# \S.*\.\n`, string(src), "%s begins with a comment that is a sentence", path)
	}
}

// TestMarksSayWhy holds the rule that a line which is not for all systems has its
// reason above it, at least above the first of several.
func TestMarksSayWhy(t *testing.T) {
	for _, path := range testdata(t) {
		src, err := os.ReadFile(path)
		require.NoError(t, err)
		f, err := script.Parse(path, src)
		require.NoError(t, err)
		marked := false
		for _, l := range f.Lines {
			if s, isSkip := l.Stmt.(*script.Skip); isSkip {
				require.NotEmpty(t, s.Reason, "%s: the reason of a skip", l.Pos)
				continue
			}
			if len(l.Conds) > 0 && !marked {
				require.NotEmpty(t, strings.Join(l.Comments, ""), "%s: a comment that says why the line is marked", l.Pos)
			}
			marked = len(l.Conds) > 0
		}
	}
}

// ordinary are the scripts about calls rather than mounts; they use relative
// paths, so that they mean the same in any file system.
var ordinary = regexp.MustCompile(`^(open|fd|dirs|rename|link|perm|lock|xattr)-`)

// absolute are ordinary scripts that use absolute paths all the same.
var absolute = regexp.MustCompile(`^(dirs-(cwd|getcwd|dotdot-root|chroot)|lock-umount)$`)

// TestScriptsInMounts runs the ordinary scripts inside each type of mount.
func TestScriptsInMounts(t *testing.T) {
	for _, m := range []struct {
		fstype, mount string
		differs       map[string]string // script -> why it cannot hold here
	}{
		{"ramfs", `mount("none", "/mnt", "ramfs", 0, NULL) = 0`, nil},
		{"sefs", `mount("none", "/mnt", "sefs", 0, "dir=$HOST/image,key=$KEY") = 0`, nil},
		{"unionfs", `mount("none", "/mnt", "unionfs", 0, "lowerdir=$HOST/lower,upperdir=$HOST/image,key=$KEY") = 0`, nil},
		{"hostfs", `mount("none", "/mnt", "hostfs", 0, "dir=$HOST/image") = 0`, map[string]string{
			"dirs-mknod":   "no FIFO is made on the host",
			"open-tmpfile": "the host has no files without names",
			"link-removed": "the host reaches a file by the name it was opened by",
		}},
	} {
		prelude, err := script.Parse(m.fstype, []byte("mkdir(\"/mnt\", 0755) = 0\n"+m.mount+"\nchdir(\"/mnt\") = 0\n-- host/image/ --\n-- host/lower/ --\n"))
		require.NoError(t, err)
		for _, path := range testdata(t) {
			name := scriptName(path)
			if !ordinary.MatchString(name) || absolute.MatchString(name) || m.differs[name] != "" {
				continue
			}
			t.Run(m.fstype+"/"+name, func(t *testing.T) {
				src, err := os.ReadFile(path)
				require.NoError(t, err)
				f, err := script.Parse(path, src)
				require.NoError(t, err)
				f.Lines = append(append([]*script.Line(nil), prelude.Lines...), f.Lines...)
				f.Sections = prelude.Sections
				out, err := replay.Run(t.Context(), replay.Config{
					System: &libosrun.System{}, Host: t.TempDir(),
					Vars:  map[string]string{"KEY": exampleKey},
					Conds: map[string]bool{"libos": true, "linux": false, "fuse": false, "root": os.Geteuid() == 0},
				}, f)
				require.NoError(t, err)
				if out.Failure != nil {
					t.Fatal(out.Failure)
				}
			})
		}
	}
}

// TestReplaysATrace runs what strace records of a program with two processes,
// a thread, a pipe and an interrupted call.
func TestReplaysATrace(t *testing.T) {
	status, out, errs := runText(t, `100 execve("/bin/sh", ["sh"], 0x7ffd0 /* 20 vars */) = 0
100 brk(NULL) = 0x55d0c0
100 mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f00
100 mkdir("/w", 0777) = 0
100 chdir("/w") = 0
100 pipe2([3, 4], O_CLOEXEC) = 0
100 openat(AT_FDCWD, "out", O_WRONLY|O_CREAT|O_TRUNC, 0666) = 5
100 clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x7f10) = 101
100 wait4(-1,  <unfinished ...>
101 close(3) = 0
101 dup2(5, 1) = 1
101 close(5) = 0
101 write(1, "hello\n", 6) = 6
101 write(4, "x", 1) = 1
101 clone3({flags=CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD, stack_size=0x1000} => {parent_tid=[102]}, 88) = 102
102 write(1,  <unfinished ...>
101 futex(0x7f20, FUTEX_WAIT, 0, NULL <unfinished ...>
102 <... write resumed>"thread\n", 7) = 7
102 exit(0) = ?
102 +++ exited with 0 +++
101 <... futex resumed>) = 0
101 exit_group(0) = ?
101 +++ exited with 0 +++
100 <... wait4 resumed>[{WIFEXITED(s) && WEXITSTATUS(s) == 0}], 0, NULL) = 101
100 --- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=101} ---
100 newfstatat(AT_FDCWD, "out", {st_dev=makedev(0x8, 0x1), st_ino=1234, st_mode=S_IFREG|0644, st_nlink=1, st_uid=0, st_gid=0, st_blksize=4096, st_blocks=8, st_size=13, st_atime=1700000000 /* 2023-11-14 */, st_atime_nsec=1, st_mtime=1700000000, st_mtime_nsec=2, st_ctime=1700000000, st_ctime_nsec=3}, 0) = 0
100 lseek(5, 0, SEEK_CUR) = 13
100 write(2, "done\n", 5) = 5
100 exit_group(0) = ?
`)
	require.Equal(t, exitPassed, status, "%s%s", out, errs)
	require.Contains(t, out, "skipped")
}
