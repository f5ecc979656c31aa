package fuseserver

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"cloister/vfs"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

const (
	subtype = "cloister" // the type is shown as fuse.cloister

	maxWrite      = 1 << 20 // bytes of one READ or WRITE
	maxBackground = 32      // asynchronous requests in flight: read-ahead and write-back
	maxInflight   = 64 << 20

	defaultTimeout = 10 * time.Second
)

// Config says what is served and where.
type Config struct {
	Root   vfs.Path // root of the served tree; the server takes its own pin
	Target string   // the mount point, a directory
	Source string   // shown as the mounted device, e.g. the image directory

	ReadOnly   bool // mount with MS_RDONLY; the default is read-write
	AllowOther bool // let other users in, as far as modes allow; the default is the mounting user only, whom modes do not stop if that is root

	// Timeout is how long the kernel trusts names and attributes without
	// asking again; 0: 10 s. It only bounds how late counts of blocks and access times
	// are shown, since all other changes come from the kernel itself.
	Timeout time.Duration

	Log *slog.Logger // nil: discard
}

// Server is one FUSE mount and the process side of it.
type Server struct {
	fs     *fileSystem
	fuse   *fuse.Server
	target string
	direct bool // mounted by mount(2), not by fusermount3
}

// New mounts cfg.Root at cfg.Target. The mount answers once Serve runs.
//
// Errors: ENOENT, ENOTDIR for the mount point; *MountError, which says what is missing, its
// chain holding the errno.
func New(cfg Config) (*Server, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	target, err := filepath.Abs(cfg.Target)
	if err != nil {
		return nil, fmt.Errorf("fuse: mount point: %w", err)
	}
	// The kernel would mount on a file too, and then meet a root that is none.
	var st unix.Stat_t
	if err := unix.Stat(target, &st); err != nil {
		return nil, fmt.Errorf("fuse: mount point %s: %w", target, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil, fmt.Errorf("fuse: mount point %s: %w", target, unix.ENOTDIR)
	}
	if err := Check(); err != nil {
		return nil, err
	}
	fs := newFileSystem(cfg)
	server, direct, err := mount(fs, target, mountOptions(cfg))
	if err != nil {
		fs.release()
		return nil, err
	}
	return &Server{fs: fs, fuse: server, target: target, direct: direct}, nil
}

func mountOptions(cfg Config) *fuse.MountOptions {
	o := &fuse.MountOptions{
		AllowOther:              cfg.AllowOther,
		MaxBackground:           maxBackground,
		MaxInflightRequestBytes: maxInflight,
		MaxWrite:                maxWrite,
		MaxReadAhead:            maxWrite,
		FsName:                  cfg.Source,
		Name:                    subtype,
		Logger:                  slog.NewLogLogger(cfg.Log.Handler(), slog.LevelWarn),
		// Nobody else changes the files, so neither a changed mtime nor an open
		// is a reason to drop cached pages.
		ExplicitDataCacheControl: true,
		// Replies are made of buffers, never of descriptors.
		DisableSplice: true,
		// Without HANDLE_KILLPRIV_V2 the kernel asks for security.capability before
		// each write; see killPriv. READDIRPLUS_AUTO uses the costlier
		// READDIRPLUS only where attributes are wanted.
		ExtraCapabilities: fuse.CAP_HANDLE_KILLPRIV_V2 | fuse.CAP_READDIRPLUS_AUTO,
		DirectMountFlags:  unix.MS_NOSUID | unix.MS_NODEV,
	}
	if cfg.AllowOther || unix.Geteuid() != 0 {
		// Modes are for the kernel to check, which costs a request for the attributes of the directory
		// behind each change of it. Root alone needs no checks but that of Access.
		o.Options = append(o.Options, "default_permissions")
	}
	if cfg.ReadOnly {
		o.Options = append(o.Options, "ro")
		o.DirectMountFlags |= unix.MS_RDONLY
	}
	o.PanicHandler = func(v any) fuse.Status { return recovered(cfg.Log, v) }
	return o
}

// Serve answers requests until the file system is unmounted, by Unmount or by
// umount(8), and then releases everything it holds of the tree. It must be called
// exactly once.
func (s *Server) Serve() { s.fuse.Serve() }

// WaitMount returns when the mount answers. Serve must be running.
func (s *Server) WaitMount() error {
	if err := s.fuse.WaitMount(); err != nil {
		return fmt.Errorf("fuse: the mount does not answer: %w", err)
	}
	if err := s.raiseReadAhead(); err != nil {
		s.fs.log.Debug("fuse: files are read ahead by default only", "err", err)
	}
	return nil
}

// Unmount takes the mount away; Serve then returns.
//
// Errors: EBUSY while files are open or directories are in use below it.
func (s *Server) Unmount() error { return s.umount(0) }

// Detach takes the mount out of the tree at once (MNT_DETACH). Serve goes on for
// those who have files open and returns after the last one.
func (s *Server) Detach() error { return s.umount(unix.MNT_DETACH) }

// Target returns the path of the mount point, absolute.
func (s *Server) Target() string { return s.target }
