package vfs

import (
	"strings"

	"golang.org/x/sys/unix"
)

// MountInfo is what one line of /proc/self/mountinfo says; see proc(5). Nothing is escaped.
type MountInfo struct {
	ID, ParentID int
	Dev          uint64
	Root         string // of the mount within its file system: "/"
	Target       string // as seen from the view's root
	Source, Type string
	MountOpts    string // "rw,nosuid,relatime"
	SuperOpts    string // "rw,lowerdir=..."; no secrets
}

// Mounts returns the mounts that the view's root leads to, parents before children.
func (v *View) Mounts() []MountInfo {
	var infos []MountInfo
	for _, m := range v.ns.list() {
		if info, ok := m.info(v.root); ok {
			infos = append(infos, info)
		}
		m.unref()
	}
	return infos
}

func (m *Mount) info(root Path) (MountInfo, bool) {
	target, ok := Path{mnt: m, dentry: m.sb.root}.pathFrom(root)
	if !ok {
		return MountInfo{}, false
	}
	i := MountInfo{
		ID:        m.id,
		Dev:       m.sb.dev,
		Root:      "/",
		Target:    target,
		Source:    m.source,
		Type:      m.typ,
		MountOpts: m.options(),
		SuperOpts: m.superOptions(),
	}
	if at := m.at.Load(); at != nil {
		i.ParentID = at.parent.id
	}
	return i, true
}

// options returns the attributes of the mount as mountinfo shows them
// (fs/proc_namespace.c: show_mnt_opts).
func (m *Mount) options() string {
	opts := []string{m.access()}
	for _, o := range [...]struct {
		flag uintptr
		name string
	}{
		{unix.MS_NOSUID, "nosuid"},
		{unix.MS_NODEV, "nodev"},
		{unix.MS_NOEXEC, "noexec"},
		{unix.MS_NOATIME, "noatime"},
		{unix.MS_NODIRATIME, "nodiratime"},
		{unix.MS_RELATIME, "relatime"},
		{unix.MS_NOSYMFOLLOW, "nosymfollow"},
	} {
		if m.flags&o.flag != 0 {
			opts = append(opts, o.name)
		}
	}
	return strings.Join(opts, ",")
}

// superOptions returns the attributes of the file system (show_sb_opts) and its own options.
func (m *Mount) superOptions() string {
	opts := []string{m.access()}
	for _, o := range [...]struct {
		flag uintptr
		name string
	}{
		{unix.MS_SYNCHRONOUS, "sync"},
		{unix.MS_DIRSYNC, "dirsync"},
		{unix.MS_MANDLOCK, "mand"},
		{unix.MS_LAZYTIME, "lazytime"},
	} {
		if m.flags&o.flag != 0 {
			opts = append(opts, o.name)
		}
	}
	if own := m.sb.fs.Options(); own != "" {
		opts = append(opts, own)
	}
	return strings.Join(opts, ",")
}

func (m *Mount) access() string {
	if m.readOnly() {
		return "ro"
	}
	return "rw"
}
