package sefs_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/hostfs"
	"cloister/fs/ramfs"
	"cloister/fs/sefs"
	"cloister/fs/sefs/internal/store"
	"cloister/fs/unionfs"
	"cloister/internal/testenv"
	"cloister/vfs"
)

// failing makes one call on the host fail, counted from the arming over all images.
type failing struct {
	mu    sync.Mutex
	calls int
	at    int // 0: none
}

func (f *failing) arm(at int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls, f.at = 0, at
}

// hit reports whether the call that was to fail has been made.
func (f *failing) hit() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls >= f.at
}

func (f *failing) next() unix.Errno {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.calls++; f.calls == f.at {
		return unix.EIO
	}
	return 0
}

func (f *failing) open(dir string, access sefs.Access) (store.Store, error) {
	if e := f.next(); e != 0 {
		return nil, e
	}
	st, err := store.OpenHost(dir, access)
	if err != nil {
		return nil, err
	}
	return store.NewFaulty(st, func(int, store.Call) store.Fault { return store.Fault{Errno: f.next()} }), nil
}

// mountWorld is a namespace with every type that can be mounted, and the directories of the host that its mounts use.
type mountWorld struct {
	t    *testing.T
	ctx  context.Context
	base string // on the host
	fail failing
	late func() // called when a driver has made a file system, before that is attached
	ns   *vfs.Namespace
	view *vfs.View
}

// lateType calls something between the making of a file system and its attaching.
type lateType struct {
	vfs.FileSystemType
	w *mountWorld
}

func (l lateType) Mount(ctx context.Context, req vfs.MountRequest) (vfs.FileSystem, error) {
	fs, err := l.FileSystemType.Mount(ctx, req)
	if err == nil && l.w.late != nil {
		l.w.late()
	}
	return fs, err
}

func newMountWorld(t *testing.T, base string, maxMounts int) *mountWorld {
	w := &mountWorld{t: t, ctx: context.Background(), base: base}
	images := sefs.NewType(sefs.Config{OpenStore: w.fail.open})
	cfg := vfs.Config{Root: ramfs.New(ramfs.Config{}), RootType: "ramfs", MaxMounts: maxMounts}
	for _, typ := range []vfs.FileSystemType{
		ramfs.Type{}, hostfs.NewType(hostfs.Config{}), images, unionfs.NewType(unionfs.Config{Layers: images}),
	} {
		cfg.Types = append(cfg.Types, lateType{typ, w})
	}
	ns, err := vfs.New(cfg)
	require.NoError(t, err)
	w.ns, w.view = ns, ns.NewView(vfs.RootCred())
	require.NoError(t, w.mkdir("/m"))
	require.NoError(t, w.view.Mount(w.ctx, "", "/m", "ramfs", 0, ""))
	require.NoError(t, w.mkdir("/m/target"))
	return w
}

func (w *mountWorld) mkdir(path string) error { return w.view.MkdirAt(w.ctx, vfs.Path{}, path, 0o755) }

// close fails the test if there are mounts or files in use that should not be.
func (w *mountWorld) close(mounts int) {
	w.late = nil
	require.Len(w.t, w.view.Mounts(), mounts)
	w.view.Release()
	require.NoError(w.t, w.ns.Close(w.ctx))
}

// attempt is one way to mount something.
type attempt struct {
	name, fstype, data string // BASE in data stands for the directory of the host
	flags              uintptr
	recovers           bool // the image is recovered first, which stays done
}

var attempts = []attempt{
	{"ramfs", "ramfs", "", 0, false},
	{"hostfs", "hostfs", "dir=BASE/plain", 0, false},
	{"sefs new image", "sefs", "dir=BASE/empty,key=" + keyText, 0, false},
	{"sefs", "sefs", "dir=BASE/image,key=" + keyText, 0, false},
	{"sefs to be recovered", "sefs", "dir=BASE/crashed,key=" + keyText, 0, true},
	{"sefs read-only", "sefs", "dir=BASE/image,key=" + keyText, unix.MS_RDONLY, false},
	{"sefs empty and read-only", "sefs", "dir=BASE/empty,key=" + keyText, unix.MS_RDONLY, false},
	{"union new upper image", "unionfs", "lowerdir=BASE/image,upperdir=BASE/empty,key=" + keyText, 0, false},
	{"union unused upper image", "unionfs", "lowerdir=BASE/image,upperdir=BASE/other,key=" + keyText, 0, false},
	{"union used upper image", "unionfs", "lowerdir=BASE/image:BASE/other,upperdir=BASE/used,key=" + keyText, 0, false},
	{"union read-only", "unionfs", "lowerdir=BASE/image,upperdir=BASE/used,key=" + keyText, unix.MS_RDONLY, false},
}

func (a attempt) mount(w *mountWorld) error {
	data := strings.ReplaceAll(a.data, "BASE", w.base)
	return w.view.Mount(w.ctx, "", "/m/target", a.fstype, a.flags, data)
}

// copyDirs copies the directories that the attempt uses.
func (a attempt) copyDirs(t *testing.T, pristine string) string {
	base := t.TempDir()
	for _, dir := range hostNames {
		if strings.Contains(a.data, "BASE/"+dir) {
			require.NoError(t, os.CopyFS(filepath.Join(base, dir), os.DirFS(filepath.Join(pristine, dir))))
		}
	}
	return base
}

var hostNames = []string{"plain", "empty", "image", "other", "used", "crashed"}

