package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"

	"cloister/internal/fuseserver"
	"cloister/internal/instance"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// mounter holds the flags of one mount command.
type mounter struct {
	std          streams
	keys         keyFlags
	image, upper string
	readOnly     bool
	allowOther   bool
	target       string // absolute, without symbolic links
}

func newMount(std streams) *cobra.Command {
	m := &mounter{std: std}
	cmd := &cobra.Command{
		Use:   "mount --image IMG PATH",
		Short: "Mount an image as a Linux file system through FUSE",
		Long: "Mount an image at the directory PATH, for looking into it and for repairs.\n\n" +
			"With --upper, changes go to the layer DIR and IMG is only read; DIR is made if it is missing or empty.\n" +
			"Without --upper, changes go into IMG itself. With --read-only nothing is changed.\n\n" +
			"The command runs until Ctrl+C or umount PATH; then everything is made durable and the image is free again.",
		Example: "  cloister mount --image app.img --image-key app.key --upper changes /mnt",
		Args:    exactArgs("PATH"),
		RunE:    func(cmd *cobra.Command, args []string) error { return m.run(cmd, args[0]) },
	}
	f := cmd.Flags()
	f.StringVar(&m.image, "image", "", "directory `IMG` of the image")
	f.StringVar(&m.upper, "upper", "", "`DIR` for the changes")
	f.BoolVar(&m.readOnly, "read-only", false, "change nothing")
	f.BoolVar(&m.allowOther, "allow-other", false, "let other users in, as far as file modes allow")
	m.keys.register(cmd)
	m.keys.registerMAC(cmd)
	m.keys.registerSignTool(cmd)
	return cmd
}

func (m *mounter) run(cmd *cobra.Command, path string) (err error) {
	// From here on signals do not cancel: they unmount.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer signal.Stop(signals)
	ctx := context.WithoutCancel(cmd.Context())

	if err := m.check(cmd, path); err != nil {
		return err
	}
	key, platform, err := m.keys.load(cmd, m.std)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(m.std.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	cfg := instance.Config{Image: m.image, Upper: m.upper, ReadOnly: m.readOnly, Key: key, Platform: platform, MAC: m.keys.mac, Unpinned: true, Log: log}
	undo, err := m.makeUpper()
	if err != nil {
		key.Wipe()
		return err
	}
	i, err := instance.Open(ctx, cfg)
	key.Wipe()
	if err != nil {
		undo()
		return imageFailure(m.image, err)
	}
	defer func() {
		if e := i.Close(ctx); e != nil && err == nil {
			err = fail(exitImage, m.image, e, "the last changes may be lost")
		}
	}()
	server, err := fuseserver.New(fuseserver.Config{
		Root: i.Root(), Target: m.target, Source: m.image,
		ReadOnly: m.readOnly, AllowOther: m.allowOther, Log: log,
	})
	if err != nil {
		return fuseFailure(m.target, err)
	}
	return m.serve(server, signals)
}

// check looks at everything that can be wrong before anything is opened or changed.
func (m *mounter) check(cmd *cobra.Command, path string) error {
	if m.image == "" {
		return usage("--image is needed")
	}
	if cmd.Flags().Changed("upper") && m.upper == "" {
		return usage("--upper is empty")
	}
	if err := m.keys.check(cmd); err != nil {
		return err
	}
	if err := m.checkTarget(path); err != nil {
		return err
	}
	if err := isDir(m.image); err != nil {
		return err
	}
	if err := fuseserver.Check(); err != nil {
		return fuseFailure(path, err)
	}
	for _, dir := range []*string{&m.image, &m.upper} {
		if *dir == "" {
			continue
		}
		abs, err := resolve(*dir)
		if err != nil {
			return fail(exitImage, *dir, err, "")
		}
		*dir = abs
		// The image's files are opened by path; below the mount point those
		// would lead back into the server.
		if instance.Inside(m.target, abs) {
			return fail(exitMountPoint, path, unix.EINVAL, "it contains "+abs+"; choose another directory")
		}
		if instance.Inside(abs, m.target) {
			return fail(exitMountPoint, path, unix.EINVAL, "it lies inside "+abs+"; choose another directory")
		}
	}
	m.keys.locked = m.upper != ""
	return m.keys.checkHeader(m.std, m.image)
}

func (m *mounter) checkTarget(path string) error {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, unix.ENOTCONN):
		return fail(exitMountPoint, path, err, "a server died here; umount -l it first")
	case errors.Is(err, unix.ENOENT):
		return fail(exitMountPoint, path, unix.ENOENT, "make the directory first")
	case err != nil:
		return fail(exitMountPoint, path, err, "")
	case !st.IsDir():
		return fail(exitMountPoint, path, unix.ENOTDIR, "a mount point is a directory")
	}
	if m.target, err = resolve(path); err != nil {
		return fail(exitMountPoint, path, err, "")
	}
	return nil
}

