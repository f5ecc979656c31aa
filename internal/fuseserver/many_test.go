package fuseserver_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"cloister/fs/hostfs"
	"cloister/fs/ramfs"
	"cloister/fs/sefs"
	"cloister/fs/unionfs"
	"cloister/internal/fuseserver"
	"cloister/internal/kernel"
	"cloister/mountopt"
	"cloister/vfs"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// One serving process has many mounts, one for each tree that the conformance suite wants. None is anywhere in
// the tree: whoever wants one fetches its descriptor.

// envMany makes this binary such a server; its value is a directory that is the server's own.
const envMany = "CLOISTER_TEST_MANY"

// A question is a JSON value on the server's standard input, an answer one on its standard output.
type question struct {
	Op    string // mount, release, end
	Kind  string // mount: the kind of file system
	Layer bool   // mount: keep the image when the mount has ended, for a union
	Lower int    // mount, of a union: the mount with Layer whose image is the lower layer; 0: an empty one
	ID    int    // release, end: the mount
}

type answer struct {
	ID, FD int    // of mount
	Err    string // "": done
}

// served is one mount of the server.
type served struct {
	fd    int
	done  chan struct{} // closed when the kernel has let go
	close func() error  // closes the file system
	dirs  []string      // to remove in the end
}

// serveMany answers questions until there are no more.
func serveMany(dir string) error {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	mounts := map[int]*served{}
	for {
		var q question
		if err := in.Decode(&q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var a answer
		var err error
		switch m := mounts[q.ID]; {
		case q.Op == "mount":
			a.ID = len(mounts) + 1
			m, err = mountOne(dir, a.ID, q)
			if err == nil {
				mounts[a.ID], a.FD = m, m.fd
			}
		case q.Op == "release":
			err = unix.Close(m.fd)
		case q.Op == "end":
			err = m.end()
		}
		if err != nil {
			a.Err = err.Error()
		}
		if err := out.Encode(a); err != nil {
			return err
		}
	}
}

// mountOne serves a new file system, with its state below dir.
func mountOne(dir string, id int, q question) (*served, error) {
	ctx := context.Background()
	state := func(id int) string { return filepath.Join(dir, fmt.Sprint(id)) }
	m := &served{done: make(chan struct{})}
	if !q.Layer {
		m.dirs = append(m.dirs, state(id))
	}
	lower := filepath.Join(dir, "empty")
	if q.Lower != 0 {
		m.dirs = append(m.dirs, state(q.Lower))
		lower = filepath.Join(state(q.Lower), "data")
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	target := filepath.Join(state(id), "mnt")
	if err := os.MkdirAll(target, 0o755); err != nil {
		return nil, err
	}
	fs, err := makeOne(ctx, state(id), q.Kind, lower, log)
	if err != nil {
		return nil, err
	}
	root, closeMount := vfs.NewPrivateMount(fs, 0, vfs.PrivateConfig{})
	server, err := fuseserver.New(fuseserver.Config{Root: root, Target: target, Source: q.Kind, Log: log, AllowOther: true})
	if err != nil {
		return nil, err
	}
	go func() {
		server.Serve()
		close(m.done)
	}()
	m.close = func() error {
		root.Put()
		return closeMount(ctx, vfs.SafeClose)
	}
	if err := server.WaitMount(); err != nil {
		return nil, err
	}
	if m.fd, err = unix.OpenTree(unix.AT_FDCWD, target, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC); err != nil {
		return nil, err
	}
	return m, server.Detach()
}

// end waits until nobody uses the mount, closes the file system, which fails if the server has left anything open,
// and removes it.
func (m *served) end() error {
	select {
	case <-m.done:
		err := m.close()
		for _, dir := range m.dirs {
			if rmErr := os.RemoveAll(dir); err == nil {
				err = rmErr
			}
		}
		return err
	case <-time.After(20 * time.Second):
		return errors.New("the mount is still in use")
	}
}

// makeOne makes an empty file system, or a union over the image lower.
func makeOne(ctx context.Context, dir, kind, lower string, log *slog.Logger) (vfs.FileSystem, error) {
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o755); err != nil {
		return nil, err
	}
	key, err := mountopt.ParseKey("c7-32-b3-ed-44-df-ec-7b-25-2d-9a-32-38-8d-58-61")
	if err != nil {
		return nil, err
	}
	switch kind {
	case "ramfs":
		return ramfs.New(ramfs.Config{}), nil
	case "hostfs":
		return hostfs.NewType(hostfs.Config{Log: log}).Mount(ctx, vfs.MountRequest{Data: "dir=" + data})
	case "sefs":
		return sefs.Make(ctx, data, sefs.MakeConfig{OpenConfig: sefs.OpenConfig{Key: key, Log: log}})
	case "unionfs":
		if err := needImage(ctx, lower, key, log); err != nil {
			return nil, err
		}
		layers, err := sefs.NewType(sefs.Config{Log: log}).OpenStack(ctx, []mountopt.Layer{{Dir: lower}}, data, key, 0)
		if err != nil {
			return nil, err
		}
		return unionfs.New(ctx, unionfs.StackConfig{Layers: layers, Log: log})
	}
	return nil, fmt.Errorf("unknown kind %q", kind)
}

// needImage makes an empty image in a host directory, if that does not exist.
func needImage(ctx context.Context, dir string, key mountopt.Key, log *slog.Logger) error {
	if err := os.Mkdir(dir, 0o755); errors.Is(err, os.ErrExist) {
		return nil
	} else if err != nil {
		return err
	}
	fs, err := sefs.Make(ctx, dir, sefs.MakeConfig{OpenConfig: sefs.OpenConfig{Key: key, Log: log}})
	if err != nil {
		return err
	}
	return fs.Close(ctx, vfs.SafeClose)
}

// manyServer is the serving process.
type manyServer struct {
	pid int

	mu   sync.Mutex // one question at a time
	to   *json.Encoder
	from *json.Decoder
}

// startMany starts a server.
func startMany(t *testing.T) *manyServer {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "fusetest")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envMany+"="+dir)
	cmd.Stderr = os.Stderr
	// Nobody else sees the mounts while they are made.
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		require.NoError(t, in.Close())
		if t.Failed() {
			_ = cmd.Process.Kill() // it may wait for what a failed test has left open
		}
		err := cmd.Wait()
		if !t.Failed() {
			require.NoError(t, err, "the server's exit")
		}
	})
	return &manyServer{pid: cmd.Process.Pid, to: json.NewEncoder(in), from: json.NewDecoder(out)}
}

