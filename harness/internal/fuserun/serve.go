package fuserun

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"cloister/harness/internal/libosrun"
	"cloister/internal/fuseserver"
	"cloister/libos"
	"cloister/syscall"
	"cloister/vfs"
)

// patience is how long the kernel may take to let go of a mount that nobody
// uses.
const patience = 10 * time.Second

// Serve is the child: it answers requests on descriptors 3 and 4 until it is told to
// stop, or until there is nobody left to ask.
func Serve() error {
	asked, answer := os.NewFile(3, "requests"), os.NewFile(4, "answers")
	if asked == nil || answer == nil {
		return errors.New("this command is for the program itself")
	}
	in, out := json.NewDecoder(asked), json.NewEncoder(answer)
	var first start
	if err := in.Decode(&first); err != nil {
		return fmt.Errorf("this command is for the program itself: %w", err)
	}
	ctx := context.Background()
	lo, err := libosrun.Boot(ctx, first.Identity)
	if err != nil {
		return err
	}
	inotify, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return err
	}
	s := &server{os: lo, task: lo.NewTask(), dir: first.Dir, inotify: inotify, mounts: map[int32]*mount{}}
	for {
		var q request
		if err := in.Decode(&q); errors.Is(err, io.EOF) {
			return nil // killed: what is not written is lost
		} else if err != nil {
			return err
		}
		var r reply
		if r.FD, err = s.answer(ctx, q); err != nil {
			r.Errno, r.Text = vfs.Errno(err), err.Error()
		}
		if err := out.Encode(r); err != nil {
			return err
		}
		if q.Op == "stop" {
			return nil
		}
	}
}

// server is a library OS whose mounts are served.
type server struct {
	os      *libos.LibOS
	task    *syscall.Task
	dir     string // where the kernel mounts at first
	count   int    // of mounts so far
	inotify int
	mounts  map[int32]*mount // by inotify watch
}

// mount is a mount of the library OS that the kernel has.
type mount struct {
	at     string        // where it is in the library OS
	served chan struct{} // closed when the kernel has let go
}

func (s *server) answer(ctx context.Context, q request) (fd int, err error) {
	switch q.Op {
	case "mount":
		return s.mount(ctx, q)
	case "release":
		// The kernel may not have taken the mount.
		err := unix.Close(q.FD)
		if settleErr := s.settle(); err == nil {
			err = settleErr
		}
		return 0, err
	case "settle":
		return 0, s.settle()
	case "stop":
		return 0, s.stop(ctx)
	}
	return 0, fmt.Errorf("unknown request %q: %w", q.Op, unix.EINVAL)
}

// mount mounts in the library OS, on a file like the one that the script names,
// serves the mount, and returns a descriptor of the kernel's mount, which is
// nowhere in the tree.
func (s *server) mount(ctx context.Context, q request) (fd int, err error) {
	s.count++
	m := &mount{at: fmt.Sprintf("/%d", s.count), served: make(chan struct{})}
	switch {
	case q.Target.Root:
		m.at = "/"
	case q.Target.Dir:
		err = s.task.Mkdir(m.at, 0o755)
	default:
		err = s.task.Mknod(m.at, unix.S_IFREG|0o644, 0)
	}
	if err != nil {
		return 0, err
	}
	if err := s.task.Mount(q.Source, m.at, q.Type, q.Flags, q.Data); err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			_ = s.task.Umount2(m.at, unix.MNT_DETACH)
		}
	}()
	view := s.os.Namespace().NewView(vfs.RootCred())
	defer view.Release()
	root, err := view.Walk(ctx, view.Root(), m.at, vfs.WalkFollow)
	if err != nil {
		return 0, err
	}
	defer root.Put()
	fs, err := fuseserver.New(fuseserver.Config{
		Root: root, Target: s.dir, Source: q.Source, AllowOther: true, ReadOnly: q.Flags&unix.MS_RDONLY != 0,
	})
	if err != nil {
		return 0, err
	}
	go func() {
		fs.Serve()
		close(m.served)
	}()
	defer func() {
		if err != nil {
			_ = fs.Detach()
		}
	}()
	if err := fs.WaitMount(); err != nil {
		return 0, err
	}
	// The watch tells when the kernel has shut the file system down.
	watch, err := unix.InotifyAddWatch(s.inotify, s.dir, unix.IN_MOVE_SELF)
	if err != nil {
		return 0, err
	}
	fd, err = unix.OpenTree(unix.AT_FDCWD, s.dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return 0, err
	}
	if err := fs.Detach(); err != nil {
		_ = unix.Close(fd)
		return 0, err
	}
	s.mounts[int32(watch)] = m
	return fd, nil
}

// settle unmounts in the library OS what the kernel has shut down.
func (s *server) settle() error {
	var first error
	var buf [64 * unix.SizeofInotifyEvent]byte
	for {
		n, err := unix.Read(s.inotify, buf[:])
		if err != nil {
			if errors.Is(err, unix.EAGAIN) {
				return first
			}
			return err
		}
		for p := buf[:n]; len(p) >= unix.SizeofInotifyEvent; {
			event, size := inotifyEvent(p)
			if event.Mask&unix.IN_UNMOUNT != 0 {
				if err := s.unmount(event.Wd); first == nil {
					first = err
				}
			}
			p = p[min(size, len(p)):]
		}
	}
}

// unmount unmounts what watch has watched.
func (s *server) unmount(watch int32) error {
	m := s.mounts[watch]
	if m == nil {
		return nil
	}
	delete(s.mounts, watch)
	select {
	case <-m.served:
	case <-time.After(patience):
		return fmt.Errorf("the FUSE server of %s does not end: %w", m.at, unix.ETIMEDOUT)
	}
	return s.task.Umount2(m.at, 0)
}

// stop waits for the end of all mounts and closes the library OS.
func (s *server) stop(ctx context.Context) error {
	var first error
	late := time.Now().Add(patience)
	for first == nil && len(s.mounts) > 0 && time.Now().Before(late) {
		// The kernel takes mounts apart some time after the last process has ended.
		events := []unix.PollFd{{Fd: int32(s.inotify), Events: unix.POLLIN}}
		if _, err := unix.Poll(events, int(patience.Milliseconds())); err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		first = s.settle()
	}
	if first == nil && len(s.mounts) > 0 {
		first = fmt.Errorf("%d mounts are still in use: %w", len(s.mounts), unix.EBUSY)
	}
	s.task.Exit()
	if err := s.os.Close(ctx); first == nil {
		first = err
	}
	return first
}
