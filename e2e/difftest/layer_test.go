package difftest

import (
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A world of unions begins as one or two plain layers, one after the other, which the
// calls fill. Then they are stacked below an empty upper one.

// imageCalls are the names of what is done to the roots of such worlds, and of
// worlds on SEFS.
var imageCalls = map[callNr]string{
	callSyncfs:  "syncfs",
	callSync:    "sync",
	callRemount: "/* all exit; umount and mount of the root */ remount",
	callCrash:   "/* sync; all are killed; mount of the root */ crash",
	callLayer:   "/* all exit; this is a lower layer, the root a new one */ layer",
	callStack:   "/* all exit; the root is the union of all layers */ stack",
}

// base is a tmpfs that holds the layers of a world.
func (k *kernel) base() string { return filepath.Join(filepath.Dir(k.root), "base") }

func (k *kernel) layer(n int) string { return filepath.Join(k.base(), fmt.Sprint(n)) }

// firstLayer begins a world.
func (k *kernel) firstLayer() error {
	if k.layers > 0 {
		if err := unix.Unmount(k.base(), unix.MNT_DETACH); err != nil {
			return err
		}
	}
	k.layers, k.stacked = 0, false
	return firstErr(
		func() error { return emptyDir(k.base(), 0o755) },
		func() error { return unix.Mount("none", k.base(), "tmpfs", 0, "mode=755") },
		k.nextLayer,
	)
}

// nextLayer makes an empty directory the root.
func (k *kernel) nextLayer() error {
	layer := k.layer(k.layers)
	k.layers++
	return firstErr(
		func() error { return emptyDir(layer, 0o755) },
		k.unmount,
		func() error {
			err := unix.Mount(layer, k.root, "", unix.MS_BIND, "")
			k.mounted = err == nil
			return err
		},
	)
}

// stack puts a new upper layer on all layers. It gets the attributes of the root below,
// which overlayfs leaves to whoever makes it.
func (k *kernel) stack() error {
	upper, below := k.layer(k.layers), k.layer(k.layers-1)
	k.layers++
	k.stacked = true
	return firstErr(
		func() error { return emptyDir(upper, 0o755) },
		func() error { return copyAttributes(below, upper) },
		func() error { return emptyDir(k.base()+"/work", 0o755) },
		k.unmount,
		k.mountStack,
	)
}

func (k *kernel) mountStack() error {
	var lower []string
	for n := k.layers - 2; n >= 0; n-- {
		lower = append(lower, k.layer(n))
	}
	data := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s/work,index=on,redirect_dir=off,metacopy=off",
		strings.Join(lower, ":"), k.layer(k.layers-1), k.base())
	err := unix.Mount("none", k.root, "overlay", 0, data)
	k.mounted = err == nil
	return err
}

// copyAttributes gives directory to what directory from has.
func copyAttributes(from, to string) error {
	var st unix.Stat_t
	if err := unix.Stat(from, &st); err != nil {
		return err
	}
	names := make([]byte, 1<<16)
	n, err := unix.Listxattr(from, names)
	if err != nil {
		return err
	}
	value := make([]byte, 1<<16)
	for name := range strings.SplitSeq(string(names[:n]), "\x00") {
		if name == "" {
			continue
		}
		size, err := unix.Getxattr(from, name, value)
		if err != nil {
			return err
		}
		if err := unix.Setxattr(to, name, value[:size], 0); err != nil {
			return err
		}
	}
	return firstErr(
		func() error { return unix.Chown(to, int(st.Uid), int(st.Gid)) },
		func() error { return unix.Chmod(to, st.Mode&0o7777) },
		func() error { return unix.UtimesNano(to, []unix.Timespec{st.Atim, st.Mtim}) },
	)
}