// resolve makes a path absolute and free of symbolic links; its last component may be missing.
func resolve(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(abs)
	if errors.Is(err, unix.ENOENT) {
		dir, err := filepath.EvalSymlinks(filepath.Dir(abs))
		return filepath.Join(dir, filepath.Base(abs)), err
	}
	return real, err
}

// makeUpper makes the directory of the upper layer if it is missing. undo removes it again.
func (m *mounter) makeUpper() (undo func(), err error) {
	if m.upper == "" || m.readOnly {
		return func() {}, nil
	}
	err = os.Mkdir(m.upper, 0o700)
	switch {
	case errors.Is(err, unix.EEXIST):
		return func() {}, nil
	case err != nil:
		return nil, fail(exitImage, m.upper, err, "")
	}
	return func() { os.Remove(m.upper) }, nil
}

// serve answers requests until the file system is unmounted.
func (m *mounter) serve(server *fuseserver.Server, signals <-chan os.Signal) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.Serve()
	}()
	if err := server.WaitMount(); err != nil {
		_ = server.Detach() // it may be gone already
		<-done
		return fail(exitFUSE, m.target, err, "")
	}
	kind := "read-write"
	if m.readOnly {
		kind = "read-only"
	}
	if _, err := fmt.Fprintf(m.std.out, "mounted %s at %s (%s); Ctrl+C or umount ends it\n", m.image, m.target, kind); err != nil {
		// Nobody reads it; the mount is there all the same.
		fmt.Fprintf(m.std.err, "cloister: mount: standard output: %v\n", err)
	}
	busy := false
	for {
		select {
		case <-done:
			return nil
		case <-signals:
			busy = m.unmount(server, busy)
		}
	}
}

// unmount acts on a signal: the first tries to unmount; if files are in use, the next one detaches.
func (m *mounter) unmount(server *fuseserver.Server, busy bool) bool {
	if busy {
		if err := server.Detach(); err == nil {
			fmt.Fprintf(m.std.err, "cloister: mount: %s: detached; waiting for those who have files open\n", m.target)
		} else if !errors.Is(err, unix.EINVAL) { // EINVAL: no mount point any more
			fmt.Fprintf(m.std.err, "cloister: mount: %s: %v\n", m.target, err)
		}
		return true
	}
	err := server.Unmount()
	switch {
	case err == nil, errors.Is(err, unix.EINVAL):
		return false
	case errors.Is(err, unix.EBUSY):
		fmt.Fprintf(m.std.err, "cloister: mount: %s: in use; close the files and leave the directories below it, or signal again to detach it\n", m.target)
	default:
		fmt.Fprintf(m.std.err, "cloister: mount: %s: %v; signal again to detach it\n", m.target, err)
	}
	return true
}

func fuseFailure(path string, err error) error {
	if e, ok := errors.AsType[*fuseserver.MountError](err); ok {
		return &failure{code: exitFUSE, thing: path, reason: fmt.Sprintf("%s: %v", e.Cause, e.Err), next: e.Hint, err: err}
	}
	return fail(exitFUSE, path, err, "")
}
