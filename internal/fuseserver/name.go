package fuseserver

import (
	"context"
	"errors"

	"cloister/vfs"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// dir returns the directory a request on a name is about. The ring wants names of one component.
func (fs *fileSystem) dir(id uint64, names ...string) (*node, fuse.Status) {
	for _, name := range names {
		switch name {
		case "", ".", "..":
			return nil, fuse.EINVAL
		}
	}
	if n := fs.nodes.get(id); n != nil {
		return n, fuse.OK
	}
	return nil, fuse.Status(unix.ESTALE)
}

// entry fills the reply for the file at p, takes over the pin and counts the lookup.
func (fs *fileSystem) entry(p vfs.Path, out *fuse.EntryOut) fuse.Status {
	a, err := vfs.Getattr(context.Background(), p, attrMask)
	if err != nil {
		p.Put()
		return fs.status("getattr", err)
	}
	out.NodeId = fs.nodes.ref(p).id
	out.SetEntryTimeout(fs.timeout)
	out.SetAttrTimeout(fs.timeout)
	setAttr(&out.Attr, &a)
	return fuse.OK
}

// Lookup finds a name. That a name is missing is remembered by the kernel too.
func (fs *fileSystem) Lookup(_ <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	dir, code := fs.dir(in.NodeId, name)
	if !code.Ok() {
		return code
	}
	p, err := vfs.Lookup(context.Background(), fs.cred, dir.path, name)
	if errors.Is(err, unix.ENOENT) {
		out.SetEntryTimeout(fs.timeout) // node id 0
		return fuse.OK
	}
	if err != nil {
		return fs.status("lookup", err)
	}
	return fs.entry(p, out)
}

// Forget takes back lookups.
func (fs *fileSystem) Forget(id, count uint64) { fs.nodes.forget(id, count) }

// createOptions gives a new file its owner: the caller and his group, or the
// directory's group where its set-group-ID bit is set (fs/inode.c: inode_init_owner).
// The kernel has applied the umask and taken S_ISGID from files that may not have it.
func (fs *fileSystem) createOptions(ctx context.Context, dir *node, in *fuse.InHeader) (opt vfs.CreateOptions, setgid bool, err error) {
	a, err := vfs.Getattr(ctx, dir.path, unix.STATX_MODE|unix.STATX_GID)
	if err != nil {
		return opt, false, err
	}
	owner := &vfs.Owner{UID: in.Uid, GID: in.Gid}
	setgid = a.Mode&unix.S_ISGID != 0
	if setgid {
		owner.GID = a.GID
	}
	return vfs.CreateOptions{Owner: owner, ExactMode: true}, setgid, nil
}

// Mknod does mknod(2).
func (fs *fileSystem) Mknod(_ <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	ctx := context.Background()
	dir, code := fs.dir(in.NodeId, name)
	if !code.Ok() {
		return code
	}
	opt, _, err := fs.createOptions(ctx, dir, &in.InHeader)
	if err != nil {
		return fs.status("mknod", err)
	}
	var p vfs.Path
	if format := in.Mode & unix.S_IFMT; format == unix.S_IFREG || format == 0 {
		p, err = vfs.Create(ctx, fs.cred, dir.path, name, in.Mode&07777, opt)
	} else {
		p, err = vfs.Mknod(ctx, fs.cred, dir.path, name, in.Mode&(unix.S_IFMT|07777), decodeDev(in.Rdev), opt)
	}
	if err != nil {
		return fs.status("mknod", err)
	}
	return fs.entry(p, out)
}

// Mkdir does mkdir(2).
func (fs *fileSystem) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	ctx := context.Background()
	dir, code := fs.dir(in.NodeId, name)
	if !code.Ok() {
		return code
	}
	opt, setgid, err := fs.createOptions(ctx, dir, &in.InHeader)
	if err != nil {
		return fs.status("mkdir", err)
	}
	mode := in.Mode & 07777
	if setgid {
		mode |= unix.S_ISGID
	}
	p, err := vfs.Mkdir(ctx, fs.cred, dir.path, name, mode, opt)
	if err != nil {
		return fs.status("mkdir", err)
	}
	return fs.entry(p, out)
}

// Symlink does symlink(2).
func (fs *fileSystem) Symlink(_ <-chan struct{}, in *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	ctx := context.Background()
	dir, code := fs.dir(in.NodeId, name)
	if !code.Ok() {
		return code
	}
	opt, _, err := fs.createOptions(ctx, dir, in)
	if err != nil {
		return fs.status("symlink", err)
	}
	p, err := vfs.Symlinkat(ctx, fs.cred, dir.path, name, target, opt)
	if err != nil {
		return fs.status("symlink", err)
	}
	return fs.entry(p, out)
}

// Readlink does readlink(2).
func (fs *fileSystem) Readlink(_ <-chan struct{}, in *fuse.InHeader) ([]byte, fuse.Status) {
	n := fs.nodes.get(in.NodeId)
	if n == nil {
		return nil, fuse.Status(unix.ESTALE)
	}
	target, err := vfs.Readlink(context.Background(), n.path)
	if err != nil {
		return nil, fs.status("readlink", err)
	}
	return []byte(target), fuse.OK
}

// Link does link(2).
func (fs *fileSystem) Link(_ <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	dir, code := fs.dir(in.NodeId, name)
	if !code.Ok() {
		return code
	}
	old := fs.nodes.get(in.Oldnodeid)
	if old == nil {
		return fuse.Status(unix.ESTALE)
	}
	p, err := vfs.Link(context.Background(), fs.cred, old.path, dir.path, name)
	if err != nil {
		return fs.status("link", err)
	}
	return fs.entry(p, out)
}

// Unlink does unlink(2).
func (fs *fileSystem) Unlink(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	dir, code := fs.dir(in.NodeId, name)
	if !code.Ok() {
		return code
	}
	return fs.status("unlink", vfs.Unlink(context.Background(), fs.cred, dir.path, name))
}

// Rmdir does rmdir(2).
func (fs *fileSystem) Rmdir(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	dir, code := fs.dir(in.NodeId, name)
	if !code.Ok() {
		return code
	}
	return fs.status("rmdir", vfs.Rmdir(context.Background(), fs.cred, dir.path, name))
}

// Rename does renameat2(2). Whiteouts belong to stacking drivers, so
// RENAME_WHITEOUT is EINVAL, as from a file system that has none.
func (fs *fileSystem) Rename(_ <-chan struct{}, in *fuse.RenameIn, oldName, newName string) fuse.Status {
	if in.Flags&^(unix.RENAME_NOREPLACE|unix.RENAME_EXCHANGE) != 0 {
		return fuse.EINVAL
	}
	from, code := fs.dir(in.NodeId, oldName)
	if !code.Ok() {
		return code
	}
	to, code := fs.dir(in.Newdir, newName)
	if !code.Ok() {
		return code
	}
	return fs.status("rename", vfs.Renameat(context.Background(), fs.cred, from.path, oldName, to.path, newName, in.Flags))
}
