package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

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

// TestTraces replays the recorded traces of real programs: what Linux answered
// them has to come again.
func TestTraces(t *testing.T) {
	traces, err := filepath.Glob("testdata/traces/*.txt")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(traces), 6)
	for _, system := range systems {
		if system.on == "linux" {
			continue // they come from there
		}
		t.Run(system.on, func(t *testing.T) {
			system.need(t)
			for _, path := range traces {
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
					Conds: map[string]bool{"libos": true, "linux": false, "fuse": false, "root": true},
				}, f)
				require.NoError(t, err)
				if out.Failure != nil {
					t.Fatal(out.Failure)
				}
			})
		}
	}
}

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
	status = execute(args, &out, &errs)
	return status, out.String(), errs.String()
}

func TestExitStatusAndTexts(t *testing.T) {
	for _, tc := range []struct {
		name, script string
		status       int
		contains     []string
	}{
		{"passed", `mkdir("/d", 0755) = 0`, exitPassed, []string{"ok ", "1 calls, 0 skipped", "1 passed, 0 failed, 0 skipped, 0 broken"}},
		{"skipped", `skip "not today"`, exitPassed, []string{"skip ", "not today", "1 skipped"}},
		{"wrong result", "\nrmdir(\"/d\") = 0", exitFailed, []string{
			"FAIL ", `s.txt:2: rmdir("/d")`, "wanted: = 0", "got:    = -1 ENOENT (no such file or directory)"}},
		{"wrong errno", `rmdir("/d") = -1 EBUSY (Device or resource busy)`, exitFailed, []string{
			"wanted: = -1 EBUSY (Device or resource busy)", "got:    = -1 ENOENT"}},
		{"wrong success", `mkdir("/d", 0755) = -1 EEXIST`, exitFailed, []string{"wanted: = -1 EEXIST", "got:    = 0"}},
		{"must succeed", `rmdir("/d")`, exitFailed, []string{"wanted: success", "got:    = -1 ENOENT"}},
		{"wrong data", "open(\"/f\", O_RDWR|O_CREAT, 0600) = 3\nwrite(3, \"abc\", 3) = 3\npread64(3, \"abd\", 3, 0) = 3", exitFailed, []string{
			":3: pread64(3, \"abd\", 3, 0)", `wanted: argument 2: "abd"`, `got:    argument 2: "abc"`}},
		{"wrong count", "open(\"/f\", O_RDWR|O_CREAT, 0600) = 3\nwrite(3, \"abc\", 3) = 2", exitFailed, []string{"wanted: = 2", "got:    = 3"}},
		{"wrong member", `stat("/", {st_uid=7, ...}) = 0`, exitFailed, []string{"wanted: argument 2: {st_uid=7, ...}", "st_uid=0"}},
		{"missing name", "open(\"/\", O_RDONLY) = 3\ngetdents64(3, [\"a\"], 4096)", exitFailed, []string{`wanted: names ["a"]`, `d_name="."`}},
		{"surplus name", "mkdir(\"/a\", 0755)\nopen(\"/\", O_RDONLY) = 3\ngetdents64(3, [], 4096)", exitFailed, []string{`wanted: names []`, `d_name="a"`}},
		{"wrong type of name", "mkdir(\"/a\", 0755)\nopen(\"/\", O_RDONLY) = 3\ngetdents64(3, [{d_type=DT_REG, d_name=\"a\"}], 4096)", exitFailed, []string{"d_type=DT_DIR, d_name=\"a\""}},
		{"wrong link", "symlink(\"x\", \"/l\") = 0\nreadlink(\"/l\", \"y\", 10)", exitFailed, []string{`wanted: argument 2: "y"`, `got:    argument 2: "x"`}},
		{"marked lines", "[linux] sync() = 0\nsync() = 0", exitPassed, []string{"(1 calls, 0 skipped, 1 marked for other systems)"}},
		{"writable shared map", "open(\"/f\", O_RDWR|O_CREAT, 0600) = 3\nmmap(NULL, 10, PROT_READ|PROT_WRITE, MAP_SHARED, 3, 0) = 0x7f00", exitFailed, []string{
			"no mmap of this form", "--skip-unsupported"}},
		{"wrong attribute", "creat(\"/f\", 0600) = 3\nsetxattr(\"/f\", \"user.a\", \"x\", 1, 0) = 0\ngetxattr(\"/f\", \"user.a\", \"y\", 9) = 1", exitFailed, []string{
			`wanted: argument 3: "y"`, `got:    argument 3: "x"`}},
		{"missing attribute name", "creat(\"/f\", 0600) = 3\nsetxattr(\"/f\", \"user.a\", \"x\", 1, 0) = 0\nlistxattr(\"/f\", \"user.b\\0\", 99)", exitFailed, []string{
			`wanted: names "user.b\000"`, `got:    names "user.a\000"`}},
		{"wrong lock", "open(\"/f\", O_RDWR|O_CREAT, 0600) = 3\nfcntl(3, F_GETLK, {l_type=F_WRLCK, l_whence=SEEK_SET, l_start=0, l_len=1} => {l_type=F_RDLCK, ...}) = 0", exitFailed, []string{
			"got:    argument 3: {l_type=F_UNLCK, ...}"}},
		{"wrong offset", "open(\"/f\", O_RDWR|O_CREAT, 0600) = 3\nsendfile(3, 3, [4] => [5], 1) = 0", exitFailed, []string{
			"wanted: argument 3: [5]", "got:    argument 3: [4]"}},
		{"wrong statx member", "statx(AT_FDCWD, \"/\", 0, STATX_ALL, {stx_uid=7, ...}) = 0", exitFailed, []string{"wanted: argument 5: {stx_uid=7, ...}", "stx_uid=0"}},
		{"unknown statx member", "statx(AT_FDCWD, \"/\", 0, STATX_ALL, {st_uid=7, ...}) = 0", exitBroken, []string{`no member "st_uid"`}},
		{"call that does not exist", `inotify_init() = 3`, exitFailed, []string{"no call named inotify_init", "--skip-unsupported"}},
		{"host differs", "host: mkdir a\nhost: ls . = [\"b\"]", exitFailed, []string{`host: ls . = ["b"]`, `wanted: ["b"]`, `got:    ["a"]`}},
		{"host found", "host: write f \"some text\"\nhost: grep-absent . \"me te\"", exitFailed, []string{"f holds it"}},
		{"host changed", "host: write f \"a\"\nhost: snapshot .\nhost: flip f 0\nhost: write g \"\"\nhost: unchanged .", exitFailed, []string{"f is changed, g is new"}},
		{"left in use", "mkdir(\"/m\", 0755) = 0\nfork() = 7\n[pid 7] chdir(\"/m\") = 0", exitPassed, nil},

		{"not in the notation", "mkdir(\"/d\", 0755) = 0\nrmdir(\"/d) = 0", exitBroken, []string{"ERROR ", "s.txt:2:7: string without an end", "^", "1 broken"}},
		{"unknown flag name", `open("/f", O_RDWRITE) = 3`, exitBroken, []string{"s.txt:1:1: open: unknown name O_RDWRITE"}},
		{"too few arguments", `open("/f") = 3`, exitBroken, []string{"open has 3 arguments, here are 1"}},
		{"cut string", "open(\"/f\", O_RDWR|O_CREAT, 0600) = 3\nwrite(3, \"abc\"..., 4096) = 4096", exitBroken, []string{"strace -s"}},
		{"unknown member", `stat("/", {st_sized=7}) = 0`, exitBroken, []string{`no member "st_sized"`}},
		{"unknown condition", `[bsd] sync()`, exitBroken, []string{"unknown condition [bsd]"}},
		{"unknown task", "fork() = 7\n[pid 6] sync()\n[pid 8] sync()", exitBroken, []string{"no task 8"}},
		{"ambiguous task", "fork() = 7\n[pid 6] sync()\nsync()", exitBroken, []string{"which task?"}},
		{"variable without value", `mount("hostfs", "/", "hostfs", 0, "dir=$HOTS/x") = 0`, exitBroken, []string{"$HOTS has no value"}},
		{"host leaves $HOST", `host: rm /etc/passwd`, exitBroken, []string{"/etc/passwd is not below $HOST"}},
		{"host leaves $HOST upwards", `host: write ../x ""`, exitBroken, []string{"not below $HOST"}},
		{"host leaves $HOST through a link", "host: symlink / out\nhost: write out/tmp/harness-escape \"\"", exitBroken, []string{"host: write"}},
		{"host verb", `host: reboot`, exitBroken, []string{"the host cannot do this"}},
		{"nothing to remove", `host: rm missing`, exitBroken, []string{"host: rm"}},
		{"enclave verb", `enclave: paint blue`, exitBroken, []string{"restart, kill, signer"}},
		{"file behind the script", "sync()\n-- etc/passwd --\n", exitBroken, []string{"below host/"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status, out, errs := runText(t, tc.script)
			require.Equal(t, tc.status, status, "%s%s", out, errs)
			for _, want := range tc.contains {
				require.Contains(t, out, want)
			}
		})
	}
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
		{"relative directory", []string{"run", "--below", "x", "testdata/open-flags.txt"}, exitBroken, "absolute path"},
		{"both forms", []string{"run", "--json", "--tap", "testdata/open-flags.txt"}, exitBroken, "json"},
		{"directory", []string{"run", "--run", "open-f", "testdata"}, exitPassed, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status, out, errs := runHarness(tc.args...)
			require.Equal(t, tc.status, status, "%s%s", out, errs)
			require.Contains(t, errs, tc.errs)
		})
	}
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
		`rmdir("/f") = -1 ENOTDIR (not a directory)`,
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

