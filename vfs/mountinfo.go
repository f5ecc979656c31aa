package vfs

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// MountInfo is what one line of /proc/self/mountinfo says; see proc(5). Nothing is escaped.
type MountInfo struct {
	ID, ParentID int // the root of a namespace is its own parent
	Dev          uint64
	Root         string // of the mount within its file system: "/"
	Target       string // as seen from the view's root
	Source, Type string
	MountOpts    string // "rw,nosuid,relatime"
	SuperOpts    string // "rw,lowerdir=..."; no secrets
	Opts         string // both, as /proc/self/mounts shows them
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
		ID:       m.id,
		ParentID: m.id,
		Dev:      m.sb.dev,
		Root:     "/",
		Target:   target,
		Source:   m.source,
		Type:     m.typ,
	}
	own, super, attrs := m.sb.fs.Options(), m.superFlags(), m.mountFlags()
	access := m.access()
	i.MountOpts = joinOpts(access, attrs)
	i.SuperOpts = joinOpts(access, super, own)
	i.Opts = joinOpts(access, super, attrs, own)
	if at := m.at.Load(); at != nil {
		i.ParentID = at.parent.id
	}
	return i, true
}

// mountFlags returns the attributes of the mount (fs/proc_namespace.c: show_mnt_opts).
func (m *Mount) mountFlags() string {
	return m.flagNames([]flagName{
		{unix.MS_NOSUID, "nosuid"},
		{unix.MS_NODEV, "nodev"},
		{unix.MS_NOEXEC, "noexec"},
		{unix.MS_NOATIME, "noatime"},
		{unix.MS_NODIRATIME, "nodiratime"},
		{unix.MS_RELATIME, "relatime"},
		{unix.MS_NOSYMFOLLOW, "nosymfollow"},
	})
}

// superFlags returns the attributes of the file system (fs/proc_namespace.c: show_sb_opts).
func (m *Mount) superFlags() string {
	return m.flagNames([]flagName{
		{unix.MS_SYNCHRONOUS, "sync"},
		{unix.MS_DIRSYNC, "dirsync"},
		{unix.MS_MANDLOCK, "mand"},
		{unix.MS_LAZYTIME, "lazytime"},
	})
}

type flagName struct {
	flag uintptr
	name string
}

func (m *Mount) flagNames(table []flagName) string {
	var names []string
	for _, f := range table {
		if m.flags&f.flag != 0 {
			names = append(names, f.name)
		}
	}
	return strings.Join(names, ",")
}

// joinOpts joins those lists of options that are not empty.
func joinOpts(lists ...string) string {
	return strings.Join(slices.DeleteFunc(lists, func(l string) bool { return l == "" }), ",")
}

func (m *Mount) access() string {
	if m.readOnly() {
		return "ro"
	}
	return "rw"
}
