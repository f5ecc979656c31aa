package permtest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/hostfs"
	"cloister/fs/ramfs"
	"cloister/fs/sefs"
	"cloister/fs/unionfs"
	"cloister/internal/fuseserver"
	"cloister/internal/kernel"
	"cloister/mountopt"
	"cloister/vfs"
)

// A process must not use its own FUSE mount, so the server is this test binary,
// started again.
const (
	envKind  = "CLOISTER_PERMTEST_KIND"
	envState = "CLOISTER_PERMTEST_STATE"
)

func TestMain(m *testing.M) {
	if kind := os.Getenv(envKind); kind != "" {
		if err := serve(kind, os.Getenv(envState)); err != nil {
			fmt.Fprintln(os.Stderr, "server:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// newFileSystem makes the file system that is served; its data are below state.
func newFileSystem(ctx context.Context, kind, state string, log *slog.Logger) (vfs.FileSystem, error) {
	data, lower := filepath.Join(state, "data"), filepath.Join(state, "lower")
	switch kind {
	case "hostfs":
		return hostfs.NewType(hostfs.Config{Log: log}).Mount(ctx, vfs.MountRequest{Data: "dir=" + data})
	case "ramfs":
		return ramfs.New(ramfs.Config{}), nil
	}
	key, err := mountopt.ParseKey("c7-32-b3-ed-44-df-ec-7b-25-2d-9a-32-38-8d-58-61")
	if err != nil {
		return nil, err
	}
	upper, below := data, []mountopt.Layer(nil)
	switch kind {
	case "lower":
		upper = lower
	case "union":
		below = []mountopt.Layer{{Dir: lower}}
	}
	layers, err := sefs.NewType(sefs.Config{Log: log}).OpenStack(ctx, below, upper, key, 0)
	if err != nil {
		return nil, err
	}
	if below == nil {
		return layers[0], nil
	}
	return unionfs.New(ctx, unionfs.StackConfig{Layers: layers, Log: log})
}

// serve serves until SIGTERM.
func serve(kind, state string) error {
	ctx := context.Background()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	fs, err := newFileSystem(ctx, kind, state, log)
	if err != nil {
		return err
	}
	if err := kernel.DetachFUSE(); err != nil {
		return err
	}
	root, closeMount := vfs.NewPrivateMount(fs, 0, vfs.PrivateConfig{})
	server, err := fuseserver.New(fuseserver.Config{
		Root: root, Target: filepath.Join(state, "mnt"), Source: "permtest", Log: log, AllowOther: true,
	})
	if err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		server.Serve()
		close(done)
	}()
	if err := server.WaitMount(); err != nil {
		return err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGTERM)
	fmt.Println("ready")
	<-signals
	if err := server.Unmount(); err != nil {
		return err
	}
	<-done
	root.Put()
	return closeMount(ctx, vfs.SafeClose)
}

// server is the serving process.
type server struct {
	cmd *exec.Cmd
	mnt string // where it serves, by its own mount namespace
}

// startServer serves a file system of the given kind. The mount is in a namespace of its own, since every namespace
// made meanwhile by another test would have a copy, and the server would wait until that has gone.
func startServer(t *testing.T, kind, state string) *server {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envKind+"="+kind, envState+"="+state)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	s := &server{cmd: cmd, mnt: filepath.Join("/proc", fmt.Sprint(cmd.Process.Pid), "root", state, "mnt")}
	t.Cleanup(func() {
		if s.cmd == nil {
			return
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	require.NoError(t, err, "the server's first line")
	require.Equal(t, "ready\n", line)
	go io.Copy(io.Discard, lines) // until the server ends
	return s
}

// stop unmounts and checks that the server ended well.
func (s *server) stop(t *testing.T) {
	t.Helper()
	require.NoError(t, s.cmd.Process.Signal(unix.SIGTERM))
	err := s.cmd.Wait()
	s.cmd = nil
	require.NoError(t, err, "the server's exit")
}
