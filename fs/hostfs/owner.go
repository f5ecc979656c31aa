package hostfs

import (
	"fmt"

	"golang.org/x/sys/unix"

	"cloister/mountopt"
	"cloister/vfs"
)

// maxID is the largest number of a user or group; the one after it means none.
const maxID = 1<<32 - 2

// ownership is what the mount says of owners and modes, instead of the host.
type ownership struct {
	uid, gid int    // of all files; -1: as the host has it
	umask    uint32 // permission bits that no file has, links aside
}

// newOwnership takes the options. Where the host has no other owners than one, all belongs to 0:0 without them.
//
// Errors: EINVAL for an umask of more than permissions.
func newOwnership(opts mountopt.Values, caps Caps) (ownership, error) {
	o := ownership{uid: -1, gid: -1, umask: uint32(opts.Number("umask"))}
	if o.umask&^0o777 != 0 {
		return ownership{}, fmt.Errorf("hostfs: option umask: %o has more than permission bits: %w", o.umask, unix.EINVAL)
	}
	if caps&CanChown == 0 {
		o.uid, o.gid = 0, 0
	}
	if opts.Has("uid") {
		o.uid = int(opts.Number("uid"))
	}
	if opts.Has("gid") {
		o.gid = int(opts.Number("gid"))
	}
	return o, nil
}

// show fills in owner and permissions of a file of which the host says st.
func (o *ownership) show(a *vfs.Attr, st *unix.Statx_t) {
	a.UID, a.GID = st.Uid, st.Gid
	if o.uid >= 0 {
		a.UID = uint32(o.uid)
	}
	if o.gid >= 0 {
		a.GID = uint32(o.gid)
	}
	if a.Mode&unix.S_IFMT != unix.S_IFLNK {
		a.Mode = o.mode(a.Mode)
	}
}

// mode returns what a file can have of mode.
func (o *ownership) mode(mode uint32) uint32 { return mode &^ o.umask }

// possible returns which owner and group the host is to be asked for, -1 standing for as it is, and whether the file is
// as wanted then.
func (o *ownership) possible(uid, gid int) (hostUID, hostGID int, all bool) {
	hostUID, uidOK := possibleID(uid, o.uid)
	hostGID, gidOK := possibleID(gid, o.gid)
	return hostUID, hostGID, uidOK && gidOK
}

func possibleID(id, fixed int) (host int, ok bool) {
	if fixed < 0 {
		return id, true
	}
	return -1, id < 0 || id == fixed
}
