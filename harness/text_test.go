package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestExitStatusAndTexts(t *testing.T) {
	for _, tc := range []struct {
		name, script string
		status       int
		contains     []string
	}{
		{"passed", `mkdir("/d", 0755) = 0`, exitPassed, []string{"ok ", "1 calls, 0 skipped", "1 passed, 0 failed, 0 skipped, 0 broken"}},
		{"skipped", `skip "not today"`, exitPassed, []string{"skip ", "not today", "1 skipped"}},
		{"wrong result", "\nrmdir(\"/d\") = 0", exitFailed, []string{
			"FAIL ", "s.txt:2:15: the result differs\n  \trmdir(\"/d\") = 0\n  \t              ^\n", "wanted: = 0", "got:    = -1 ENOENT (No such file or directory)"}},
		{"wrong errno", `rmdir("/d") = -1 EBUSY (Device or resource busy)`, exitFailed, []string{
			"wanted: = -1 EBUSY (Device or resource busy)", "got:    = -1 ENOENT"}},
		{"wrong success", `mkdir("/d", 0755) = -1 EEXIST`, exitFailed, []string{"wanted: = -1 EEXIST", "got:    = 0"}},
		{"must succeed", `rmdir("/d")`, exitFailed, []string{"wanted: success", "got:    = -1 ENOENT"}},
		{"wrong data", "open(\"/f\", O_RDWR|O_CREAT, 0600) = 3\nwrite(3, \"abc\", 3) = 3\npread64(3, \"abd\", 3, 0) = 3", exitFailed, []string{
			"s.txt:3:12: argument 2 differs\n  \tpread64(3, \"abd\", 3, 0) = 3\n  \t           ^\n", `wanted: "abd"`, `got:    "abc"`}},
		{"wrong count", "open(\"/f\", O_RDWR|O_CREAT, 0600) = 3\nwrite(3, \"abc\", 3) = 2", exitFailed, []string{"wanted: = 2", "got:    = 3"}},
		{"wrong member", `stat("/", {st_uid=7, ...}) = 0`, exitFailed, []string{"s.txt:1:11: argument 2 differs", "wanted: {st_uid=7, ...}", "st_uid=0"}},
		{"missing name", "open(\"/\", O_RDONLY) = 3\ngetdents64(3, [\"a\"], 4096)", exitFailed, []string{`s.txt:2:15: argument 2 differs`, `wanted: ["a"]`, `d_name="."`}},
		{"surplus name", "mkdir(\"/a\", 0755)\nopen(\"/\", O_RDONLY) = 3\ngetdents64(3, [], 4096)", exitFailed, []string{`wanted: []`, `d_name="a"`}},
		{"wrong type of name", "mkdir(\"/a\", 0755)\nopen(\"/\", O_RDONLY) = 3\ngetdents64(3, [{d_type=DT_REG, d_name=\"a\"}], 4096)", exitFailed, []string{"d_type=DT_DIR, d_name=\"a\""}},
		{"wrong link", "symlink(\"x\", \"/l\") = 0\nreadlink(\"/l\", \"y\", 10)", exitFailed, []string{`wanted: "y"`, `got:    "x"`}},
		{"marked lines", "[linux] sync() = 0\nsync() = 0", exitPassed, []string{"(1 calls, 0 skipped, 1 marked for other systems)"}},
		{"writable shared map", "open(\"/f\", O_RDWR|O_CREAT, 0600) = 3\nmmap(NULL, 10, PROT_READ|PROT_WRITE, MAP_SHARED, 3, 0) = 0x7f00", exitFailed, []string{
			"no mmap of this form", "--skip-unsupported"}},
		{"wrong attribute", "creat(\"/f\", 0600) = 3\nsetxattr(\"/f\", \"user.a\", \"x\", 1, 0) = 0\ngetxattr(\"/f\", \"user.a\", \"y\", 9) = 1", exitFailed, []string{
			`s.txt:3:26: argument 3 differs`, `wanted: "y"`, `got:    "x"`}},
		{"missing attribute name", "creat(\"/f\", 0600) = 3\nsetxattr(\"/f\", \"user.a\", \"x\", 1, 0) = 0\nlistxattr(\"/f\", \"user.b\\0\", 99)", exitFailed, []string{
			`wanted: "user.b\000"`, `got:    "user.a\000"`}},
		{"wrong lock", "open(\"/f\", O_RDWR|O_CREAT, 0600) = 3\nfcntl(3, F_GETLK, {l_type=F_WRLCK, l_whence=SEEK_SET, l_start=0, l_len=1} => {l_type=F_RDLCK, ...}) = 0", exitFailed, []string{
			"s.txt:2:19: argument 3 differs", "got:    {l_type=F_UNLCK, ...}"}},
		{"wrong offset", "open(\"/f\", O_RDWR|O_CREAT, 0600) = 3\nsendfile(3, 3, [4] => [5], 1) = 0", exitFailed, []string{
			"wanted: [5]", "got:    [4]"}},
		{"wrong statx member", "statx(AT_FDCWD, \"/\", 0, STATX_ALL, {stx_uid=7, ...}) = 0", exitFailed, []string{"s.txt:1:36: argument 5 differs", "wanted: {stx_uid=7, ...}", "stx_uid=0"}},
		{"unknown statx member", "statx(AT_FDCWD, \"/\", 0, STATX_ALL, {st_uid=7, ...}) = 0", exitBroken, []string{`no member "st_uid"`}},
		{"call that does not exist", `inotify_init() = 3`, exitFailed, []string{"no call named inotify_init", "--skip-unsupported"}},
		{"host differs", "host: mkdir a\nhost: ls . = [\"b\"]", exitFailed, []string{"s.txt:2:14: the host's files differ\n  \thost: ls . = [\"b\"]\n  \t             ^\n", `wanted: ["b"]`, `got:    ["a"]`}},
		{"host found", "host: write f \"some text\"\nhost: grep-absent . \"me te\"", exitFailed, []string{"f holds it"}},
		{"host changed", "host: write f \"a\"\nhost: snapshot .\nhost: flip f 0\nhost: write g \"\"\nhost: unchanged .", exitFailed, []string{"f is changed, g is new"}},
		{"left in use", "mkdir(\"/m\", 0755) = 0\nfork() = 7\n[pid 7] chdir(\"/m\") = 0", exitPassed, nil},

		{"not in the notation", "mkdir(\"/d\", 0755) = 0\nrmdir(\"/d) = 0", exitBroken, []string{"ERROR ", "s.txt:2:7: string without an end\n  \trmdir(\"/d) = 0\n  \t      ^\n", "1 broken"}},
		{"unknown flag name", `open("/f", O_TRUNC|O_RDWRITE) = 3`, exitBroken, []string{"s.txt:1:20: open: unknown name O_RDWRITE\n  \topen(\"/f\", O_TRUNC|O_RDWRITE) = 3\n  \t                   ^\n"}},
		{"too few arguments", `open("/f") = 3`, exitBroken, []string{"open has 3 arguments, here are 1"}},
		{"cut string", "open(\"/f\", O_RDWR|O_CREAT, 0600) = 3\nwrite(3, \"abc\"..., 4096) = 4096", exitBroken, []string{"s.txt:2:10: write: the string was cut off", "strace -s"}},
		{"unknown member", `stat("/", {st_sized=7}) = 0`, exitBroken, []string{"s.txt:1:11: ", `no member "st_sized"`}},
		{"unknown condition", `[bsd] sync()`, exitBroken, []string{"s.txt:1:2: unknown condition [bsd]\n  \t[bsd] sync()\n  \t ^\n"}},
		{"unknown task", "fork() = 7\n[pid 6] sync()\n[pid 8] sync()", exitBroken, []string{"no task 8"}},
		{"ambiguous task", "fork() = 7\n[pid 6] sync()\nsync()", exitBroken, []string{"which task?"}},
		{"variable without value", `mount("hostfs", "/", "hostfs", 0, "dir=$HOTS/x") = 0`, exitBroken, []string{"$HOTS has no value"}},
		{"host leaves $HOST", `host: rm /etc/passwd`, exitBroken, []string{"s.txt:1:10: host: rm: /etc/passwd is not below $HOST"}},
		{"host leaves $HOST upwards", `host: write ../x ""`, exitBroken, []string{"not below $HOST"}},
		{"host leaves $HOST through a link", "host: symlink / out\nhost: write out/tmp/harness-escape \"\"", exitBroken, []string{"host: write"}},
		{"host verb", `host: reboot`, exitBroken, []string{"the host cannot do this"}},
		{"nothing to remove", `host: rm missing`, exitBroken, []string{"host: rm"}},
		{"enclave verb", `enclave: paint blue`, exitBroken, []string{"restart, kill, signer"}},
		{"file behind the script", "sync()\n-- etc/passwd --\n", exitBroken, []string{"s.txt:2:1: ", "below host/", "-- etc/passwd --"}},
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
