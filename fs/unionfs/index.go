package unionfs

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// findIndexes finds the index directories in the roots of the layers, and cleans
// up the upper one.
func (fs *FS) findIndexes(ctx context.Context) error {
	for _, l := range fs.layers {
		root, _, err := newLayerFile(ctx, l, l.root.Get())
		if err != nil {
			return err
		}
		index, name, err := fs.findIndex(ctx, root)
		root.path.Put()
		switch {
		case err != nil:
			return err
		case index == nil:
		case l.isUpper():
			fs.links.dir, fs.links.name = index, name
		default:
			l.index, l.indexName = index, name
		}
	}
	if fs.links.dir == nil || !fs.writable.Load() {
		return nil
	}
	return fs.cleanIndex(ctx)
}

// findIndex returns the directory in root that is marked as the index, or nil.
func (fs *FS) findIndex(ctx context.Context, root *layerFile) (*layerFile, string, error) {
	if root.inode.Xattrs() == nil {
		return nil, "", nil
	}
	var dirs []string
	err := fs.readLayer(ctx, root, func(e vfs.Dirent) bool {
		if e.Type == unix.DT_DIR || e.Type == unix.DT_UNKNOWN {
			dirs = append(dirs, e.Name)
		}
		return true
	})
	if err != nil {
		return nil, "", err
	}
	for _, name := range dirs {
		f, found, err := fs.lookupLayer(ctx, root, name)
		if err != nil {
			return nil, "", err
		}
		if found != present {
			continue
		}
		isIndex, err := marked(ctx, f, xattrIndex)
		if isIndex && f.isDir() {
			return f, name, nil
		}
		f.path.Put()
		if err != nil {
			return nil, "", err
		}
	}
	return nil, "", nil
}

// cleanIndex removes the copies that a crash has left without a name.
func (fs *FS) cleanIndex(ctx context.Context) error {
	var names []string
	err := fs.readLayer(ctx, fs.links.dir, func(e vfs.Dirent) bool {
		names = append(names, e.Name)
		return true
	})
	if err != nil {
		return err
	}
	for _, name := range names {
		f, found, err := fs.lookupLayer(ctx, fs.links.dir, name)
		if err != nil {
			return err
		}
		if found != present {
			continue
		}
		var c file
		err = c.loadLinkCount(ctx, f)
		f.path.Put()
		if err == nil && c.hardlink && int64(f.nlink)+c.extra.Load() <= 0 {
			err = vfs.Unlink(ctx, fs.cred, fs.links.dir.path, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// makeIndex makes the index directory unless there is one. It stays from then on.
func (fs *FS) makeIndex(ctx context.Context) error {
	fs.links.mu.RLock()
	exists := fs.links.dir != nil
	fs.links.mu.RUnlock()
	if exists {
		return nil
	}
	fs.root.mu.Lock()
	defer fs.root.mu.Unlock()
	fs.links.mu.Lock()
	defer fs.links.mu.Unlock()
	if fs.links.dir != nil {
		return nil
	}
	name, err := fs.freeName(ctx)
	if err != nil {
		return err
	}
	restore, err := fs.root.keepTimes(ctx)
	if err != nil {
		return err
	}
	defer restore()
	p, err := vfs.Mkdir(ctx, fs.cred, fs.upper.root, name, 0o700, vfs.CreateOptions{
		ExactMode: true,
		Xattrs:    map[string][]byte{xattrIndex: xattrYes},
	})
	if err != nil {
		return err
	}
	fs.links.dir, fs.links.name = fs.upperFile(p), name
	return nil
}

// freeName returns a name that no layer has in its root, not even as a whiteout.
//
// Preconditions:
//   - root.mu is locked.
func (fs *FS) freeName(ctx context.Context) (string, error) {
	const tries = 1000
	name := baseIndexName
	for i := range tries {
		if i > 0 {
			name = fmt.Sprintf("%s.%d", baseIndexName, i)
		}
		free := true
		for _, l := range fs.layers {
			p, err := vfs.Lookup(ctx, fs.cred, l.root, name)
			if err == nil {
				p.Put()
				free = false
				break
			}
			if !errors.Is(err, unix.ENOENT) {
				return "", err
			}
		}
		if free {
			return name, nil
		}
	}
	return "", unix.EEXIST
}

// vacate moves the index directory out of the way if name in d is its name, which somebody is
// about to use.
//
// Preconditions:
//   - d is in the upper layer.
//   - d.mu is locked.
func (fs *FS) vacate(ctx context.Context, d *dir, name string) error {
	if name == "" || name != d.indexIn(d.upper()) {
		return nil
	}
	fs.links.mu.Lock()
	defer fs.links.mu.Unlock()
	to, err := fs.freeName(ctx)
	if err != nil {
		return err
	}
	err = vfs.Renameat(ctx, fs.cred, fs.upper.root, name, fs.upper.root, to, unix.RENAME_NOREPLACE)
	if err != nil {
		return err
	}
	fs.links.name = to
	return nil
}