// hostDirs makes what the attempts need on the host.
func hostDirs(t *testing.T) string {
	base := t.TempDir()
	for _, dir := range hostNames {
		require.NoError(t, os.Mkdir(filepath.Join(base, dir), 0o755))
	}
	require.NoError(t, os.WriteFile(filepath.Join(base, "plain/f"), []byte("f"), 0o644))
	w := newMountWorld(t, base, 0)
	fill := func() {
		for i := range 3 {
			dir := fmt.Sprintf("/m/target/d%d", i)
			require.NoError(t, w.mkdir(dir))
			f, err := w.view.OpenAt(w.ctx, vfs.Path{}, dir+"/f", vfs.OpenHow{Flags: unix.O_CREAT | unix.O_WRONLY, Mode: 0o644})
			require.NoError(t, err)
			_, err = f.Write(w.ctx, make([]byte, 10000))
			require.NoError(t, err)
			require.NoError(t, f.Fsync(w.ctx, false))
			require.NoError(t, f.Close(w.ctx))
		}
	}
	for _, a := range []attempt{
		{"", "sefs", "dir=BASE/image,key=" + keyText, 0, false},
		{"", "sefs", "dir=BASE/other,key=" + keyText, 0, false},
		{"", "unionfs", "lowerdir=BASE/image:BASE/other,upperdir=BASE/used,key=" + keyText, 0, false},
	} {
		require.NoError(t, a.mount(w))
		if !strings.Contains(a.data, "other,") {
			fill()
		}
		require.NoError(t, w.view.Umount2(w.ctx, "/m/target", 0))
	}
	w.close(2)

	typ := sefs.NewType(sefs.Config{CommitInterval: -1})
	fsys, err := mount(t, typ, "dir="+base+"/crashed,key="+keyText, 0)
	require.NoError(t, err)
	for i := range 5 {
		_, err := fsys.Root().Mkdir(t.Context(), fmt.Sprint("d", i), vfs.CreateAttr{Mode: 0o755})
		require.NoError(t, err)
		require.NoError(t, fsys.Sync(t.Context()))
	}
	typ.Abandon()
	return base
}

// TestMountAllOrNothing: whichever call on the host fails, a mount that fails has done nothing: there is no mount, no
// descriptor, no goroutine, and no change on the host, and the same can be mounted afterwards.
func TestMountAllOrNothing(t *testing.T) {
	pristine := hostDirs(t)
	step := 1
	if raceDetector {
		step = 3 // the run without it has them all
	}
	for _, a := range attempts {
		t.Run(a.name, func(t *testing.T) {
			failed := 0
			for at := 1; ; at += step {
				more := false
				t.Run(fmt.Sprint("call ", at), func(t *testing.T) {
					testenv.CheckLeaks(t)
					base := a.copyDirs(t, pristine)
					before := content(t, base)
					w := newMountWorld(t, base, 0)
					w.fail.arm(at)
					err := a.mount(w)
					more = w.fail.hit()
					w.fail.arm(0)
					if err != nil {
						failed++
						require.ErrorIs(t, err, unix.EIO)
						require.Len(t, w.view.Mounts(), 2)
						a.sameContent(t, before, content(t, base))
						require.NoError(t, a.mount(w), "mounted afterwards")
						if a.recovers {
							p, err := w.view.Walk(w.ctx, vfs.Path{}, "/m/target/d4", 0)
							require.NoError(t, err)
							p.Put()
						}
					}
					w.close(3)
				})
				if !more || t.Failed() {
					break
				}
			}
			t.Log(failed, "failures")
		})
	}
}

// sameContent names the files that differ.
func (a attempt) sameContent(t *testing.T, before, after map[string]string) {
	t.Helper()
	if a.recovers {
		return
	}
	for name, data := range before {
		got, ok := after[name]
		require.True(t, ok, "%s is gone", name)
		require.True(t, got == data, "%s has changed", name)
	}
	for name := range after {
		_, ok := before[name]
		require.True(t, ok, "%s is new", name)
	}
}

// TestMountTooLate: a mount whose target goes while its file system is being made does nothing either.
func TestMountTooLate(t *testing.T) {
	pristine := hostDirs(t)
	for name, c := range map[string]struct {
		maxMounts int
		late      func(w *mountWorld) error
		want      unix.Errno
		mounts    int
	}{
		"target removed": {0, func(w *mountWorld) error { return w.view.RmdirAt(w.ctx, vfs.Path{}, "/m/target") }, unix.ENOENT, 2},
		"mount of the target detached": {0, func(w *mountWorld) error {
			return w.view.Umount2(w.ctx, "/m", unix.MNT_DETACH)
		}, unix.ENOENT, 1},
		"too many mounts": {2, func(*mountWorld) error { return nil }, unix.ENOSPC, 2},
		"namespace closed": {0, func(w *mountWorld) error {
			require.ErrorIs(w.t, w.ns.Close(w.ctx), unix.EBUSY)
			return nil
		}, unix.EINVAL, 0},
	} {
		for _, a := range attempts {
			t.Run(name+"/"+a.name, func(t *testing.T) {
				testenv.CheckLeaks(t)
				base := a.copyDirs(t, pristine)
				before := content(t, base)
				w := newMountWorld(t, base, c.maxMounts)
				w.late = func() { require.NoError(t, c.late(w)) }
				require.ErrorIs(t, a.mount(w), c.want)
				a.sameContent(t, before, content(t, base))
				if c.mounts > 0 {
					w.close(c.mounts)
				}
			})
		}
	}
}
