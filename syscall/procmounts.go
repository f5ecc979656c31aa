package syscall

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"cloister/mountopt"
	"cloister/vfs"
)

// ProcMounts returns what /proc/self/mounts shows: the mounts that the root of
// the process leads to, one a line; see proc_pid_mounts(5). No secrets are in it.
//
// Errors: ESRCH after Exit.
func (t *Task) ProcMounts() (string, error) {
	return t.procMounts(func(b *strings.Builder, m *vfs.MountInfo) {
		fmt.Fprintf(b, "%s %s %s %s 0 0\n", mountopt.EscapeSource(m.Source), mountopt.EscapePath(m.Target),
			mountopt.EscapeSource(m.Type), mountopt.EscapePath(m.Opts))
	})
}

// ProcMountinfo returns what /proc/self/mountinfo shows; see
// proc_pid_mountinfo(5).
//
// Errors: ESRCH after Exit.
func (t *Task) ProcMountinfo() (string, error) {
	return t.procMounts(func(b *strings.Builder, m *vfs.MountInfo) {
		fmt.Fprintf(b, "%d %d %d:%d %s %s %s - %s %s %s\n", m.ID, m.ParentID, unix.Major(m.Dev), unix.Minor(m.Dev),
			mountopt.EscapePath(m.Root), mountopt.EscapePath(m.Target), m.MountOpts,
			mountopt.EscapeSource(m.Type), mountopt.EscapeSource(m.Source), mountopt.EscapePath(m.SuperOpts))
	})
}

func (t *Task) procMounts(line func(b *strings.Builder, m *vfs.MountInfo)) (string, error) {
	fs, err := t.getFs()
	if err != nil {
		return "", err
	}
	defer fs.put()
	var b strings.Builder
	for _, m := range fs.view.Mounts() {
		line(&b, &m)
	}
	return b.String(), nil
}
