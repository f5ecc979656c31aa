package vfs

import "golang.org/x/sys/unix"

// A View is what one process sees: its root and working directory (struct
// fs_struct), umask and credentials. Walks may run at the same time, but not together with a change
// of the fields.
type View struct {
	ns    *Namespace
	cred  *Cred
	root  Path
	cwd   Path
	umask uint32
}

// Clone returns a copy for a child process (fork(2)).
func (v *View) Clone() *View {
	c := *v
	c.root.Get()
	c.cwd.Get()
	return &c
}

// Release gives root and working directory back. v is not used after, GetattrCached aside.
func (v *View) Release() {
	v.root.Put()
	v.cwd.Put()
}

// Namespace returns the mount tree.
func (v *View) Namespace() *Namespace { return v.ns }

// Cred returns the credentials.
func (v *View) Cred() *Cred { return v.cred }

// SetCred replaces the credentials.
func (v *View) SetCred(c *Cred) { v.cred = c }

// Umask returns the file mode creation mask.
func (v *View) Umask() uint32 { return v.umask }

// SetUmask sets the permission bits of the mask and returns the old one (umask(2)).
func (v *View) SetUmask(m uint32) (old uint32) {
	old, v.umask = v.umask, m&0o777
	return old
}

// Cwd returns the working directory, borrowed: it is not pinned for the caller.
func (v *View) Cwd() Path { return v.cwd }

// Root returns the root, borrowed.
func (v *View) Root() Path { return v.root }

// SetCwd makes p the working directory, with a pin of its own.
func (v *View) SetCwd(p Path) {
	old := v.cwd
	v.cwd = p.Get()
	old.Put()
}

// SetRoot makes p the root, with a pin of its own (chroot(2)). The working directory stays where it is.
func (v *View) SetRoot(p Path) {
	old := v.root
	v.root = p.Get()
	old.Put()
}

// Getcwd returns the path of the working directory. One that the root does not lead
// to is marked "(unreachable)", as getcwd(2) does.
//
// Errors: ENOENT if it has been removed.
func (v *View) Getcwd() (string, error) {
	if v.cwd.Removed() {
		return "", unix.ENOENT
	}
	path, ok := v.cwd.pathFrom(v.root)
	if !ok {
		return "(unreachable)" + path, nil
	}
	return path, nil
}

// PathString returns the path of p as seen from the root, as /proc/self/fd shows it: with
// " (deleted)" if the name has been removed (d_path).
//
// Errors: ENOENT if the root does not lead to p; ENAMETOOLONG from 4096 bytes.
func (v *View) PathString(p Path) (string, error) {
	path, ok := p.pathFrom(v.root)
	if !ok {
		return "", unix.ENOENT
	}
	if p.Removed() {
		path += " (deleted)"
	}
	if len(path) >= unix.PathMax {
		return "", unix.ENAMETOOLONG
	}
	return path, nil
}