func (s *manyServer) ask(q question) (answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var a answer
	if err := s.to.Encode(q); err != nil {
		return a, err
	}
	if err := s.from.Decode(&a); err != nil {
		return a, err
	}
	if a.Err != "" {
		return a, fmt.Errorf("%s %d: %s", q.Op, q.ID, a.Err)
	}
	return a, nil
}

// mountedTree makes the mounts of one tree.
type mountedTree struct {
	server *manyServer
	kind   string
	layer  bool // see question
	lower  int  // the lower layer of the root, if that is a union; see question
	ids    []int
}

// Mount implements kernel.Mounter.
func (m *mountedTree) Mount(string, kernel.Target, string, uintptr, string) (kernel.Detached, error) {
	a, err := m.server.ask(question{Op: "mount", Kind: m.kind, Layer: m.layer, Lower: m.lower})
	if err != nil {
		return kernel.Detached{}, err
	}
	m.ids = append(m.ids, a.ID)
	release := func() error {
		_, err := m.server.ask(question{Op: "release", ID: a.ID})
		return err
	}
	return kernel.Detached{PID: m.server.pid, FD: a.FD, Release: release}, nil
}

// end checks that all mounts came to a good end.
func (m *mountedTree) end() error {
	for _, id := range m.ids {
		if _, err := m.server.ask(question{Op: "end", ID: id}); err != nil {
			return err
		}
	}
	return nil
}