func TestReportsForPrograms(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	write("a.txt", `sync() = 0`)
	write("b.txt", `rmdir("/x") = 0`)
	write("c.txt", `skip "no # reason"`)
	write("d.txt", `rubbish`)

	t.Run("json", func(t *testing.T) {
		status, out, _ := runHarness("run", "--json", dir)
		require.Equal(t, exitBroken, status)
		dec := json.NewDecoder(strings.NewReader(out))
		var got []jsonVerdict
		for dec.More() {
			var v jsonVerdict
			require.NoError(t, dec.Decode(&v))
			got = append(got, v)
		}
		require.Len(t, got, 4)
		require.Equal(t, "pass", got[0].Result)
		require.Equal(t, "fail", got[1].Result)
		require.Equal(t, `rmdir("/x")`, got[1].Call)
		require.Equal(t, "= 0", got[1].Wanted)
		require.Equal(t, 1, got[1].Line)
		require.Equal(t, "skip", got[2].Result)
		require.Equal(t, "error", got[3].Result)
		require.NotEmpty(t, got[3].Reason)
	})
	t.Run("tap", func(t *testing.T) {
		_, out, _ := runHarness("run", "--tap", dir)
		require.Regexp(t, `^TAP version 14\n1\.\.4\nok 1 - .*a\.txt\nnot ok 2 - .*b\.txt\n# .*\n(#.*\n)+ok 3 - .*c\.txt # SKIP no # reason\nnot ok 4 - `, out)
	})
	t.Run("junit", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "j.xml")
		status, out, _ := runHarness("run", "--junit", file, dir)
		require.Equal(t, exitBroken, status)
		require.Contains(t, out, "1 passed, 1 failed, 1 skipped, 1 broken")
		src, err := os.ReadFile(file)
		require.NoError(t, err)
		var suite junitSuite
		require.NoError(t, xml.Unmarshal(src, &suite))
		require.Equal(t, []int{4, 1, 1, 1}, []int{suite.Tests, suite.Failures, suite.Errors, suite.Skipped})
	})
}

func TestKeep(t *testing.T) {
	status, out, _ := runText(t, `host: write kept "x"`, "--keep")
	require.Equal(t, exitPassed, status)
	m := regexp.MustCompile(`kept: (\S+)`).FindStringSubmatch(out)
	require.Len(t, m, 2, out)
	t.Cleanup(func() { os.RemoveAll(m[1]) })
	require.FileExists(t, filepath.Join(m[1], "kept"))
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
			require.Contains(t, out, "s.txt:2: open(\"p\", O_RDONLY)")
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
