package vfs_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// Processes walk, create and rename while others mount, unmount and detach under them. In the
// end nothing is mounted, and all file systems are closed.
func TestMountStress(t *testing.T) {
	var mu sync.Mutex
	var made []*flaky
	typ := testType{name: "counted", mount: func(vfs.MountRequest) (vfs.FileSystem, error) {
		mu.Lock()
		defer mu.Unlock()
		made = append(made, newFlaky())
		return made[len(made)-1], nil
	}}
	w := newWorldConfig(t, vfs.Config{MaxDentries: 8, Types: []vfs.FileSystemType{typ}}, "/a", "/a/m", "/b")
	var wg sync.WaitGroup
	errs := make(chan error, 64)
	run := func(name string, seed uint64, step func(v *vfs.View, r *rand.Rand) error, allowed ...unix.Errno) {
		wg.Go(func() {
			v := w.v.Clone()
			defer v.Release()
			r := rand.New(rand.NewPCG(seed, 7))
			for range 400 {
				err := step(v, r)
				if err != nil && !errorIn(err, allowed) {
					errs <- fmt.Errorf("%s: %w", name, err)
					return
				}
			}
		})
	}
	for seed := range uint64(2) {
		run("mount", seed, func(v *vfs.View, r *rand.Rand) error {
			return v.Mount(w.ctx, "", []string{"/a/m", "/b/m"}[r.IntN(2)], "counted", 0, "")
		}, unix.ENOENT) // also if the target was in a mount that was detached meanwhile
		run("umount", seed, func(v *vfs.View, r *rand.Rand) error {
			return v.Umount2(w.ctx, []string{"/a/m", "/b/m"}[r.IntN(2)], []int{0, 0, unix.MNT_DETACH, unix.MNT_EXPIRE}[r.IntN(4)])
		}, unix.ENOENT, unix.EBUSY, unix.EINVAL, unix.EAGAIN)
		run("rename", seed, func(v *vfs.View, r *rand.Rand) error {
			if r.IntN(2) == 0 {
				return v.RenameAt(w.ctx, cwd, "/a/m", cwd, "/b/m", 0)
			}
			return v.RenameAt(w.ctx, cwd, "/b/m", cwd, "/a/m", 0)
		}, unix.ENOENT, unix.EBUSY)
		run("open", seed, func(v *vfs.View, r *rand.Rand) error {
			path := fmt.Sprintf("/a/m/f%d", r.IntN(3))
			f, err := v.OpenAt(w.ctx, cwd, path, vfs.OpenHow{Flags: unix.O_CREAT | unix.O_RDWR, Mode: 0o600})
			if err != nil {
				return err
			}
			_, err = f.Write(w.ctx, []byte("x"))
			return errors.Join(err, f.Close(w.ctx))
		}, unix.ENOENT)
		run("stat", seed, func(v *vfs.View, r *rand.Rand) error {
			_, _, err := v.GetattrAt(w.ctx, cwd, "/a/m/../m/f0", 0, unix.STATX_BASIC_STATS)
			_ = v.Mounts()
			return err
		}, unix.ENOENT)
		run("sync", seed, func(v *vfs.View, r *rand.Rand) error { return w.ns.Sync(w.ctx) })
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		w.ok(err, "stress")
	}
	for _, target := range []string{"/a/m", "/b/m"} {
		for w.umount(target, 0) == nil {
		}
	}
	require.Len(t, w.v.Mounts(), 1)
	for i, fs := range made {
		require.EqualValues(t, 1, fs.closed.Load(), "file system %d", i)
	}
}

func errorIn(err error, allowed []unix.Errno) bool {
	for _, e := range allowed {
		if vfs.Errno(err) == e {
			return true
		}
	}
	return false
}
