package syscall_test

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cloister/syscall"
)

// TestDocs: docs/syscalls.md names every call.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../docs/syscalls.md")
	require.NoError(t, err)
	named := strings.ReplaceAll(string(text), "_", "")
	other := map[string]string{ // what the page calls otherwise
		"FcntlFlock": "`fcntl`", "Interrupt": "`Task.Interrupt`", "ProcMounts": "`Task.ProcMounts`", "ProcMountinfo": "`Task.ProcMountinfo`",
	}
	task := reflect.TypeFor[*syscall.Task]()
	for i := range task.NumMethod() {
		name := task.Method(i).Name
		want, ok := other[name]
		if !ok {
			want = "`" + strings.ToLower(name) + "`"
		}
		require.Contains(t, named, want, "method %s", name)
	}
}

// calls are the system calls on files that programs make, by group.
var calls = []string{
	"mount umount2 umount statmount listmount open_tree fsopen fsmount fsconfig fspick move_mount mount_setattr pivot_root chroot",
	"openat open creat openat2 close close_range dup dup2 dup3 fcntl",
	"read write pread64 pwrite64 readv writev preadv pwritev preadv2 pwritev2 lseek sendfile copy_file_range splice tee vmsplice fadvise64 readahead",
	"truncate ftruncate fallocate fsync fdatasync sync syncfs sync_file_range",
	"newfstatat stat lstat fstat statx statfs fstatfs faccessat access faccessat2 fchmodat chmod fchmod fchmodat2 fchownat chown lchown fchown",
	"utimensat utime utimes futimesat umask",
	"getxattr lgetxattr fgetxattr setxattr lsetxattr fsetxattr listxattr llistxattr flistxattr removexattr lremovexattr fremovexattr",
	"mkdirat mkdir unlinkat unlink rmdir renameat rename renameat2 linkat link symlinkat symlink readlinkat readlink mknodat mknod",
	"getdents64 getdents getcwd chdir fchdir flock ioctl",
	"mmap msync poll ppoll select pselect6 epoll_ctl inotify_init1 inotify_add_watch fanotify_init",
	"name_to_handle_at open_by_handle_at file_getattr file_setattr setxattrat getxattrat listxattrat removexattrat quotactl",
}

// TestCalls: every call is a method, or the page says that it is not offered.
func TestCalls(t *testing.T) {
	text, err := os.ReadFile("../docs/syscalls.md")
	require.NoError(t, err)
	_, table, found := strings.Cut(string(text), "## Not offered")
	require.True(t, found)
	notOffered := ""
	for line := range strings.Lines(table) {
		if cells := strings.Split(line, "|"); len(cells) > 1 {
			notOffered += cells[1]
		}
	}
	task := reflect.TypeFor[*syscall.Task]()
	methods := map[string]bool{}
	for i := range task.NumMethod() {
		methods[strings.ToLower(task.Method(i).Name)] = true
	}
	for _, call := range strings.Fields(strings.Join(calls, " ")) {
		absent := strings.Contains(notOffered, "`"+call+"`")
		require.NotEqual(t, absent, methods[strings.ReplaceAll(call, "_", "")], "%s is a method, or named as not offered", call)
	}
}
