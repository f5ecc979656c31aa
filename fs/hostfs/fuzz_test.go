package hostfs_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/hostfs"
	"cloister/vfs"
)

// randomHost answers every call with what comes next in its input.
type randomHost struct{ data []byte }

func (h *randomHost) byte() byte {
	if len(h.data) == 0 {
		return 0
	}
	b := h.data[0]
	h.data = h.data[1:]
	return b
}

func (h *randomHost) uint64() (n uint64) {
	for range 8 {
		n = n<<8 | uint64(h.byte())
	}
	return n
}

// number is a small one, an edge, or any.
func (h *randomHost) number() int64 {
	switch b := h.byte(); {
	case b < 128:
		return int64(b)
	case b < 160:
		return [...]int64{-1, math.MaxInt64, math.MinInt64, 1 << 31, 4096, 4097, 65536, 65537}[b&7]
	}
	return int64(h.uint64())
}

func (h *randomHost) err() error {
	switch b := h.byte(); {
	case b < 200:
		return nil
	case b == 255:
		return errors.New("no errno")
	case b == 254:
		return unix.Errno(h.uint64())
	}
	return unix.Errno(h.byte())
}

func (h *randomHost) fd() (hostfs.FD, error) { return hostfs.FD(h.number()), h.err() }

func (h *randomHost) fill(buf []byte) (int, error) {
	for i := range min(len(buf), len(h.data), int(h.byte())) {
		buf[i] = h.byte()
	}
	return int(h.number()), h.err()
}

func (h *randomHost) Caps() hostfs.Caps                    { return ^hostfs.Caps(0) }
func (h *randomHost) OpenRoot(string) (hostfs.FD, error)   { return h.fd() }
func (h *randomHost) OpenDir(hostfs.FD) (hostfs.FD, error) { return h.fd() }
func (h *randomHost) OpenPath(hostfs.FD, string) (hostfs.FD, error) {
	return h.fd()
}
func (h *randomHost) OpenFile(hostfs.FD, string, int) (hostfs.FD, error)  { return h.fd() }
func (h *randomHost) Reopen(hostfs.FD, int) (hostfs.FD, error)            { return h.fd() }
func (h *randomHost) Create(hostfs.FD, string, uint32) (hostfs.FD, error) { return h.fd() }
func (h *randomHost) Close(hostfs.FD) error                               { return h.err() }

func (h *randomHost) Stat(hostfs.FD, string) (unix.Statx_t, error) {
	types := [...]uint16{unix.S_IFREG, unix.S_IFDIR, unix.S_IFDIR, unix.S_IFLNK, unix.S_IFIFO, unix.S_IFCHR, 0, 0xf000}
	st := unix.Statx_t{
		Mask: uint32(h.number()), Mode: types[h.byte()&7] | uint16(h.byte()), Nlink: uint32(h.number()),
		Uid: uint32(h.number()), Ino: uint64(h.byte() & 3), Size: uint64(h.number()), Blocks: uint64(h.number()),
		Blksize: uint32(h.number()), Mtime: unix.StatxTimestamp{Sec: h.number(), Nsec: uint32(h.number())},
	}
	return st, h.err()
}

func (h *randomHost) StatBeneath(dir hostfs.FD, path string) (unix.Statx_t, error) {
	return h.Stat(dir, path)
}

func (h *randomHost) Statfs(hostfs.FD) (unix.Statfs_t, error) {
	return unix.Statfs_t{
		Bsize: h.number(), Frsize: h.number(), Blocks: uint64(h.number()), Bfree: uint64(h.number()),
		Bavail: uint64(h.number()), Files: uint64(h.number()), Ffree: uint64(h.number()), Namelen: h.number(),
	}, h.err()
}

