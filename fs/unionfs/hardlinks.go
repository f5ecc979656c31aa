package unionfs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// hardlinks is the index of the copies of lower files with several names: a
// directory in the root of the upper layer with one link to each copy, named by
// the identity of the lower file. It is what keeps the names one file: a lower
// name leads to the copy by way of the index, without ever being copied up itself.
//
// The directory is hidden, but reserves no name: when a name is asked for that it has,
// it moves away (see FS.vacate). It is known by its mark.
type hardlinks struct {
	// mu is held shared from a look into the index until the inode table has been
	// updated, and exclusively to change the index.
	mu   sync.RWMutex
	dir  *layerFile // nil until it is needed
	name string
}

// indexOf returns the index directory of layer l, nil if it has none.
//
// Preconditions:
//   - links.mu is locked, or the union is being closed.
func (fs *FS) indexOf(l *layer) *layerFile {
	if l.isUpper() {
		return fs.links.dir
	}
	return l.index
}

// indexName is the name of a lower file's copy in the index.
func indexName(l *layer, ino uint64) string { return fmt.Sprintf("%016x-%016x", l.id, ino) }

// baseIndexName is the name that the index directory tries first.
const baseIndexName = ".overlay-index"

// indexIn returns the name of the index directory in a part of d, "" if there is none.
func (d *dir) indexIn(part *layerFile) string {
	switch {
	case d != d.fs.root:
		return ""
	case !part.layer.isUpper():
		return part.layer.indexName
	}
	d.fs.links.mu.RLock()
	defer d.fs.links.mu.RUnlock()
	return d.fs.links.name
}

// hardlinkOf returns the inode, pinned, of a lower file with several names. It
// takes over f.
func (fs *FS) hardlinkOf(ctx context.Context, f *layerFile) (unionInode, error) {
	fs.links.mu.RLock()
	defer fs.links.mu.RUnlock()
	f, k, err := fs.followIndexes(ctx, f)
	common := file{hardlink: true}
	if err == nil {
		err = common.loadLinkCount(ctx, f)
	}
	if err != nil {
		f.path.Put()
		return nil, err
	}
	return fs.fileInode(ctx, k, f, &common)
}

// followIndexes returns where a lower file with several names is now, and its identity. It
// takes over f. A lower layer has an index if it has been the upper one of a union of
// those below it.
//
// Preconditions:
//   - links.mu is locked, shared at least.
func (fs *FS) followIndexes(ctx context.Context, f *layerFile) (*layerFile, key, error) {
	var err error
	k := f.key()
	for i := len(fs.layers) - 1; i >= 0 && err == nil; i-- {
		if l := fs.layers[i]; l.isAbove(f.layer) {
			f, err = fs.followIndex(ctx, l, f)
		}
		if !f.layer.isUpper() {
			k = f.key()
		}
	}
	return f, k, err
}

// indexedBelow reports whether the index of a lower layer may tell about files of layer l.
func (fs *FS) indexedBelow(l *layer) bool {
	for _, above := range fs.layers {
		if !above.isUpper() && above.isAbove(l) && above.index != nil {
			return true
		}
	}
	return false
}

// followIndex returns what the index of layer l has in place of f; f itself if
// there is nothing. It takes over f.
func (fs *FS) followIndex(ctx context.Context, l *layer, f *layerFile) (*layerFile, error) {
	index := fs.indexOf(l)
	if index == nil {
		return f, nil
	}
	to, found, err := fs.lookupLayer(ctx, index, indexName(f.layer, f.ino))
	if err != nil || found != present {
		return f, err
	}
	f.path.Put()
	return to, nil
}

// copyUpHardlink makes the copy of a file with several names, in the index.
//
// Preconditions:
//   - copyMu is locked.
func (f *file) copyUpHardlink(ctx context.Context, c *fileCopy) (*layerFile, error) {
	fs := f.fs
	if err := fs.makeIndex(ctx); err != nil {
		return nil, err
	}
	names := int64(c.lower.nlink) + f.extra.Load()
	c.xattrs[xattrNlink] = linkCount{value: names - 1}.encode()
	if err := c.prepare(ctx, fs.links.dir.path); err != nil {
		return nil, err
	}
	fs.links.mu.Lock()
	defer fs.links.mu.Unlock()
	up, err := c.place(ctx, fs.links.dir.path, indexName(c.lower.layer, c.lower.ino))
	if err != nil {
		return nil, err
	}
	f.extra.Store(names - 1)
	f.setUpper(up)
	return up, nil
}

// nameCopy gives the copy of f a name in the upper part of d: name, which it has
// in a lower layer. That changes nothing that can be seen, and lets the name be
// renamed or removed in the upper layer.
//
// Preconditions:
//   - d is in the upper layer.
//   - The VFS has name locked.
func (f *file) nameCopy(ctx context.Context, d *dir, name string) error {
	up, err := f.copyUpWhole(ctx)
	if err != nil || !f.hardlink {
		return err
	}
	f.copyMu.Lock()
	defer f.copyMu.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	there, found, err := f.fs.lookupLayer(ctx, d.upper(), name)
	if err != nil {
		return err
	}
	if found == present {
		there.path.Put()
		return f.settleLinkCount(ctx, up)
	}
	restore, err := d.keepTimes(ctx)
	if err != nil {
		return err
	}
	defer restore()
	if err := d.markImpure(ctx); err != nil {
		return err
	}
	if err := f.fixLinkCount(ctx, up); err != nil {
		return err
	}
	p, err := vfs.Link(ctx, f.fs.cred, up.path, d.upper().path, name)
	if err == nil {
		p.Put()
		f.extra.Add(-1)
	}
	if settleErr := f.settleLinkCount(context.WithoutCancel(ctx), up); err == nil {
		err = settleErr
	}
	return err
}

// dropIndex removes the copy from the index once no name is left. What is not
// removed now, because of an error or a crash, is when the union is mounted again.
//
// Preconditions:
//   - copyMu is locked.
func (f *file) dropIndex(ctx context.Context) {
	up := f.upper()
	if !f.hardlink || up == nil {
		return
	}
	fs := f.fs
	err := func() error {
		attr, err := up.inode.Getattr(ctx, unix.STATX_NLINK)
		if err != nil || int64(attr.Nlink)+f.extra.Load() > 0 {
			return err
		}
		fs.links.mu.Lock()
		defer fs.links.mu.Unlock()
		if fs.links.dir == nil {
			return nil
		}
		err = vfs.Unlink(ctx, fs.cred, fs.links.dir.path, fs.indexNameOf(f.key))
		if errors.Is(err, unix.ENOENT) {
			return nil
		}
		return err
	}()
	if err != nil {
		fs.log.WarnContext(ctx, "unionfs: copy of a removed hard link kept until the next mount",
			slog.Uint64("ino", f.ino), slog.Any("error", vfs.WithoutPath(err)))
	}
}

func (fs *FS) indexNameOf(k key) string {
	for _, l := range fs.layers {
		if l.number == k.layer {
			return indexName(l, k.ino)
		}
	}
	return ""
}
