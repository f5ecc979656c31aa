package fuseserver

import (
	"context"
	"io"

	"cloister/vfs"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Bytes of the shortest entries of the two kinds of listing
// (include/uapi/linux/fuse.h: fuse_dirent, fuse_direntplus).
const (
	minDirent     = 24 + 8
	minDirentPlus = 128 + minDirent
)

// OpenDir opens a directory.
func (fs *fileSystem) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	n := fs.nodes.get(in.NodeId)
	if n == nil {
		return fuse.Status(unix.ESTALE)
	}
	f, err := vfs.OpenPath(context.Background(), fs.cred, n.path, int(in.Flags&unix.O_NOATIME)|unix.O_RDONLY|unix.O_DIRECTORY|fs.openFlags)
	if err != nil {
		return fs.status("opendir", err)
	}
	out.Fh = fs.handles.add(f)
	return fuse.OK
}

// ReadDir lists names.
func (fs *fileSystem) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return fs.list(in, minDirent, func(_ *node, e *vfs.Dirent) bool {
		return out.AddDirEntry(dirEntry(e))
	})
}

// ReadDirPlus lists names with their attributes; each is a lookup the kernel will
// forget one day, but for "." and "..".
func (fs *fileSystem) ReadDirPlus(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return fs.list(in, minDirentPlus, func(dir *node, e *vfs.Dirent) bool {
		entry := out.AddDirLookupEntry(dirEntry(e))
		if entry == nil {
			return false
		}
		if e.Name == "." || e.Name == ".." {
			return true
		}
		// If it fails, the name is shown without attributes and the kernel
		// looks it up if it wants to.
		p, err := vfs.Lookup(context.Background(), fs.cred, dir.path, e.Name)
		if err != nil {
			return true
		}
		if !fs.entry(p, entry).Ok() {
			*entry = fuse.EntryOut{}
		}
		return true
	})
}

func dirEntry(e *vfs.Dirent) fuse.DirEntry {
	return fuse.DirEntry{Name: e.Name, Ino: e.Ino, Mode: uint32(e.Type) << 12, Off: e.Pos}
}

// list reads as many entries as can fit into the reply and adds them until one
// does not. They are collected first, because ReadDir holds the directory's lock while
// it emits and a lookup needs it.
func (fs *fileSystem) list(in *fuse.ReadIn, minEntry int, add func(dir *node, e *vfs.Dirent) bool) fuse.Status {
	ctx := context.Background()
	dir, h := fs.nodes.get(in.NodeId), fs.handles.get(in.Fh)
	if dir == nil || h == nil {
		return fuse.EBADF
	}
	if in.Offset > maxOffset {
		return fuse.EINVAL
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, err := h.file.Seek(ctx, int64(in.Offset), io.SeekStart); err != nil {
		return fs.status("readdir", err)
	}
	most := int(in.Size)/minEntry + 1
	h.batch = h.batch[:0]
	err := h.file.ReadDir(ctx, func(e vfs.Dirent) bool {
		h.batch = append(h.batch, e)
		return len(h.batch) < most
	})
	if err != nil {
		return fs.status("readdir", err)
	}
	for i := range h.batch {
		if !add(dir, &h.batch[i]) {
			break
		}
	}
	clear(h.batch)
	return fuse.OK
}

// ReleaseDir closes a directory.
func (fs *fileSystem) ReleaseDir(in *fuse.ReleaseIn) { fs.close(context.Background(), in.Fh) }

// FsyncDir does fsync(2) of a directory.
func (fs *fileSystem) FsyncDir(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return fs.Fsync(cancel, in)
}