func (h *randomHost) Readlink(_ hostfs.FD, _ string, buf []byte) (int, error)   { return h.fill(buf) }
func (h *randomHost) Getdents(_ hostfs.FD, buf []byte) (int, error)             { return h.fill(buf) }
func (h *randomHost) Mkdir(hostfs.FD, string, uint32) error                     { return h.err() }
func (h *randomHost) Symlink(string, hostfs.FD, string) error                   { return h.err() }
func (h *randomHost) Link(hostfs.FD, string, hostfs.FD, string) error           { return h.err() }
func (h *randomHost) Unlink(hostfs.FD, string) error                            { return h.err() }
func (h *randomHost) Rmdir(hostfs.FD, string) error                             { return h.err() }
func (h *randomHost) Rename(hostfs.FD, string, hostfs.FD, string, uint32) error { return h.err() }
func (h *randomHost) Pread(_ hostfs.FD, p []byte, _ int64) (int, error)         { return h.fill(p) }
func (h *randomHost) Pwrite(hostfs.FD, []byte, int64) (int, error)              { return int(h.number()), h.err() }
func (h *randomHost) Append(hostfs.FD, []byte) (int, int64, error) {
	return int(h.number()), h.number(), h.err()
}
func (h *randomHost) Seek(hostfs.FD, int64, int) (int64, error)               { return h.number(), h.err() }
func (h *randomHost) Truncate(hostfs.FD, int64) error                         { return h.err() }
func (h *randomHost) Fallocate(hostfs.FD, uint32, int64, int64) error         { return h.err() }
func (h *randomHost) Fsync(hostfs.FD, bool) error                             { return h.err() }
func (h *randomHost) Chmod(hostfs.FD, uint32) error                           { return h.err() }
func (h *randomHost) Chown(hostfs.FD, int, int) error                         { return h.err() }
func (h *randomHost) Utimes(hostfs.FD, [2]unix.Timespec) error                { return h.err() }
func (h *randomHost) Getxattr(_ hostfs.FD, _ string, buf []byte) (int, error) { return h.fill(buf) }
func (h *randomHost) Setxattr(hostfs.FD, string, []byte, int) error           { return h.err() }
func (h *randomHost) Listxattr(_ hostfs.FD, buf []byte) (int, error)          { return h.fill(buf) }
func (h *randomHost) Removexattr(hostfs.FD, string) error                     { return h.err() }

// passable are the errno that may reach a caller.
var passable = map[unix.Errno]bool{
	unix.ENOENT: true, unix.EEXIST: true, unix.ENOTDIR: true, unix.EISDIR: true, unix.ENOTEMPTY: true, unix.EACCES: true,
	unix.EPERM: true, unix.EROFS: true, unix.ENOSPC: true, unix.EDQUOT: true, unix.EFBIG: true, unix.EMFILE: true, unix.ENFILE: true,
	unix.EIO: true, unix.EXDEV: true, unix.ELOOP: true, unix.ENAMETOOLONG: true, unix.EBUSY: true, unix.EMLINK: true, unix.ETXTBSY: true,
	unix.ESTALE: true, unix.ENXIO: true, unix.EOPNOTSUPP: true, unix.EINVAL: true, unix.ENODATA: true, unix.ERANGE: true, unix.E2BIG: true,
}

// caller uses a file system as the VFS does, and checks what it returns.
type caller struct {
	t   *testing.T
	ctx context.Context
	fs  vfs.FileSystem
}

func (c caller) check(err error) bool {
	if err != nil {
		require.True(c.t, passable[vfs.Errno(err)], "%v", err)
	}
	return err == nil
}

func (c caller) attr(i vfs.Inode) {
	a, err := i.Getattr(c.ctx, unix.STATX_BASIC_STATS)
	if !c.check(err) {
		return
	}
	require.GreaterOrEqual(c.t, a.Size, int64(0))
	require.GreaterOrEqual(c.t, a.Blocks, int64(0))
	require.Less(c.t, a.Mtime.Nsec, int64(1e9))
	require.NotZero(c.t, a.Ino)
	require.Contains(c.t, []uint32{unix.S_IFREG, unix.S_IFDIR, unix.S_IFLNK, unix.S_IFIFO, unix.S_IFCHR}, a.Mode&unix.S_IFMT)
	require.False(c.t, a.IsWhiteout())
}

