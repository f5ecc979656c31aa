package fuserun

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"cloister/harness/internal/replay"
	"cloister/internal/kernel"
)

// ServeArg is the only argument of the process that serves: a program that has
// a System calls Serve when it is started with it.
const ServeArg = "serve-fuse"

// request is what the child is asked; reply is its answer. One of each is a JSON
// value on a pipe.
type request struct {
	Op string // mount, release, settle, stop

	Source, Type, Data string        // mount
	Flags              uintptr       // mount
	Target             kernel.Target // mount
	FD                 int           // release
}

type reply struct {
	FD    int        // of mount: the descriptor of the mount
	Errno unix.Errno // 0: done
	Text  string     // of the error
}

// child is the process that serves.
type child struct {
	cmd  *exec.Cmd
	dir  string // where it mounts at first
	lazy bool   // a mount has been detached and may still be in use

	mu   sync.Mutex // one question at a time
	to   *json.Encoder
	from *json.Decoder
	ends []*os.File

	endMu sync.Mutex
	ended bool

	late error // what no call of the script could return
}

// startChild starts this program again, as the serving process, with a library
// OS that has the identity id.
func startChild(ctx context.Context, id replay.Identity) (_ *child, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "harness-fuse-")
	if err != nil {
		return nil, err
	}
	c := &child{dir: dir}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	asked, ask, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer asked.Close()
	c.ends = append(c.ends, ask)
	answers, answer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	c.ends = append(c.ends, answers)

	c.cmd = exec.CommandContext(context.WithoutCancel(ctx), self, ServeArg)
	c.cmd.Stderr = os.Stderr
	c.cmd.ExtraFiles = []*os.File{asked, answer}
	// Nobody else sees the mount points.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the FUSE server: %w", err)
	}
	c.to, c.from = json.NewEncoder(ask), json.NewDecoder(answers)
	if err := c.to.Encode(start{Identity: id, Dir: dir}); err != nil {
		c.kill()
		return nil, fmt.Errorf("start the FUSE server: %w", err)
	}
	return c, nil
}

// start is the first thing that the child is told.
type start struct {
	Identity replay.Identity
	Dir      string // a directory to mount on
}

// ask sends one request and waits for the answer.
func (c *child) ask(q request) (reply, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var r reply
	if err := c.to.Encode(q); err != nil {
		return r, fmt.Errorf("FUSE server: %w: %w", err, unix.EIO)
	}
	if err := c.from.Decode(&r); err != nil {
		return r, fmt.Errorf("FUSE server: %w: %w", err, unix.EIO)
	}
	if r.Errno != 0 {
		return r, &remoteError{r.Errno, r.Text}
	}
	return r, nil
}

// remoteError is an error of the library OS in the child.
type remoteError struct {
	errno unix.Errno
	text  string
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.errno }

// Mount makes a mount of the library OS and serves it.
func (c *child) Mount(source string, target kernel.Target, fstype string, flags uintptr, data string) (kernel.Detached, error) {
	r, err := c.ask(request{Op: "mount", Source: source, Target: target, Type: fstype, Flags: flags, Data: data})
	if err != nil {
		return kernel.Detached{}, err
	}
	return kernel.Detached{
		PID: c.cmd.Process.Pid, FD: r.FD,
		Release: func() error { _, err := c.ask(request{Op: "release", FD: r.FD}); return err },
	}, nil
}

// settle returns when the library OS has unmounted all that the kernel has.
func (c *child) settle() error {
	_, err := c.ask(request{Op: "settle"})
	return err
}

// noteError keeps an error for stop.
func (c *child) noteError(err error) {
	if c.late == nil {
		c.late = err
	}
}

// stop waits until nothing is mounted any more, closes the library OS and ends
// the child.
func (c *child) stop() error {
	_, err := c.ask(request{Op: "stop"})
	return errors.Join(c.late, err, c.end(false))
}

// kill ends the child at once.
func (c *child) kill() { _ = c.end(true) }

// end returns how the child has ended, unless it was killed.
func (c *child) end(kill bool) error {
	c.endMu.Lock()
	defer c.endMu.Unlock()
	if c.ended {
		return nil
	}
	c.ended = true
	if kill {
		_ = c.cmd.Process.Kill()
	}
	for _, f := range c.ends {
		f.Close()
	}
	err := c.cmd.Wait()
	_ = os.Remove(c.dir)
	if kill || err == nil {
		return nil
	}
	return fmt.Errorf("FUSE server: %w: %w", err, unix.EIO)
}

// close undoes a start that failed.
func (c *child) close() {
	for _, f := range c.ends {
		f.Close()
	}
	_ = os.Remove(c.dir)
}
