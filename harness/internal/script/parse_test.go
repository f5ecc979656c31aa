package script_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cloister/harness/internal/script"
)

// one parses a script of one line.
func one(t *testing.T, line string) *script.Line {
	t.Helper()
	f, err := script.Parse("t.txt", []byte(line))
	require.NoError(t, err, "parse %s", line)
	require.Len(t, f.Lines, 1, "lines of %s", line)
	return f.Lines[0]
}

func TestPrintsCanonically(t *testing.T) {
	for _, tc := range []struct{ name, in, out string }{
		{"call", `open("/a",O_RDONLY|O_CREAT,0644)=3`, `open("/a", O_RDONLY|O_CREAT, 0644) = 3`},
		{"no result", `close(3)`, `close(3)`},
		{"errno with text", `close(3) = -1 EBADF (Bad file descriptor)`, `close(3) = -1 EBADF (Bad file descriptor)`},
		{"errno without text", `close(3) = -1 EBADF`, `close(3) = -1 EBADF`},
		{"second name of an errno", `close(3) = -1 EWOULDBLOCK`, `close(3) = -1 EAGAIN`},
		{"unknown result", `exit_group(0) = ?`, `exit_group(0) = ?`},
		{"restarted", `fsync(3) = ? ERESTARTSYS (To be restarted if SA_RESTART is set)`, `fsync(3) = ? (To be restarted if SA_RESTART is set)`},
		{"hexadecimal and octal", `fcntl(3, F_GETFL) = 0x8402 (flags O_RDWR|O_APPEND|O_LARGEFILE)`, `fcntl(3, F_GETFL) = 0x8402 (flags O_RDWR|O_APPEND|O_LARGEFILE)`},
		{"negative", `lseek(3, -1, SEEK_SET) = -1 EINVAL`, `lseek(3, -1, SEEK_SET) = -1 EINVAL`},
		{"lowest number", `lseek(3, -9223372036854775808, SEEK_SET) = -1 EINVAL`, `lseek(3, -9223372036854775808, SEEK_SET) = -1 EINVAL`},
		{"escapes", `write(3, "\n\t\\\"\x41\0\1772\u", 8)`, ``},
		{"octal escapes", `write(3, "\n\t\\\"\x41\0\1772", 8)`, `write(3, "\n\t\\\"A\000\1772", 8)`},
		{"bytes", "write(3, \"\xff\", 1)", `write(3, "\377", 1)`},
		{"cut string", `read(3, "abc"..., 4096) = 4096`, `read(3, "abc"..., 4096) = 4096`},
		{"literal dollar", `open("\x24HOST", O_RDONLY)`, `open("\044HOST", O_RDONLY)`},
		{"variable", `open("$HOST/a", O_RDONLY)`, `open("$HOST/a", O_RDONLY)`},
		{"structure", `stat("a", {st_mode=S_IFREG|0644, st_size=6, ...}) = 0`, `stat("a", {st_mode=S_IFREG|0644, st_size=6, ...}) = 0`},
		{"device macro", `stat("a", {st_dev=makedev(0x8,0x1)})`, `stat("a", {st_dev=makedev(0x8, 0x1)})`},
		{"array of structures", `readv(3, [{iov_base="a", iov_len=1}, {iov_base="", iov_len=2}], 2) = 1`, `readv(3, [{iov_base="a", iov_len=1}, {iov_base="", iov_len=2}], 2) = 1`},
		{"open array", `getdents64(3, ["a", ...], 100)`, `getdents64(3, ["a", ...], 100)`},
		{"comment inside", `getdents64(3, 0x55 /* 3 entries */, 100) = 72`, `getdents64(3, 0x55, 100) = 72`},
		{"comment behind", `close(3) = 0 # done`, `close(3) = 0`},
		{"descriptor paths", `openat(AT_FDCWD</tmp>, "a", O_RDONLY) = 3</tmp/a>`, `openat(AT_FDCWD, "a", O_RDONLY) = 3`},
		{"duration", `close(3) = 0 <0.000012>`, `close(3) = 0`},
		{"task in brackets", `[pid 7] close(3) = 0`, `[pid 7] close(3) = 0`},
		{"leading task", `7 close(3) = 0`, `[pid 7] close(3) = 0`},
		{"leading task and clock", `7 12:34:56.789012 close(3) = 0`, `[pid 7] close(3) = 0`},
		{"clock", `12:34:56 close(3) = 0`, `close(3) = 0`},
		{"epoch", `1700000000.000001 close(3) = 0`, `close(3) = 0`},
		{"conditions", `[libos] [!root] close(3)`, `[libos] [!root] close(3)`},
		{"clone", `clone(child_stack=NULL, flags=CLONE_VM|SIGCHLD) = 7`, `clone(child_stack=NULL, flags=CLONE_VM|SIGCHLD) = 7`},
		{"clone3", `clone3({flags=CLONE_VM, stack_size=0x9000} => {parent_tid=[7]}, 88) = 7`, `clone3({flags=CLONE_VM, stack_size=0x9000} => {parent_tid=[7]}, 88) = 7`},
		{"unrelated call", `ioctl_like() = 0`, `ioctl_like() = 0`},
		{"unrelated arguments", `wait4(-1, [{WIFEXITED(s) && WEXITSTATUS(s) == 0}], 0, NULL) = 7`, `wait4(-1, [{WIFEXITED(s) && WEXITSTATUS(s) == 0}], 0, NULL) = 7`},
		{"signal", `--- SIGCHLD {si_signo=SIGCHLD, si_pid=7} ---`, `--- SIGCHLD {si_signo=SIGCHLD, si_pid=7} ---`},
		{"end of a task", `[pid 7] +++ exited with 0 +++`, `[pid 7] +++ exited with 0 +++`},
		{"ioctl", `ioctl(3, FIONREAD, [6]) = 0`, `ioctl(3, FIONREAD, [6]) = 0`},
		{"ioctl without argument", `ioctl(3, FIOCLEX) = 0`, `ioctl(3, FIOCLEX) = 0`},
		{"ioctl of two names", `ioctl(4, BTRFS_IOC_CLONE or FICLONE, 3) = -1 EOPNOTSUPP`, `ioctl(4, FICLONE, 3) = -1 EOPNOTSUPP`},
		{"ioctl with a structure", `ioctl(0, TCGETS, {B38400 opost isig icanon echo ...}) = 0`, `ioctl(0, TCGETS, {B38400 opost isig icanon echo ...}) = 0`},
		{"host", `host: write $HOST/a "x\n"`, `host: write $HOST/a "x\n"`},
		{"host with quotes", `host: rm "a b"`, `host: rm "a b"`},
		{"host with result", `host: ls upper = ["a", "b"]`, `host: ls upper = ["a", "b"]`},
		{"enclave", `enclave: signer mallory`, `enclave: signer mallory`},
		{"skip", `[linux] skip "no such thing"`, `[linux] skip "no such thing"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.out == "" {
				_, err := script.Parse("t.txt", []byte(tc.in))
				require.Error(t, err)
				return
			}
			require.Equal(t, tc.out, one(t, tc.in).String())
		})
	}
}

func TestPointsAtMistakes(t *testing.T) {
	for _, tc := range []struct {
		name, line, msg string
		col             int
	}{
		{"no call", `hello`, "system call, host:, enclave: or skip expected", 1},
		{"open bracket", `close(3`, `"," expected or ")"`, 8},
		{"open string", `open("/a, O_RDONLY)`, "string without an end", 6},
		{"unknown escape", `open("\q", O_RDONLY)`, "unknown escape", 7},
		{"unknown errno", `close(3) = -1 EWRONG`, "unknown errno EWRONG", 15},
		{"no errno", `close(3) = -1`, "-1 needs the name of the errno", 12},
		{"errno without -1", `close(3) = 0 EBADF`, "-1 stands before an errno", 12},
		{"no number", `close(0x)`, `"0x" is not a number`, 7},
		{"bad octal", `umask(089)`, `"089" is not a number`, 7},
		{"too large", `lseek(3, 99999999999999999999, 0)`, "is not a number", 10},
		{"rubbish behind", `close(3) = 0 nonsense`, "unknown errno nonsense", 14},
		{"more behind", `close(3) = ? # ok` + "\n" + `close(3) ]`, "unexpected text", 10},
		{"dots in the middle", `stat("a", {..., st_size=1})`, "... must come last", 12},
		{"string flags", `open("a", "b"|O_RDWR)`, "only names and numbers", 11},
		{"resumed alone", `<... read resumed>"a", 1) = 1`, "no unfinished read", 6},
		{"twice unfinished", "read(3,  <unfinished ...>\nread(3,  <unfinished ...>", "unfinished already", 1},
		{"no reason", `skip`, "reason in quotes expected", 5},
		{"nothing for the host", `host:`, "what the host does", 6},
		{"nested", "a(" + strings.Repeat("[", 100), "nested too deeply", 35},
		{"section above", "-- ../a --", "plain relative path", 1},
		{"absolute section", "-- /a --", "plain relative path", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := script.Parse("t.txt", []byte(tc.line))
			var bad *script.Error
			require.ErrorAs(t, err, &bad)
			require.Contains(t, bad.Msg, tc.msg)
			require.Equal(t, tc.col, bad.Pos.Col, "column")
			lines := strings.Split(bad.Error(), "\n")
			require.Len(t, lines, 3)
			require.Equal(t, tc.col, strings.IndexByte(lines[2], '^'), "caret below the column, behind a tab")
		})
	}
}

// TestExcerpts checks what is shown of long and odd lines.
func TestExcerpts(t *testing.T) {
	for _, tc := range []struct {
		name, line   string
		shown, caret string
	}{
		{"tabs stay", "\tclose(\t]", "\tclose(\t]", "\t      \t^"},
		{"letters of several bytes take one place", `open("äß", ]`, `open("äß", ]`, strings.Repeat(" ", 11) + "^"},
		{"no control characters, no broken letters", "open(\"\x1b\xff\u009b\", ]", `open("???", ]`, strings.Repeat(" ", 12) + "^"},
		{
			"a long line is cut", `write(3, "` + strings.Repeat("ä", 1000) + `", ], ` + strings.Repeat("ö", 100),
			"..." + strings.Repeat("ä", 47) + `", ], ` + strings.Repeat("ö", 27) + "...", strings.Repeat(" ", 53) + "^",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := script.Parse("t.txt", []byte(tc.line))
			require.Error(t, err)
			require.Equal(t, []string{"\t" + tc.shown, "\t" + tc.caret}, strings.Split(err.Error(), "\n")[1:])
		})
	}
}

// TestColumns checks that a line knows where its arguments and its result are.
func TestColumns(t *testing.T) {
	for _, tc := range []struct {
		line   string
		args   []int
		result int
	}{
		{`open("/a",  O_RDONLY|O_CREAT, 0644) =  3`, []int{6, 13, 31}, 40},
		{`[libos] [pid 7] stat("é", {st_mode=1, ...})`, []int{22, 28}, 0},
		{`readv(3, [{iov_base="a", iov_len=1}], 1) = -1 EBADF (Bad, "bad")`, []int{7, 10, 39}, 44},
		{`ioctl(3, BTRFS_IOC_CLONE or FICLONE, 4) = ?`, []int{7, 10, 38}, 43},
		{`sync() = 0`, nil, 10},
		{`host: ls  a = ["b"]`, []int{11}, 15},
		{"7 read(3,  <unfinished ...>\n7 <... read resumed>\"ab\", 2) = 2", []int{6, 9, 15}, 20},
	} {
		l := one(t, tc.line)
		require.Equal(t, script.Columns{Args: tc.args, Result: tc.result}, l.Columns, tc.line)
		for i, col := range tc.args {
			require.NotContains(t, " ,", string(l.Text[col-1]), "argument %d of %s", i, tc.line)
		}
	}
}

func TestJoinsUnfinishedCalls(t *testing.T) {
	f, err := script.Parse("t.txt", []byte(`7 read(3,  <unfinished ...>
8 close(4) = 0
7 <... read resumed>"ab", 2) = 2
7 vfork( <unfinished ...>
9 close(3) = 0
7 <... vfork resumed>) = 9
8 read(5,  <unfinished ...>
8 +++ killed by SIGKILL +++
`))
	require.NoError(t, err)
	var got []string
	for _, l := range f.Lines {
		got = append(got, l.String())
	}
	require.Equal(t, []string{
		`[pid 8] close(4) = 0`,
		`[pid 7] read(3, "ab", 2) = 2`, // takes effect where it ends
		`[pid 7] vfork() = 9`,          // where it begins: the child speaks before
		`[pid 9] close(3) = 0`,
		`[pid 8] +++ killed by SIGKILL +++`,
	}, got)
}

func TestSections(t *testing.T) {
	f, err := script.Parse("t.txt", []byte("sync() = 0\n-- host/a --\nx\ny\n-- host/b/ --\n-- host/c --\nno end"))
	require.NoError(t, err)
	require.Equal(t, []script.Section{
		{Name: "host/a", Data: []byte("x\ny\n"), Line: 2},
		{Name: "host/b/", Line: 5},
		{Name: "host/c", Data: []byte("no end\n"), Line: 6},
	}, f.Sections)
}

// FuzzParse checks that no input crashes the parser and that what it reads it
// reads again from its own print.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`open("/a", O_RDWR|O_CREAT, 0644) = 3`,
		`7 clone3({flags=CLONE_VM} => {parent_tid=[7]}, 88) = 7 <0.1>`,
		`stat("a", {st_mode=S_IFREG|0644, st_dev=makedev(1, 2), ...}) = 0`,
		"7 read(3, <unfinished ...>\n7 <... read resumed>\"\\x24A\"..., 2) = 2",
		"host: write a \"b\" = [\"c\", ...]\n-- host/a --\nx",
		`[libos] [pid 3] wait4(-1, [{(a}"],0) = ?`,
		`--- SIGCHLD --- ---`,
		`enclave: signer a-b.c`,
		`lseek(3, -0x1, SEEK_CUR) = -1 EINVAL (Invalid (really) argument)`,
	} {
		f.Add([]byte(seed))
	}
	scripts, err := filepath.Glob("../../testdata/*.txt")
	require.NoError(f, err)
	for _, path := range scripts {
		src, err := os.ReadFile(path)
		require.NoError(f, err)
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		a, err := script.Parse("f", src)
		if err != nil {
			return
		}
		printed := script.Print(a)
		b, err := script.Parse("f", printed)
		require.NoError(t, err, "printed:\n%s", printed)
		require.Equal(t, plain(a), plain(b), "printed:\n%s", printed)
	})
}

// plain removes places, which printing changes.
func plain(f *script.File) *script.File {
	for _, l := range f.Lines {
		l.Pos, l.Text, l.Columns = script.Pos{}, "", script.Columns{}
	}
	for i := range f.Sections {
		f.Sections[i].Line = 0
	}
	return f
}
