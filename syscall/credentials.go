package syscall

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// noID is the id that means "leave it": (uid_t)-1.
const noID = ^uint32(0)

// ngroupsMax is limits.h: NGROUPS_MAX.
const ngroupsMax = 65536

func copyCred(c *vfs.Cred) *vfs.Cred {
	n := *c
	n.Groups = slices.Clone(c.Groups)
	return &n
}

// errUnchanged says that the credentials are to stay the same object, which linkat(2) can
// tell from equal ones.
var errUnchanged = errors.New("syscall: credentials unchanged")

// setCred replaces the credentials by a changed copy.
func (t *Task) setCred(change func(c *vfs.Cred) error) error {
	err := t.setFs(func(v *vfs.View) error {
		c := copyCred(v.Cred())
		if err := change(c); err != nil {
			return err
		}
		v.SetCred(c)
		return nil
	})
	if err == errUnchanged {
		return nil
	}
	return err
}

// currentCred returns the credentials without a copy, for calls on open files; nil after
// Exit. Like all of a published view they are never written to.
func (t *Task) currentCred() *vfs.Cred {
	if fs := t.fs.Load(); fs != nil {
		return fs.view.Cred()
	}
	return nil
}

// cred returns the credentials, zero after Exit. They are never written to.
func (t *Task) cred() vfs.Cred {
	fs, err := t.getFs()
	if err != nil {
		return vfs.Cred{}
	}
	defer fs.put()
	return *fs.view.Cred()
}

// Getuid returns the real user id.
func (t *Task) Getuid() int { return int(t.cred().RUID) }

// Geteuid returns the effective user id, which decides on permissions.
func (t *Task) Geteuid() int { return int(t.cred().EUID) }

// Getgid returns the real group id.
func (t *Task) Getgid() int { return int(t.cred().RGID) }

// Getegid returns the effective group id.
func (t *Task) Getegid() int { return int(t.cred().EGID) }

// Getresuid returns real, effective and saved user id, as getresuid(2) does.
func (t *Task) Getresuid() (ruid, euid, suid int) {
	c := t.cred()
	return int(c.RUID), int(c.EUID), int(c.SUID)
}

// Getresgid returns real, effective and saved group id, as getresgid(2) does.
func (t *Task) Getresgid() (rgid, egid, sgid int) {
	c := t.cred()
	return int(c.RGID), int(c.EGID), int(c.SGID)
}

// Getgroups returns the supplementary group ids, as getgroups(2) does.
func (t *Task) Getgroups() []int {
	c := t.cred()
	groups := make([]int, len(c.Groups))
	for i, g := range c.Groups {
		groups[i] = int(g)
	}
	return groups
}

// Setuid sets the effective user id, for root all three, as setuid(2) does.
//
// Errors: EINVAL for -1; EPERM unless root or uid is the real or saved one.
func (t *Task) Setuid(uid int) error {
	id := uint32(uid)
	return t.setCred(func(c *vfs.Cred) error {
		return setid(id, c.EUID == 0, &c.RUID, &c.EUID, &c.SUID)
	})
}

// Setgid sets the effective group id, for root all three, as setgid(2) does.
//
// Errors: those of Setuid.
func (t *Task) Setgid(gid int) error {
	id := uint32(gid)
	return t.setCred(func(c *vfs.Cred) error {
		return setid(id, c.EUID == 0, &c.RGID, &c.EGID, &c.SGID)
	})
}

// Setresuid sets real, effective and saved user id, as setresuid(2) does; -1
// leaves one as it is.
//
// Errors: EPERM unless root or each new id is one of the three old ones.
func (t *Task) Setresuid(ruid, euid, suid int) error {
	ids := [3]uint32{uint32(ruid), uint32(euid), uint32(suid)}
	return t.setCred(func(c *vfs.Cred) error {
		return setresid(ids, c.EUID == 0, &c.RUID, &c.EUID, &c.SUID)
	})
}

// Setresgid sets real, effective and saved group id, as setresgid(2) does.
//
// Errors: those of Setresuid.
func (t *Task) Setresgid(rgid, egid, sgid int) error {
	ids := [3]uint32{uint32(rgid), uint32(egid), uint32(sgid)}
	return t.setCred(func(c *vfs.Cred) error {
		return setresid(ids, c.EUID == 0, &c.RGID, &c.EGID, &c.SGID)
	})
}

// Setgroups sets the supplementary group ids, as setgroups(2) does.
//
// Errors: EPERM unless root; EINVAL for more than 65536 and for -1.
func (t *Task) Setgroups(groups []int) error {
	return t.setCred(func(c *vfs.Cred) error {
		if c.EUID != 0 {
			return unix.EPERM
		}
		if len(groups) > ngroupsMax {
			return unix.EINVAL
		}
		ids := make([]uint32, len(groups))
		for i, g := range groups {
			if ids[i] = uint32(g); ids[i] == noID {
				return unix.EINVAL
			}
		}
		c.Groups = ids
		return nil
	})
}

func setid(id uint32, root bool, real, effective, saved *uint32) error {
	switch {
	case id == noID:
		return unix.EINVAL
	case root:
		*real, *saved = id, id
	case id != *real && id != *saved:
		return unix.EPERM
	}
	*effective = id
	return nil
}

func setresid(ids [3]uint32, root bool, real, effective, saved *uint32) error {
	old := [3]uint32{*real, *effective, *saved}
	changes := 0
	for i, id := range ids {
		if id != noID && id != old[i] {
			changes++
		}
	}
	if changes == 0 {
		return errUnchanged
	}
	for i, dst := range [3]*uint32{real, effective, saved} {
		id := ids[i]
		if id == noID {
			continue
		}
		if !root && !slices.Contains(old[:], id) {
			return unix.EPERM
		}
		*dst = id
	}
	return nil
}
