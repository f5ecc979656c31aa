package fuseserver

import (
	"context"
	"errors"
	"math"

	"cloister/vfs"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

const maxOffset = math.MaxInt64

// open opens the file at p as root: the kernel has checked the caller's access.
// Of the flags only the access mode and O_NOATIME matter; the kernel sends append writes with
// their offset and truncates by SETATTR.
func (fs *fileSystem) open(ctx context.Context, p vfs.Path, flags uint32, out *fuse.OpenOut) error {
	f, err := vfs.OpenPath(ctx, fs.cred, p, int(flags&(unix.O_ACCMODE|unix.O_NOATIME))|fs.openFlags)
	if err != nil {
		return err
	}
	out.Fh = fs.handles.add(f)
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	return nil
}

// Open does open(2) of an existing file.
func (fs *fileSystem) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	n := fs.nodes.get(in.NodeId)
	if n == nil {
		return fuse.Status(unix.ESTALE)
	}
	return fs.status("open", fs.open(context.Background(), n.path, in.Flags, out))
}

// Create does open(2) with O_CREAT.
func (fs *fileSystem) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	ctx := context.Background()
	dir, code := fs.dir(in.NodeId, name)
	if !code.Ok() {
		return code
	}
	opt, _, err := fs.createOptions(ctx, dir, &in.InHeader)
	if err != nil {
		return fs.status("create", err)
	}
	p, err := vfs.Create(ctx, fs.cred, dir.path, name, in.Mode&07777, opt)
	if errors.Is(err, unix.EEXIST) && in.Flags&unix.O_EXCL == 0 {
		// The kernel believed the name to be free; ESTALE makes it look again and
		// open the file in the ordinary way (fs/namei.c: path_openat).
		err = unix.ESTALE
	}
	if err != nil {
		return fs.status("create", err)
	}
	return fs.created(ctx, p, in, out)
}

// Tmpfile does open(2) with O_TMPFILE.
func (fs *fileSystem) Tmpfile(_ <-chan struct{}, in *fuse.CreateIn, out *fuse.CreateOut) fuse.Status {
	ctx := context.Background()
	dir, code := fs.dir(in.NodeId)
	if !code.Ok() {
		return code
	}
	opt, _, err := fs.createOptions(ctx, dir, &in.InHeader)
	if err != nil {
		return fs.status("tmpfile", err)
	}
	p, err := vfs.Tmpfile(ctx, fs.cred, dir.path, in.Mode&07777, opt)
	if err != nil {
		return fs.status("tmpfile", err)
	}
	return fs.created(ctx, p, in, out)
}

// created opens the new file at p, whose pin it takes over.
func (fs *fileSystem) created(ctx context.Context, p vfs.Path, in *fuse.CreateIn, out *fuse.CreateOut) fuse.Status {
	if err := fs.open(ctx, p, in.Flags, &out.OpenOut); err != nil {
		p.Put()
		return fs.status("create", err)
	}
	code := fs.entry(p, &out.EntryOut)
	if !code.Ok() {
		fs.close(ctx, out.Fh)
	}
	return code
}

// Read does pread(2) straight into the reply.
func (fs *fileSystem) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	h := fs.handles.get(in.Fh)
	if h == nil {
		return nil, fuse.EBADF
	}
	if in.Offset > maxOffset {
		return nil, fuse.EINVAL
	}
	n, err := h.file.ReadAt(context.Background(), buf, int64(in.Offset))
	if err != nil {
		return nil, fs.status("read", err)
	}
	return fuse.ReadResultData(buf[:n]), fuse.OK
}

// Write does pwrite(2).
func (fs *fileSystem) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	ctx := context.Background()
	h := fs.handles.get(in.Fh)
	if h == nil {
		return 0, fuse.EBADF
	}
	if in.Offset > maxOffset {
		return 0, fuse.Status(unix.EFBIG)
	}
	if in.WriteFlags&fuse.WRITE_KILL_SUIDGID != 0 {
		if err := fs.killPriv(ctx, h.file.Path()); err != nil {
			return 0, fs.status("write", err)
		}
	}
	n, err := h.file.WriteAt(ctx, data, int64(in.Offset))
	if err != nil && n == 0 {
		return 0, fs.status("write", err)
	}
	return uint32(n), fuse.OK // a short count; the caller's next write meets the error
}

// Lseek does lseek(2) with SEEK_DATA and SEEK_HOLE.
func (fs *fileSystem) Lseek(_ <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	h := fs.handles.get(in.Fh)
	if h == nil {
		return fuse.EBADF
	}
	if in.Whence != unix.SEEK_DATA && in.Whence != unix.SEEK_HOLE {
		return fuse.EINVAL
	}
	if in.Offset > maxOffset { // negative
		return fuse.Status(unix.ENXIO)
	}
	off, err := h.file.Seek(context.Background(), int64(in.Offset), int(in.Whence))
	if err != nil {
		return fs.status("lseek", err)
	}
	out.Offset = uint64(off)
	return fuse.OK
}

// Fallocate does fallocate(2).
func (fs *fileSystem) Fallocate(_ <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	h := fs.handles.get(in.Fh)
	if h == nil {
		return fuse.EBADF
	}
	if in.Offset > maxOffset || in.Length > maxOffset-in.Offset {
		return fuse.Status(unix.EFBIG)
	}
	return fs.status("fallocate", h.file.Fallocate(context.Background(), in.Mode, int64(in.Offset), int64(in.Length)))
}

// Flush answers ENOSYS, which saves a request for each close(2): closing makes
// nothing durable, as on other local file systems, so there is no error to report.
func (fs *fileSystem) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.ENOSYS }

// Fsync does fsync(2) and fdatasync(2).
func (fs *fileSystem) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	h := fs.handles.get(in.Fh)
	if h == nil {
		return fuse.EBADF
	}
	const datasync = 1
	return fs.status("fsync", h.file.Fsync(context.Background(), in.FsyncFlags&datasync != 0))
}

// Release closes a file after its last descriptor.
func (fs *fileSystem) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	fs.close(context.Background(), in.Fh)
}

func (fs *fileSystem) close(ctx context.Context, fh uint64) {
	if err := fs.handles.remove(ctx, fh); err != nil {
		fs.log.Error("fuse: close", "err", err)
	}
}
