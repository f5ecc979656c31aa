package sefs

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/store"
	"cloister/fs/sefs/internal/volume"
	"cloister/vfs"
)

// IntegrityConfig says how BuildIntegrity builds an image. Nothing but Tree, Top, Mtime and Owner changes
// its bytes.
type IntegrityConfig struct {
	Tree TreeDir   // the tree; the caller closes it
	Top  TreeEntry // attributes of Tree itself; Name does not count

	// Mtime, in seconds since 1970, is the latest time that a file may have: times behind it become it.
	// Fractions of a second are dropped. The zero Mtime makes all times 0.
	Mtime int64
	Owner *vfs.Owner // of all files; nil: as the tree has them

	// Progress is called after each piece of work with the number of names and bytes
	// done since the last call; nil: not called.
	Progress func(entries, bytes int64)

	// Skipped is told of each file that an image cannot have, which is left out; nil: such
	// a file is an error.
	Skipped func(path string, err error)

	// OpenStore is as in Config.
	OpenStore func(dir string, access Access) (store.Store, error)
}

// BuildIntegrity makes an integrity-only image of a tree in an empty directory of the host. The same
// tree gives the same bytes, whatever the order of its directories, the host and the time. If it fails
// the directory is empty again.
//
// Kept are types, permission bits, owners, sizes, contents, names, which names are one file, targets of
// symbolic links, device numbers, times as IntegrityConfig.Mtime says, and the extended
// attributes "user." and "security.capability". Blocks of zeros become holes. The tree must not
// change meanwhile.
//
// Memory: about 400 bytes for each file, and 3 MiB for each processor.
//
// Errors: those of the tree; EINVAL if the directory is not empty; those of the host; ctx.
func BuildIntegrity(ctx context.Context, dir string, cfg IntegrityConfig) (result IntegrityResult, err error) {
	open := cfg.OpenStore
	if open == nil {
		open = openHost
	}
	st, err := open(dir, ReadWrite)
	if err != nil {
		return result, fmt.Errorf("sefs: image %q: %w", dir, err)
	}
	defer st.Close()
	load, err := volume.NewLoader(st)
	if err != nil {
		return result, fmt.Errorf("sefs: image %q: %w", dir, err)
	}
	b := &integrityBuild{cfg: cfg, load: load, linked: make(map[[2]uint64]*buildFile)}
	if err := b.run(ctx); err != nil {
		load.Discard()
		return b.result, err
	}
	return b.result, nil
}

// integrityBuild is one run of BuildIntegrity.
type integrityBuild struct {
	cfg    IntegrityConfig
	load   *volume.Loader
	root   *buildDir
	linked map[[2]uint64]*buildFile
	order  []*buildFile // by number
	result IntegrityResult

	buf     [2][]byte // for chains of entries
	entries []hashedEntry
}

func (b *integrityBuild) run(ctx context.Context) error {
	if err := b.scan(ctx); err != nil {
		return err
	}
	b.number()
	next := format.AppendNextIno(nil, format.FirstIno+uint64(len(b.order))-1)
	if err := b.load.Put(nextInoKey, next); err != nil {
		return err
	}
	if err := b.readAll(ctx); err != nil {
		return err
	}
	root, err := b.load.Finish()
	if err != nil {
		return err
	}
	b.result.Root = root
	return nil
}

// inodeItem returns the INODE item of f.
func (b *integrityBuild) inodeItem(f *buildFile, xattrs int, blocks int64) []byte {
	t := unix.Timespec{Sec: f.mtime}
	n := format.Inode{
		Mode: f.mode, UID: f.uid, GID: f.gid, Nlink: f.names, Xattrs: uint32(xattrs),
		Size: uint64(f.size), Blocks: uint64(blocks), Rdev: f.rdev,
		Atime: t, Mtime: t, Ctime: t, Btime: t,
	}
	if d := f.dir; d != nil {
		n.Nlink = 2 + d.subdirs
		n.Size = uint64(len(d.entries)) * format.DirentSize
		n.Parent = format.RootIno
		if d.parent != nil {
			n.Parent = d.parent.file.ino
		}
	}
	return n.Append(nil)
}

// putFile puts all items of a file whose data are at hand, none for other types than regular files.
func (b *integrityBuild) putFile(f *buildFile, data *blockRun, xattrs map[string][]byte) error {
	blocks := data.count()
	if f.dir != nil {
		xattrs = f.dir.xattrs
	}
	if err := b.load.Put(inodeKey(f.ino), b.inodeItem(f, len(xattrs), blocks)); err != nil {
		return err
	}
	var err error
	switch {
	case data.item != nil:
		err = b.load.Put(format.Key{Ino: f.ino, Type: format.TypeInline}, data.item)
	case blocks > 0:
		err = b.putBlocks(f, 0, data)
	case f.dir != nil:
		err = b.putEntries(f.dir)
	}
	if err == nil {
		err = b.putXattrs(f, xattrs)
	}
	if err == nil && f.kind() == unix.S_IFLNK {
		err = b.putTarget(f)
	}
	b.did(int64(f.names), min(f.size, blocks*format.BlockSize))
	return err
}

// did counts names and bytes of data that are done.
func (b *integrityBuild) did(names, bytes int64) {
	b.result.Bytes += bytes
	if b.cfg.Progress != nil {
		b.cfg.Progress(names, bytes)
	}
}

// putBlocks puts blocks of a file from block first on, which is a multiple of
// format.MaxHashExtent. No extent crosses such a multiple.
func (b *integrityBuild) putBlocks(f *buildFile, first int64, data *blockRun) error {
	var val [format.MaxValue]byte
	for i := 0; i < data.n; {
		if data.zero[i] {
			i++
			continue
		}
		run, most := 1, min(data.n-i, format.MaxHashExtent-i%format.MaxHashExtent, b.load.Room())
		for run < most && !data.zero[i+run] {
			run++
		}
		at, err := b.load.Blocks(data.bytes[i*format.BlockSize : (i+run)*format.BlockSize])
		if err != nil {
			return err
		}
		e := format.Extent{Ptr: at, Tags: data.hashes[i*hashSize : (i+run)*hashSize]}
		k := format.Key{Ino: f.ino, Type: format.TypeExtent, Off: uint64(first) + uint64(i)}
		if err := b.load.Put(k, format.AppendExtent(val[:0], e)); err != nil {
			return err
		}
		i += run
	}
	return nil
}
