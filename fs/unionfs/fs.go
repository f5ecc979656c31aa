package unionfs

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// Magic is the f_type of a union (statfs(2)).
const Magic = 0x2f8dbe2f

// maxLayers bounds a stack, as OVL_MAX_STACK does.
const maxLayers = 500

// UpperMode says what the first layer of a stack is.
type UpperMode int

const (
	UpperWritable UpperMode = iota // the upper layer, where all changes go
	UpperReadOnly                  // the upper layer, not to be changed: changes are EROFS
	UpperAbsent                    // a lower layer like the others: changes are EROFS
)

// StackConfig says what New stacks.
type StackConfig struct {
	// Layers are the file systems from top to bottom. New owns them from the call
	// on: it closes them if it fails.
	Layers []vfs.FileSystem
	Upper  UpperMode

	Cred    *vfs.Cred        // used on the layers; nil: root's
	Options string           // what FileSystem.Options returns
	Now     func() time.Time // nil: time.Now
	Log     *slog.Logger     // nil: no log
}

// FS is a mounted union. It corresponds to struct ovl_fs.
type FS struct {
	layers   []*layer // top to bottom
	upper    *layer   // nil if absent
	writable atomic.Bool
	cred     *vfs.Cred
	options  string
	log      *slog.Logger
	root     *dir
	table    inodeTable
	links    hardlinks
	buffers  sync.Pool // *[]byte of copyChunk bytes
}

