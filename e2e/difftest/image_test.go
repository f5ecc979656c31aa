package difftest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs"
	"cloister/fs/unionfs"
	"cloister/vfs"
)

// images are the SEFS images of a world, in a directory of the host.
type images struct {
	dir     string
	key     string
	sefs    *sefs.Type
	union   *unionfs.Type
	layers  int  // the last one is writable
	stacked bool // a union of them is the root; else the last one
	made    int  // for mounts below the root
	checked bool // are checked when they are closed
}

// newImages makes the empty directory dir for the images of a world. Worlds differ in how much is kept
// in memory and in whether commits come at any time, which must not show.
func newImages(dir string, world int, now func() time.Time) (*images, error) {
	if err := emptyDir(dir, 0o700); err != nil {
		return nil, err
	}
	key := make([]byte, 16)
	for i := range key {
		key[i] = byte(rand.Uint32())
	}
	cfg := sefs.Config{Now: now, CommitInterval: -1}
	if world&1 != 0 {
		cfg.CommitInterval = 2 * time.Millisecond
	}
	if world&2 != 0 {
		cfg.NodeCacheBytes, cfg.PageCacheBytes = 1<<20, 1<<20
	}
	im := &images{dir: dir, key: fmt.Sprintf("%x", key), sefs: sefs.NewType(cfg), checked: world%4 == 0}
	im.union = unionfs.NewType(unionfs.Config{Layers: im.sefs, Now: now})
	return im, im.addLayer()
}

func (im *images) addLayer() error {
	im.layers++
	return os.Mkdir(im.layer(im.layers-1), 0o700)
}

func (im *images) layer(n int) string { return filepath.Join(im.dir, fmt.Sprint(n)) }

// forMount returns the options for a mount of an empty image.
func (im *images) forMount() string {
	dir := filepath.Join(im.dir, fmt.Sprint("m", im.made))
	im.made++
	if err := os.Mkdir(dir, 0o700); err != nil {
		panic(err) // the end of the test
	}
	return "dir=" + dir + ",key=" + im.key
}

// bootImages makes a file system on the images the root.
func (l *libOS) bootImages() error {
	im := l.images
	ctx, cred := context.Background(), vfs.RootCred()
	top := im.layer(im.layers - 1)
	if !im.stacked {
		root, err := im.sefs.Mount(ctx, vfs.MountRequest{Cred: cred, Data: "dir=" + top + ",key=" + im.key})
		if err != nil {
			return err
		}
		return l.boot(root, "sefs")
	}
	var lower []string
	for n := im.layers - 2; n >= 0; n-- {
		lower = append(lower, im.layer(n))
	}
	root, err := im.union.Mount(ctx, vfs.MountRequest{
		Cred: cred, Data: "lowerdir=" + strings.Join(lower, ":") + ",upperdir=" + top + ",key=" + im.key,
	})
	if err != nil {
		return err
	}
	return l.boot(root, "unionfs")
}

// detachMounts leaves the root only. Each round reaches what lay below mounts that the one before took away.
func (l *libOS) detachMounts() error {
	view := l.ns.NewView(vfs.RootCred())
	defer view.Release()
	for left := len(view.Mounts()); left > 1; {
		var first error
		for _, m := range slices.Backward(view.Mounts()) {
			if m.Target == "/" {
				continue
			}
			err := view.Umount2(context.Background(), m.Target, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
			if err != nil && first == nil {
				first = fmt.Errorf("umount %s: %w", m.Target, err)
			}
		}
		before := left
		if left = len(view.Mounts()); left == before {
			return first
		}
	}
	return nil
}

// remount takes the root down and puts it up again. Nothing that calls show may change. With
// crash it is not unmounted: it is synced, and left as a kill leaves it, in use as it is.
func (l *libOS) remount(crash bool) error {
	if err := l.detachMounts(); err != nil {
		return err
	}
	if !crash {
		l.exitAll()
	}
	before, err := l.all()
	if err != nil {
		return err
	}
	ctx := context.Background()
	if crash {
		if err := l.ns.Sync(ctx); err != nil {
			return err
		}
		l.images.sefs.Abandon()
		l.exitAll()
		_ = l.ns.Close(ctx) // there is nothing any more
	} else if err := l.ns.Close(ctx); err != nil {
		return err
	}
	if err := l.bootImages(); err != nil {
		return err
	}
	after, err := l.all()
	if err != nil {
		return err
	}
	return changed(before, after)
}

// changed returns an error that shows where two listings differ.
func changed(before, after []byte) error {
	old, now := strings.Split(string(before), "\n"), strings.Split(string(after), "\n")
	for i := range min(len(old), len(now)) {
		if old[i] != now[i] {
			return fmt.Errorf("was:\n    %s\n  is:\n    %s\n: %w", old[i], now[i], unix.EUCLEAN)
		}
	}
	if len(old) != len(now) {
		return fmt.Errorf("%d lines were, %d are: %w", len(old), len(now), unix.EUCLEAN)
	}
	return nil
}

// nextLayer makes a new image the root.
func (l *libOS) nextLayer() error {
	return firstErr(l.close, l.images.addLayer, l.bootImages)
}

// stack makes a union of all images and an empty upper one the root.
func (l *libOS) stack() error {
	l.images.stacked = true
	return l.nextLayer()
}