func (c caller) use(i vfs.Inode) {
	c.attr(i)
	c.check(i.Setattr(c.ctx, vfs.SetAttr{Mask: unix.STATX_MODE | unix.STATX_MTIME | unix.STATX_UID, Mode: 0o600}))
	c.check(i.Setattr(c.ctx, vfs.SetAttr{Mask: unix.STATX_ATIME, Atime: unix.Timespec{Sec: 1 << 40}}))
	c.xattrs(i.Xattrs())
	switch i := i.(type) {
	case vfs.Symlink:
		target, err := i.Readlink(c.ctx)
		if c.check(err) {
			require.NotEmpty(c.t, target)
			require.Less(c.t, len(target), 4096)
		}
	case vfs.Regular:
		c.check(i.Setattr(c.ctx, vfs.SetAttr{Mask: unix.STATX_SIZE, Size: 5}))
		h, err := i.Open(c.ctx, unix.O_RDWR)
		if c.check(err) {
			c.data(h)
		}
	}
}

func (c caller) xattrs(x vfs.Xattrs) {
	if x == nil {
		return
	}
	v, err := x.Getxattr(c.ctx, "user.x")
	c.check(err)
	require.LessOrEqual(c.t, len(v), 65536)
	c.check(x.Setxattr(c.ctx, "user.x", []byte("v"), 0))
	names, err := x.Listxattr(c.ctx)
	c.check(err)
	for _, name := range names {
		require.True(c.t, strings.HasPrefix(name, "user.") && len(name) <= 255, "%q", name)
	}
	c.check(x.Removexattr(c.ctx, "user.x"))
}

// data uses an open file, and closes it.
func (c caller) data(h vfs.Handle) {
	buf := make([]byte, 300)
	n, err := h.ReadAt(c.ctx, buf, 0)
	c.check(err)
	require.LessOrEqual(c.t, n, len(buf))
	n, err = h.WriteAt(c.ctx, buf, 7)
	require.True(c.t, c.check(err) == (n == len(buf)))
	n, end, err := h.Append(c.ctx, buf)
	if c.check(err) {
		require.Equal(c.t, len(buf), n)
		require.Positive(c.t, end)
	}
	at, err := h.Seek(c.ctx, 10, unix.SEEK_DATA)
	if c.check(err) {
		require.GreaterOrEqual(c.t, at, int64(10))
	}
	c.check(h.Fallocate(c.ctx, 0, 0, 10))
	c.check(h.Fsync(c.ctx, true))
	c.check(c.fs.Sync(c.ctx)) // with a file that is open for writing
	c.check(h.Release(c.ctx))
}

func (c caller) list(d vfs.Dir) {
	h, err := d.OpenDir(c.ctx)
	if !c.check(err) {
		return
	}
	for range 2 { // the second time from the beginning again
		seen, last := map[string]bool{}, uint64(0)
		c.check(h.ReadDir(c.ctx, 0, func(e vfs.Dirent) bool {
			require.False(c.t, seen[e.Name], "%q twice", e.Name)
			require.NotContains(c.t, []string{"", ".", ".."}, e.Name)
			require.GreaterOrEqual(c.t, e.Pos, uint64(3))
			require.Greater(c.t, e.Pos, last)
			seen[e.Name], last = true, e.Pos
			return true
		}))
	}
	c.check(h.Fsync(c.ctx, false))
	c.check(h.Release(c.ctx))
}

// FuzzHost: no answer of the host makes the driver panic, loop, or return what cannot be.
func FuzzHost(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 0, 0, 1, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0})
	seed := make([]byte, 4096)
	for k := range 8 {
		for i := range seed {
			seed[i] = byte(i*i*(k+3) + i>>3*k)
		}
		f.Add(append([]byte(nil), seed...))
	}
	f.Fuzz(func(t *testing.T, data []byte) { useRandomHost(t, data, nil) })
}