// New stacks file systems.
//
// Errors: EINVAL if there are too few or too many layers, or if the upper one
// cannot be an upper layer.
func New(ctx context.Context, cfg StackConfig) (*FS, error) {
	fs := &FS{
		cred:    cfg.Cred,
		options: cfg.Options,
		log:     cfg.Log,
	}
	fs.writable.Store(cfg.Upper == UpperWritable)
	if fs.cred == nil {
		fs.cred = vfs.RootCred()
	}
	if fs.log == nil {
		fs.log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	fs.table.m = make(map[key]unionInode)
	fs.buffers.New = func() any {
		b := make([]byte, copyChunk)
		return &b
	}
	fs.openLayers(cfg)
	if err := fs.start(ctx, cfg); err != nil {
		_ = fs.Close(context.WithoutCancel(ctx), vfs.AbortClose)
		return nil, err
	}
	return fs, nil
}

// openLayers makes a private mount of each layer. The union's own mount decides
// about access times.
func (fs *FS) openLayers(cfg StackConfig) {
	for i, driver := range cfg.Layers {
		l := &layer{number: uint16(len(cfg.Layers) - i), fs: driver}
		flags := uintptr(unix.MS_NOATIME | unix.MS_NODIRATIME)
		if i == 0 && cfg.Upper != UpperAbsent {
			l.number = upperNumber
			fs.upper = l
		}
		if !l.isUpper() || !fs.writable.Load() {
			flags |= unix.MS_RDONLY
		}
		l.root, l.close = vfs.NewPrivateMount(driver, flags, vfs.PrivateConfig{Now: cfg.Now})
		fs.layers = append(fs.layers, l)
	}
}

// start checks the layers and makes the root.
func (fs *FS) start(ctx context.Context, cfg StackConfig) error {
	atLeast := 1
	if cfg.Upper != UpperAbsent {
		atLeast = 2
	}
	if n := len(fs.layers); n < atLeast || n > maxLayers {
		return fmt.Errorf("unionfs: a stack of %d layers: %w", n, unix.EINVAL)
	}
	if fs.upper != nil {
		if _, isUnion := fs.upper.fs.(*FS); isUnion {
			return fmt.Errorf("unionfs: a union cannot be the upper layer: %w", unix.EINVAL)
		}
		if fs.upper.root.Inode().Xattrs() == nil {
			return fmt.Errorf("unionfs: the upper layer keeps no extended attributes: %w", unix.EINVAL)
		}
	}
	if err := layerIDs(ctx, fs.layers); err != nil {
		return err
	}
	if err := fs.findIndexes(ctx); err != nil {
		return err
	}
	if err := fs.adoptRoot(ctx); err != nil {
		return err
	}
	return fs.makeRoot(ctx)
}

func (fs *FS) makeRoot(ctx context.Context) error {
	var stack []*layerFile
	for _, l := range fs.layers {
		f, _, err := newLayerFile(ctx, l, l.root.Get())
		if err != nil {
			putAll(stack)
			return err
		}
		stack = append(stack, f)
	}
	i, err := fs.dirOf(ctx, nil, "", stack)
	if err != nil {
		return err
	}
	fs.root = i.(*dir)
	return nil
}

// Root implements vfs.FileSystem.
func (fs *FS) Root() vfs.Dir { return fs.root }

// Options implements vfs.FileSystem.
func (fs *FS) Options() string { return fs.options }

// Statfs implements vfs.FileSystem: the numbers are the top layer's, the
// longest name is what all layers take.
func (fs *FS) Statfs(ctx context.Context) (unix.Statfs_t, error) {
	st, err := fs.layers[0].fs.Statfs(ctx)
	if err != nil {
		return st, err
	}
	st.Type = Magic
	for _, l := range fs.layers[1:] {
		lower, err := l.fs.Statfs(ctx)
		if err != nil {
			return st, err
		}
		if lower.Namelen > 0 {
			st.Namelen = min(st.Namelen, lower.Namelen)
		}
	}
	return st, nil
}

// Sync implements vfs.FileSystem.
func (fs *FS) Sync(ctx context.Context) error {
	if !fs.writable.Load() {
		return nil
	}
	return fs.upper.fs.Sync(ctx)
}

// Close implements vfs.FileSystem. The upper layer is flushed and closed first: if that
// fails with vfs.SafeClose, all layers stay open.
func (fs *FS) Close(ctx context.Context, mode vfs.CloseMode) error {
	if mode == vfs.SafeClose {
		if err := fs.Sync(ctx); err != nil {
			return err
		}
	}
	if fs.upper != nil {
		fs.unpinLayer(fs.upper)
		err := fs.upper.close(ctx, mode)
		if err != nil && mode == vfs.SafeClose {
			return fs.reopen(ctx, err)
		}
		if err != nil {
			fs.log.ErrorContext(ctx, "unionfs: close the upper layer", slog.Any("error", vfs.WithoutPath(err)))
		}
	}
	// Nothing has been written to the others: there is nothing to lose, and no way back.
	for _, l := range fs.layers {
		if l.isUpper() {
			continue
		}
		fs.unpinLayer(l)
		if err := l.close(ctx, vfs.ForceClose); err != nil {
			fs.log.ErrorContext(ctx, "unionfs: close a lower layer",
				slog.Int("layer", int(l.number)), slog.Any("error", vfs.WithoutPath(err)))
		}
	}
	return nil
}

// unpinLayer gives back what the union itself keeps of a layer: nothing else
// of it is in use when the union is closed.
func (fs *FS) unpinLayer(l *layer) {
	if fs.root != nil {
		for _, part := range fs.root.parts() {
			if part.layer == l {
				part.path.Put()
			}
		}
	}
	if index := fs.indexOf(l); index != nil {
		index.path.Put()
	}
	l.root.Put()
}

// reopen makes the union usable after its upper layer could not be closed because of
// cause, which it returns.
func (fs *FS) reopen(ctx context.Context, cause error) error {
	l := fs.upper
	l.root = l.root.Get()
	if fs.root != nil {
		fs.root.upper().path.Get()
	}
	fs.links.mu.Lock()
	defer fs.links.mu.Unlock()
	if fs.links.dir == nil {
		return cause
	}
	p, err := vfs.Lookup(ctx, fs.cred, l.root, fs.links.name)
	if err != nil {
		// Without its index a union must not be changed.
		fs.log.ErrorContext(ctx, "unionfs: index lost, now read-only", slog.Any("error", vfs.WithoutPath(err)))
		fs.writable.Store(false)
		fs.links.dir = nil
		return cause
	}
	fs.links.dir = fs.upperFile(p)
	return cause
}

// checkWritable returns EROFS for a union that cannot be changed.
func (fs *FS) checkWritable() error {
	if !fs.writable.Load() {
		return unix.EROFS
	}
	return nil
}
