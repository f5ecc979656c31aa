package unionfs

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// upperNumber is the number of the upper layer. Lower layers are counted from
// the bottom, 1 being the lowest, so that the numbers of those that stay do not
// change when a layer is put on top of them.
const upperNumber = 0

// A layer is one file system of the stack, privately mounted. It corresponds to
// struct ovl_layer.
type layer struct {
	number uint16
	id     uint64 // names the layer in the upper one's records, whatever the stack; see layerIDs
	fs     vfs.FileSystem
	root   vfs.Path
	close  func(ctx context.Context, mode vfs.CloseMode) error

	// The index directory of a lower layer that has been an upper one, and its
	// name in the root, which is hidden; nil and "" if there is none.
	index     *layerFile
	indexName string
}

func (l *layer) isUpper() bool { return l.number == upperNumber }

// isAbove reports whether l is nearer to the top of the stack than m.
func (l *layer) isAbove(m *layer) bool {
	return l.isUpper() && !m.isUpper() || !l.isUpper() && !m.isUpper() && l.number > m.number
}

// Inode numbers of the union: the layer's number above bit 48, the driver's
// number below, as overlayfs's xino does it.
const inoBits = 48

// ino returns the inode number in the union of the layer's inode number n.
// Numbers of more than 48 bits are folded: they stay stable, but may collide.
func (l *layer) ino(n uint64) uint64 {
	const mask = 1<<inoBits - 1
	return uint64(l.number)<<inoBits | (n^n>>inoBits)&mask
}

// layerIDs gives each layer the identity by which the upper layer's records
// name it: the driver's f_fsid (statfs(2)), so that records about a lower layer that has been
// replaced are not taken for ones about its successor. A driver without one, or
// with one that another layer has too, is known by its number.
func layerIDs(ctx context.Context, layers []*layer) error {
	count := make(map[uint64]int)
	for _, l := range layers {
		st, err := l.fs.Statfs(ctx)
		if err != nil {
			return fmt.Errorf("unionfs: statfs of layer %d: %w", l.number, err)
		}
		l.id = uint64(uint32(st.Fsid.Val[0])) | uint64(uint32(st.Fsid.Val[1]))<<32
		count[l.id]++
	}
	for _, l := range layers {
		if l.id == 0 || count[l.id] > 1 {
			l.id = uint64(l.number)
		}
	}
	return nil
}

// A layerFile is one file of a layer: its pinned path, which the owner puts, and
// what never changes about it.
type layerFile struct {
	layer *layer
	path  vfs.Path
	inode vfs.Inode
	ino   uint64 // the driver's number, and the
	nlink uint32 // number of links, when the file was looked up; 0 of a copy just made
}

// newLayerFile takes over the pinned path p. On an error p is put.
func newLayerFile(ctx context.Context, l *layer, p vfs.Path) (*layerFile, vfs.Attr, error) {
	f := &layerFile{layer: l, path: p, inode: p.Inode()}
	attr, err := f.inode.Getattr(ctx, unix.STATX_BASIC_STATS)
	if err != nil {
		p.Put()
		return nil, attr, err
	}
	f.ino, f.nlink = attr.Ino, attr.Nlink
	return f, attr, nil
}

// upperFile takes over the pinned path of a copy in the upper layer. A copy keeps
// the identity of its original, so its own number does not matter.
func (fs *FS) upperFile(p vfs.Path) *layerFile {
	return &layerFile{layer: fs.upper, path: p, inode: p.Inode()}
}

func (f *layerFile) isDir() bool {
	_, ok := f.inode.(vfs.Dir)
	return ok
}

// key returns what identifies the file, as long as it is not a copy of another.
func (f *layerFile) key() key { return key{f.layer.number, f.ino} }

// sameFile reports whether two records stand for one file of one layer. A driver
// has one Inode value for a file in use.
func (f *layerFile) sameFile(g *layerFile) bool { return f.inode == g.inode }

// An entry is what one layer has under a name.
type entry int

const (
	absent entry = iota
	whiteout
	present
)

// lookupLayer looks name up in a directory of one layer. The file is set only
// if it is present, and is the caller's to put.
func (fs *FS) lookupLayer(ctx context.Context, dir *layerFile, name string) (*layerFile, entry, error) {
	p, err := vfs.Lookup(ctx, fs.cred, dir.path, name)
	if errors.Is(err, unix.ENOENT) {
		return nil, absent, nil
	}
	if err != nil {
		return nil, absent, err
	}
	f, attr, err := newLayerFile(ctx, dir.layer, p)
	if err != nil {
		return nil, absent, err
	}
	if attr.IsWhiteout() {
		p.Put()
		return nil, whiteout, nil
	}
	return f, present, nil
}

// readLayer calls emit for each entry of a directory of one layer, whiteouts
// included, "." and ".." not, until emit returns false. emit must not call into the layer.
func (fs *FS) readLayer(ctx context.Context, dir *layerFile, emit func(vfs.Dirent) bool) error {
	f, err := vfs.OpenPath(ctx, fs.cred, dir.path, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	err = f.ReadDir(ctx, func(e vfs.Dirent) bool {
		if e.Name == "." || e.Name == ".." {
			return true
		}
		return emit(e)
	})
	closeErr := f.Close(ctx)
	if err != nil {
		return err
	}
	return closeErr
}

// putAll puts the paths of files.
func putAll(files []*layerFile) {
	for _, f := range files {
		f.path.Put()
	}
}
