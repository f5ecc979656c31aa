package fuseserver

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"cloister/vfs"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// fileSystem answers the requests. The embedded default answers ENOSYS to what
// the kernel does better alone: locks, ioctl and copy_file_range. The kernel then
// stops asking.
type fileSystem struct {
	fuse.RawFileSystem
	nodes     nodeTable
	handles   handleTable
	cred      *vfs.Cred
	timeout   time.Duration
	openFlags int // O_* added to each open
	log       *slog.Logger
}

func newFileSystem(cfg Config) *fileSystem {
	fs := &fileSystem{
		RawFileSystem: fuse.NewDefaultRawFileSystem(),
		cred:          vfs.RootCred(),
		timeout:       cfg.Timeout,
		log:           cfg.Log,
	}
	if cfg.ReadOnly {
		fs.openFlags = unix.O_NOATIME // do not even try to note the access
	}
	fs.nodes.init(cfg.Root.Get())
	return fs
}

// String names the file system for the protocol library.
func (fs *fileSystem) String() string { return subtype }

// OnUnmount releases what the kernel had open or knew.
func (fs *fileSystem) OnUnmount() { fs.release() }

func (fs *fileSystem) release() {
	if err := fs.handles.close(context.Background()); err != nil {
		fs.log.Error("fuse: close at unmount", "err", err)
	}
	fs.nodes.close()
}

// status turns an error into the errno of the reply and logs those that nobody
// expects.
func (fs *fileSystem) status(op string, err error) fuse.Status {
	if err == nil {
		return fuse.OK
	}
	errno := vfs.Errno(err)
	switch errno {
	case unix.EIO, unix.EUCLEAN:
		fs.log.Error("fuse: request failed", "op", op, "err", err)
	case unix.ENOSYS:
		errno = unix.EOPNOTSUPP // the kernel takes ENOSYS as "never ask again"
	}
	return fuse.Status(errno)
}

// recovered makes a panic in a handler an EIO; the mount lives on.
func recovered(log *slog.Logger, v any) fuse.Status {
	log.Error("fuse: panic in a request", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	return fuse.EIO
}

// StatFs does statfs(2).
func (fs *fileSystem) StatFs(_ <-chan struct{}, in *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	n := fs.nodes.get(in.NodeId)
	if n == nil {
		return fuse.Status(unix.ESTALE)
	}
	st, err := vfs.Statfs(context.Background(), n.path)
	if err != nil {
		return fs.status("statfs", err)
	}
	*out = fuse.StatfsOut{
		Blocks: st.Blocks, Bfree: st.Bfree, Bavail: st.Bavail,
		Files: st.Files, Ffree: st.Ffree,
		Bsize: uint32(st.Bsize), Frsize: uint32(st.Frsize), NameLen: uint32(st.Namelen),
	}
	return fuse.OK
}
