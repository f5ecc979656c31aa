package vfs

import "slices"

// Cred are the credentials of a task. It corresponds to struct cred; the file
// system ids are the effective ones. A Cred in use is not changed.
type Cred struct {
	RUID, EUID, SUID uint32
	RGID, EGID, SGID uint32
	Groups           []uint32 // supplementary groups
}

// RootCred returns the credentials of root, which hold every capability.
func RootCred() *Cred { return &Cred{} }

// InGroup reports whether g is the effective or a supplementary group. It
// corresponds to in_group_p.
func (c *Cred) InGroup(g uint32) bool {
	return c.EGID == g || slices.Contains(c.Groups, g)
}

// privileged reports whether c holds the capabilities that file systems ask for
// (CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_CHOWN, CAP_FSETID, CAP_MKNOD, CAP_SYS_ADMIN):
// effective user id 0 holds all of them, any other none.
func (c *Cred) privileged() bool { return c.EUID == 0 }
