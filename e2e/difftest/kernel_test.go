package difftest

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	hostkernel "cloister/internal/kernel"
)

// kernel is the real kernel: some threads in a private mount namespace whose
// root is an empty directory.
type kernel struct {
	target  *target
	root    string // of the current world
	mounted bool
	layers  int       // of a union
	stacked bool      // and they are one now
	threads []*thread // the last one is the observer, which makes the dumps
}

// numTasks is the number of processes in a world.
const numTasks = 4

func newKernel(target *target, dir string) (*kernel, error) {
	k := &kernel{target: target, root: filepath.Join(dir, "root")}
	var mountNS int
	hostFD := func() error {
		fd, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		return moveFD(fd, hostRoot, unix.O_CLOEXEC)
	}
	for i := range numTasks + 1 {
		prepare := func() (err error) {
			if i > 0 {
				return firstErr(func() error { return unix.Setns(mountNS, unix.CLONE_NEWNS) }, hostFD)
			}
			return firstErr(hostkernel.PrivateMounts, hostFD)
		}
		t, err := newThread(k, i, prepare)
		if err != nil {
			k.close()
			return nil, fmt.Errorf("kernel: thread %d: %w", i, err)
		}
		k.threads = append(k.threads, t)
		if i == 0 {
			if mountNS, err = unix.Open(fmt.Sprintf("/proc/self/task/%d/ns/mnt", t.tid), unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
				k.close()
				return nil, fmt.Errorf("kernel: mount namespace: %w", err)
			}
			defer unix.Close(mountNS)
		}
	}
	return k, nil
}

func (k *kernel) close() {
	for _, t := range k.threads {
		t.stop()
	}
}

// restart makes a new world: an empty root, and all tasks as they begin.
func (k *kernel) restart() error {
	return k.threads[0].do(func() error {
		return k.rebuild(k.threads[0], func() error { return k.remount() })
	})
}

// rebuild ends all tasks, unmounts what they mounted, puts up the root by change, if
// that is not nil, and starts them in it. It runs on the thread self.
func (k *kernel) rebuild(self *thread, change func() error) error {
	onAll := func(root string) error {
		for _, t := range k.threads {
			f := func() error { return t.restart(root) }
			if t != self {
				g := f
				f = func() error { return t.do(g) }
			}
			if err := f(); err != nil {
				return err
			}
		}
		return nil
	}
	if err := onAll("/"); err != nil {
		return fmt.Errorf("kernel: leave the old root: %w", err)
	}
	if change == nil {
		change = k.again
	}
	if err := change(); err != nil {
		return fmt.Errorf("kernel: new root: %w", err)
	}
	if err := onAll(k.root); err != nil {
		return fmt.Errorf("kernel: enter the new root: %w", err)
	}
	return nil
}

// remount puts a new file system, or a new directory of the disk, at the root.
func (k *kernel) remount() error {
	if err := k.unmount(); err != nil {
		return err
	}
	if err := emptyDir(k.root, 0o755); err != nil {
		return err
	}
	if k.target.is(unionFS) {
		return k.firstLayer()
	}
	var err error
	if k.target.disk {
		// A mount of its own, so that its root is busy as that of a mount.
		err = unix.Mount(k.root, k.root, "", unix.MS_BIND, "")
	} else {
		err = unix.Mount("none", k.root, "tmpfs", 0, "mode=755")
	}
	k.mounted = err == nil
	return err
}

// unmount takes the root away, with what is mounted in it.
func (k *kernel) unmount() error {
	if !k.mounted {
		return nil
	}
	k.mounted = false
	return unix.Unmount(k.root, unix.MNT_DETACH)
}

// again puts up the same root, without what is mounted in it.
func (k *kernel) again() error {
	if k.stacked {
		return firstErr(k.unmount, k.mountStack)
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, k.root, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := k.unmount(); err != nil {
		return err
	}
	err = unix.MoveMount(fd, "", unix.AT_FDCWD, k.root, unix.MOVE_MOUNT_F_EMPTY_PATH)
	k.mounted = err == nil
	return err
}

// perform makes all calls of r.
func (k *kernel) perform(r *run) error {
	if err := k.restart(); err != nil {
		return err
	}
	r.linux.reset()
	if len(r.ops) == 0 {
		return nil
	}
	k.threads[r.ops[0].task].work <- job{run: r}
	<-r.performed
	return nil
}