// TestFuzzHostCalls: the fuzz target makes every call that there is.
func TestFuzzHostCalls(t *testing.T) {
	seen := map[string]bool{}
	note := func(call string) error { seen[call] = true; return nil }
	all := reflect.TypeFor[hostfs.Host]().NumMethod() - 1 // without Caps
	r := rand.New(rand.NewPCG(1, 2))
	for run := 0; len(seen) < all; run++ {
		require.Less(t, run, 5000, "%d of %d calls: %v", len(seen), all, seen)
		data := make([]byte, 4096)
		for i := range data {
			data[i] = byte(r.Uint32() & r.Uint32()) // mostly calls that succeed
		}
		useRandomHost(t, data, note)
	}
}

// useRandomHost uses a file system whose host answers with data; note, if not nil, sees each call.
func useRandomHost(t *testing.T, data []byte, note func(call string) error) {
	random := &randomHost{data}
	h := &hookHost{Host: random, call: note}
	ctx := context.Background()
	flags := uintptr(unix.MS_DIRSYNC) * uintptr(random.byte()&1)
	fs, err := hostfs.NewType(hostfs.Config{Host: h}).Mount(ctx, vfs.MountRequest{Data: "dir=/x", Flags: flags})
	c := caller{t, ctx, fs}
	if !c.check(err) {
		return
	}
	root := fs.Root()
	dirs, files := []vfs.Dir{root}, []vfs.Inode{}
	for step := 0; len(random.data) > 0 && step < 200; step++ {
		d := dirs[step%len(dirs)]
		name := string(rune('a' + step%3))
		var made vfs.Inode
		var err error
		switch random.byte() % 12 {
		case 0, 1:
			made, err = d.Lookup(ctx, name)
		case 2:
			made, err = d.Create(ctx, name, vfs.CreateAttr{Mode: 0o4755, UID: 7})
		case 3:
			made, err = d.Mkdir(ctx, name, vfs.CreateAttr{Mode: 0o755})
		case 4:
			made, err = d.Symlink(ctx, name, "x", vfs.CreateAttr{})
		case 5:
			c.list(d)
		case 6:
			st, err := fs.Statfs(ctx)
			if c.check(err) {
				require.LessOrEqual(t, st.Bavail, st.Blocks)
				require.Positive(t, st.Bsize)
			}
			c.check(fs.Sync(ctx))
		case 7:
			root.(vfs.Revalidator).RevalidatePath(ctx, name, d)
		default:
			if len(files) > 0 {
				c.change(d, name, files[step%len(files)], files[0], random.byte())
			}
		}
		if c.check(err) && made != nil {
			files = append(files, made)
			c.use(made)
			if d, ok := made.(vfs.Dir); ok {
				dirs = append(dirs, d)
			}
		}
	}
	for _, i := range files {
		c.check(vfs.UnpinInode(ctx, i))
	}
	c.check(fs.Close(ctx, vfs.ForceClose))
}

// change does something to i, which is called name in d.
func (c caller) change(d vfs.Dir, name string, i, other vfs.Inode, what byte) {
	switch what % 8 {
	case 0:
		c.use(i)
	case 1:
		c.check(d.Unlink(c.ctx, name, i))
	case 2:
		c.check(d.Link(c.ctx, name, i))
	case 3, 4:
		r := vfs.Rename{OldName: name, Child: i, NewDir: c.fs.Root(), NewName: "z", Target: other}
		if i == other {
			r.Target = nil
		}
		if _, dir := other.(vfs.Dir); !dir && r.Target != nil { // else it could get into itself, which the VFS prevents
			r.Flags = uint32(what&8) / 8 * unix.RENAME_EXCHANGE
		}
		c.check(d.Rename(c.ctx, r))
	case 5:
		if child, ok := i.(vfs.Dir); ok {
			c.check(d.Rmdir(c.ctx, name, child))
		}
	case 6: // what has lost its name is opened by what is left of it
		c.check(d.Unlink(c.ctx, name, i))
		if f, ok := i.(vfs.Regular); ok {
			h, err := f.Open(c.ctx, unix.O_RDONLY)
			if c.check(err) {
				c.check(h.Release(c.ctx))
			}
		}
	case 7:
		a, ok := d.(vfs.Revalidator).Revalidate(c.ctx, name, i)
		require.True(c.t, !ok || a.Mask == 0 || a.Ino != 0)
	}
}
