package unionfs

import (
	"context"
	"sync"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// firstPos is the position after the first entry of a directory stream; smaller ones
// stand for the start, "." and "..".
const firstPos = 3

// A dirEntry is one name of a merged directory.
type dirEntry struct {
	name   string
	ino    uint64 // st_ino
	typ    uint8  // DT_*
	hidden bool   // a whiteout

	// ask says that ino may not be what the layer's number tells: the entry can
	// be a copy, or merged.
	ask bool
}

// merge collects the names of a directory, each once.
type merge struct {
	d         *dir
	entries   []dirEntry
	seen      map[string]int // names in the layers above, by their place in entries
	upper     int            // that many entries are in the upper layer
	firstOnly bool           // stop at the first visible name
	found     bool           // there is a visible name; set only with firstOnly
}

// run goes through the parts of the directory, top to bottom.
func (m *merge) run(ctx context.Context) error {
	parts := m.d.parts()
	for n, part := range parts {
		start := len(m.entries)
		if err := m.read(ctx, part); err != nil {
			return err
		}
		if err := m.hideWhiteouts(ctx, part, start); err != nil {
			return err
		}
		if part.layer.isUpper() {
			m.upper = len(m.entries)
		}
		if m.found || n == len(parts)-1 {
			return nil
		}
		if m.seen == nil {
			m.seen = make(map[string]int, len(m.entries))
		}
		for i := start; i < len(m.entries); i++ {
			m.seen[m.entries[i].name] = i
		}
	}
	return nil
}

// mayBeWhiteout reports whether an entry of type typ has to be looked at.
func mayBeWhiteout(typ uint8) bool {
	return typ == unix.DT_CHR || typ == unix.DT_UNKNOWN || typ == unix.DT_WHT
}

// read adds the names of one part that the parts above do not have.
func (m *merge) read(ctx context.Context, part *layerFile) error {
	fs := m.d.fs
	copies := fs.indexedBelow(part.layer)
	if part.layer.isUpper() {
		copies = m.d.impure.Load()
	}
	index := m.d.indexIn(part)
	return fs.readLayer(ctx, part, func(e vfs.Dirent) bool {
		if e.Name == index {
			return true
		}
		if i, ok := m.seen[e.Name]; ok {
			above := &m.entries[i]
			if above.typ == unix.DT_DIR && e.Type == unix.DT_DIR && i < m.upper {
				above.ask = true
			}
			return true
		}
		m.entries = append(m.entries, dirEntry{
			name: e.Name,
			ino:  part.layer.ino(e.Ino),
			typ:  e.Type,
			ask:  copies && e.Type != unix.DT_DIR,
		})
		if m.firstOnly && !mayBeWhiteout(e.Type) {
			m.found = true
			return false
		}
		return true
	})
}

// hideWhiteouts hides the whiteouts among the entries of one part, from start on.
func (m *merge) hideWhiteouts(ctx context.Context, part *layerFile, start int) error {
	for i := start; i < len(m.entries) && !m.found; i++ {
		e := &m.entries[i]
		if !mayBeWhiteout(e.typ) {
			continue
		}
		f, found, err := m.d.fs.lookupLayer(ctx, part, e.name)
		if err != nil {
			return err
		}
		if found == present {
			f.path.Put()
			m.found = m.firstOnly
		}
		e.hidden = found != present
	}
	return nil
}

// checkEmpty returns ENOTEMPTY if d has a visible name.
func (d *dir) checkEmpty(ctx context.Context) error {
	m := merge{d: d, firstOnly: true}
	if err := m.run(ctx); err != nil {
		return err
	}
	if m.found {
		return unix.ENOTEMPTY
	}
	return nil
}

// inoOf returns the inode number of what d has as name. ok is false if it has
// nothing any more.
func (d *dir) inoOf(ctx context.Context, name string) (ino uint64, ok bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	stack, err := d.resolve(ctx, name)
	if err != nil || len(stack) == 0 {
		return 0, false, err
	}
	defer func() { putAll(stack) }()
	k := dirKey(stack)
	switch f := stack[0]; {
	case f.isDir():
	case f.layer.isUpper():
		var isCopy bool
		var o key
		if o, isCopy, err = d.fs.originIn(ctx, d, f); isCopy {
			k = o
		}
	case f.nlink > 1:
		d.fs.links.mu.RLock()
		defer d.fs.links.mu.RUnlock()
		stack[0], k, err = d.fs.followIndexes(ctx, f)
	}
	return d.fs.inoOf(k), err == nil, err
}

// inoOf returns the st_ino of the file that k identifies.
func (fs *FS) inoOf(k key) uint64 {
	for _, l := range fs.layers {
		if l.number == k.layer {
			return l.ino(k.ino)
		}
	}
	return 0
}

// dirHandle is one open directory of the union. It goes through a snapshot of the
// merged names, made when the stream starts and again when it is rewound.
type dirHandle struct {
	d *dir

	mu      sync.Mutex
	entries []dirEntry
	valid   bool
}

// OpenDir implements vfs.Dir.
func (d *dir) OpenDir(context.Context) (vfs.DirHandle, error) { return &dirHandle{d: d}, nil }

// ReadDir implements vfs.DirHandle.
func (h *dirHandle) ReadDir(ctx context.Context, pos uint64, emit func(vfs.Dirent) bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if pos == 0 || !h.valid {
		m := merge{d: h.d}
		if err := m.run(ctx); err != nil {
			return err
		}
		h.entries, h.valid = m.entries, true
	}
	next := uint64(0)
	if pos >= firstPos {
		next = pos - firstPos + 1
	}
	for ; next < uint64(len(h.entries)); next++ {
		e := &h.entries[next]
		if e.hidden {
			continue
		}
		if e.ask {
			ino, ok, err := h.d.inoOf(ctx, e.name)
			if err != nil {
				return err
			}
			if ok {
				e.ino = ino
			}
			e.ask = false
		}
		if !emit(vfs.Dirent{Name: e.name, Ino: e.ino, Type: e.typ, Pos: next + firstPos}) {
			return nil
		}
	}
	return nil
}

// Fsync implements vfs.DirHandle.
func (h *dirHandle) Fsync(ctx context.Context, datasync bool) error {
	up := h.d.upper()
	if up == nil || !h.d.fs.writable.Load() {
		return nil
	}
	f, err := vfs.OpenPath(ctx, h.d.fs.cred, up.path, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	err = f.Fsync(ctx, datasync)
	if closeErr := f.Close(ctx); err == nil {
		err = closeErr
	}
	return err
}

// Release implements vfs.DirHandle.
func (h *dirHandle) Release(context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.entries, h.valid = nil, false
	return nil
}
