package fuseserver_test

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
	"strings"
	"testing"
	"time"

	"cloister/fs/ramfs"
	"cloister/fs/sefs"
	"cloister/fs/unionfs"
	"cloister/internal/fuseserver"
	"cloister/internal/testenv"
	"cloister/mountopt"
	"cloister/vfs"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A process must not use its own FUSE mount (it can run out of threads on both
// sides), so the server is this test binary, started again.
const (
	envTarget = "CLOISTER_TEST_TARGET"
	envImage  = "CLOISTER_TEST_IMAGE"
	envFlags  = "CLOISTER_TEST_FLAGS"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(envMany); dir != "" {
		if err := serveMany(dir); err != nil {
			fmt.Fprintln(os.Stderr, "server:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if target := os.Getenv(envTarget); target != "" {
		if err := serve(target, os.Getenv(envImage), os.Getenv(envFlags)); err != nil {
			fmt.Fprintln(os.Stderr, "server:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// serve mounts a ramfs, or the image in a host directory, until SIGTERM or umount.
func serve(target, image, flags string) error {
	ctx := context.Background()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	var fs vfs.FileSystem = ramfs.New(ramfs.Config{})
	if image != "" {
		key, err := mountopt.ParseKey("c7-32-b3-ed-44-df-ec-7b-25-2d-9a-32-38-8d-58-61")
		if err != nil {
			return err
		}
		var lower []mountopt.Layer
		if strings.Contains(flags, "union") {
			lower = []mountopt.Layer{{Dir: image + ".lower"}} // an empty directory: an empty layer
		}
		layers, err := sefs.NewType(sefs.Config{Log: log}).OpenStack(ctx, lower, image, key, 0)
		if err != nil {
			return err
		}
		if fs = layers[0]; lower != nil {
			if fs, err = unionfs.New(ctx, unionfs.StackConfig{Layers: layers, Log: log}); err != nil {
				return err
			}
		}
	}
	if strings.Contains(flags, "panic") {
		fs = panicking{fs}
	}
	root, closeMount := vfs.NewPrivateMount(fs, 0, vfs.PrivateConfig{})
	server, err := fuseserver.New(fuseserver.Config{
		Root: root, Target: target, Source: "test,image", Log: log,
		ReadOnly:   strings.Contains(flags, "ro"),
		AllowOther: strings.Contains(flags, "other"),
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
	for serving := true; serving; {
		select {
		case <-done:
			serving = false
		case <-signals:
			if err := server.Unmount(); err != nil {
				fmt.Println("unmount:", vfs.Errno(err))
			}
		}
	}
	root.Put()
	return closeMount(ctx, vfs.SafeClose)
}

// panicking panics when the name "panic" is looked up.
type panicking struct{ vfs.FileSystem }

func (fs panicking) Root() vfs.Dir { return panickingDir{fs.FileSystem.Root()} }

type panickingDir struct{ vfs.Dir }

func (d panickingDir) Lookup(ctx context.Context, name string) (vfs.Inode, error) {
	if name == "panic" {
		panic("asked for it")
	}
	return d.Dir.Lookup(ctx, name)
}

// server is the serving process.
type server struct {
	dir    string
	cmd    *exec.Cmd
	out    *bufio.Reader
	exited chan error
}

// start mounts a file system at a fresh directory; image "" means a ramfs.
func start(t testing.TB, image, flags string) *server {
	t.Helper()
	testenv.NeedFUSE(t)
	testenv.NeedRoot(t)
	dir := filepath.Join(t.TempDir(), "mnt")
	require.NoError(t, os.Mkdir(dir, 0o755))
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
	require.NoError(t, os.Chmod(filepath.Dir(filepath.Dir(dir)), 0o755))
	s := &server{dir: dir, exited: make(chan error, 1)}
	s.cmd = exec.Command(os.Args[0])
	s.cmd.Env = append(os.Environ(), envTarget+"="+dir, envImage+"="+image, envFlags+"="+flags)
	s.cmd.Stderr = os.Stderr
	stdout, err := s.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, s.cmd.Start())
	s.out = bufio.NewReader(stdout)
	require.Equal(t, "ready", s.line(t))
	t.Cleanup(func() {
		if s.cmd == nil {
			return
		}
		_ = unix.Unmount(s.dir, unix.MNT_DETACH)
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	})
	return s
}

func (s *server) line(t testing.TB) string {
	t.Helper()
	line, err := s.out.ReadString('\n')
	require.NoError(t, err)
	return strings.TrimSpace(line)
}

// stop unmounts and checks that the server released everything and ended well.
func (s *server) stop(t testing.TB) {
	t.Helper()
	require.NoError(t, s.cmd.Process.Signal(unix.SIGTERM))
	s.wait(t)
}

func (s *server) wait(t testing.TB) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		_, _ = io.Copy(io.Discard, s.out)
		done <- s.cmd.Wait()
	}()
	select {
	case err := <-done:
		s.cmd = nil
		require.NoError(t, err, "the server's exit")
	case <-time.After(30 * time.Second):
		t.Fatal("the server does not end")
	}
}

func (s *server) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

func stat(t testing.TB, path string) unix.Stat_t {
	t.Helper()
	var st unix.Stat_t
	require.NoError(t, unix.Lstat(path, &st), "lstat %s", path)
	return st
}

// noLeftMount checks that nothing is mounted at dir.
func noLeftMount(t testing.TB, dir string) {
	t.Helper()
	require.NoError(t, unix.Rmdir(dir), "rmdir of the mount point")
}
