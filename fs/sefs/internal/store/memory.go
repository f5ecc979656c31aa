package store

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Memory is a Store in memory. Its content outlives Close, and it may be
// opened again, also by two volumes in turn.
type Memory struct {
	mu      sync.Mutex
	dirs    map[string]struct{}
	files   map[string]*memoryFile
	lock    int // shared holders; -1: held exclusively
	closing int // generation: handles of an earlier one are closed
}

// A memoryFile has size bytes; those behind data are zeros. A journal of
// zeros costs nothing to copy that way.
type memoryFile struct {
	data []byte
	size int64

	over   map[int64]*memoryPage // of a fork: pages that differ from data, by number
	forked bool                  // data is another file's

	sum    uint64 // digest of data, if summed
	summed bool
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{dirs: make(map[string]struct{}), files: make(map[string]*memoryFile)}
}

// Clone returns a copy of the content, unlocked.
func (m *Memory) Clone() *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := NewMemory()
	maps.Copy(c.dirs, m.dirs)
	for name, f := range m.files {
		c.files[name] = &memoryFile{data: slices.Clone(f.flat()), size: f.size}
	}
	return c
}

// Names returns the names of all files, sorted.
func (m *Memory) Names() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.files))
}

// Bytes returns the bytes of file name, nil if there is none, without zeros at
// the end that were written as such. They may be changed in place while no
// volume is open.
func (m *Memory) Bytes(name string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.files[name]
	if f == nil {
		return nil
	}
	*f = memoryFile{data: f.flat(), size: f.size}
	return f.data
}

// Size returns the length of file name in bytes, 0 if there is none.
func (m *Memory) Size(name string) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.files[name]; f != nil {
		return f.size
	}
	return 0
}

// SetBytes replaces the content of file name, and makes it if there is none.
func (m *Memory) SetBytes(name string, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files[name] = &memoryFile{data: data, size: int64(len(data))}
}

func memoryError(op, name string, errno unix.Errno) error {
	return fmt.Errorf("sefs store: %s %s: %w", op, name, errno)
}

// Open implements Store.
func (m *Memory) Open(name string, access Access) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.files[name]
	if f == nil {
		return nil, memoryError("open", name, unix.ENOENT)
	}
	return &memoryHandle{mem: m, name: name, file: f, gen: m.closing, writable: access == ReadWrite}, nil
}

// Create implements Store.
func (m *Memory) Create(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.parentLocked("open", name); err != nil {
		return nil, err
	}
	if _, ok := m.dirs[name]; ok {
		return nil, memoryError("open", name, unix.EISDIR)
	}
	f := m.files[name]
	if f == nil {
		f = &memoryFile{}
		m.files[name] = f
	}
	*f = memoryFile{}
	return &memoryHandle{mem: m, name: name, file: f, gen: m.closing, writable: true}, nil
}

func (m *Memory) parentLocked(op, name string) error {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		if _, ok := m.dirs[name[:i]]; !ok {
			return memoryError(op, name, unix.ENOENT)
		}
	}
	return nil
}

// Mkdir implements Store.
func (m *Memory) Mkdir(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.parentLocked("mkdir", name); err != nil {
		return err
	}
	if _, ok := m.dirs[name]; ok || m.files[name] != nil {
		return memoryError("mkdir", name, unix.EEXIST)
	}
	m.dirs[name] = struct{}{}
	return nil
}

// Unlink implements Store.
func (m *Memory) Unlink(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.files[name] != nil {
		delete(m.files, name)
		return nil
	}
	if _, ok := m.dirs[name]; !ok {
		return memoryError("unlink", name, unix.ENOENT)
	}
	for other := range m.files {
		if strings.HasPrefix(other, name+"/") {
			return memoryError("unlink", name, unix.ENOTEMPTY)
		}
	}
	for other := range m.dirs {
		if strings.HasPrefix(other, name+"/") {
			return memoryError("unlink", name, unix.ENOTEMPTY)
		}
	}
	delete(m.dirs, name)
	return nil
}

// Rename implements Store; only files move.
func (m *Memory) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.files[from]
	if f == nil {
		return memoryError("rename", from, unix.ENOENT)
	}
	if err := m.parentLocked("rename", to); err != nil {
		return err
	}
	delete(m.files, from)
	m.files[to] = f
	return nil
}

// SyncDir implements Store.
func (m *Memory) SyncDir() error { return nil }

// Empty implements Store.
func (m *Memory) Empty() (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.files) == 0 && len(m.dirs) == 0, nil
}

// List implements Store.
func (m *Memory) List(most int) (names []string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(m.files)) {
		if !strings.Contains(name, "/") {
			names = append(names, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.dirs)) {
		if !strings.Contains(name, "/") {
			names = append(names, name)
		}
	}
	return names[:min(most, len(names))], nil
}

// Lock implements Store.
func (m *Memory) Lock(access Access) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.files[LockName]
	switch {
	case f == nil && access == ReadOnly:
		return nil, memoryError("open", LockName, unix.ENOENT)
	case m.lock < 0, access == ReadWrite && m.lock > 0:
		return nil, fmt.Errorf("sefs store: memory is in use: %w", unix.EBUSY)
	case f == nil:
		f = &memoryFile{}
		m.files[LockName] = f
	}
	h := &memoryHandle{mem: m, name: LockName, file: f, gen: m.closing, writable: access == ReadWrite, share: 1}
	if access == ReadWrite {
		h.share = -1
	}
	m.lock += h.share
	return h, nil
}

// Close implements Store.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closing++
	m.lock = 0
	return nil
}

type memoryHandle struct {
	mem      *Memory
	name     string
	file     *memoryFile
	gen      int
	writable bool
	closed   bool
	share    int // what this handle added to mem.lock
}

func (h *memoryHandle) usableLocked(op string, write bool) error {
	if h.closed || h.gen != h.mem.closing || write && !h.writable {
		return memoryError(op, h.name, unix.EIO)
	}
	return nil
}

// ReadAt implements File.
func (h *memoryHandle) ReadAt(p []byte, off int64) (int, error) {
	h.mem.mu.Lock()
	defer h.mem.mu.Unlock()
	if err := h.usableLocked("pread", false); err != nil {
		return 0, err
	}
	return h.file.read(p, off), nil
}

func (f *memoryFile) read(p []byte, off int64) int {
	if off < 0 || off >= f.size {
		return 0
	}
	p = p[:min(int64(len(p)), f.size-off)]
	n := 0
	if off < int64(len(f.data)) {
		n = copy(p, f.data[off:])
	}
	clear(p[n:])
	f.readOver(p, off)
	return len(p)
}

// WriteAt implements File.
func (h *memoryHandle) WriteAt(p []byte, off int64) error {
	h.mem.mu.Lock()
	defer h.mem.mu.Unlock()
	if err := h.usableLocked("pwrite", true); err != nil {
		return err
	}
	h.file.write(p, off)
	return nil
}

func (f *memoryFile) write(p []byte, off int64) {
	end := off + int64(len(p))
	f.size = max(f.size, end)
	if f.forked {
		f.writeOver(p, off)
		return
	}
	f.summed = false
	if off >= int64(len(f.data)) && allZero(p) {
		return
	}
	if have := int64(len(f.data)); end > have {
		f.data = slices.Grow(f.data, int(end-have))[:end]
		clear(f.data[have:])
	}
	copy(f.data[off:], p)
}

func allZero(p []byte) bool {
	return len(p) == 0 || p[0] == 0 && bytes.Equal(p[1:], p[:len(p)-1])
}

// Sync implements File.
func (h *memoryHandle) Sync() error {
	h.mem.mu.Lock()
	defer h.mem.mu.Unlock()
	return h.usableLocked("fdatasync", false)
}

// Close implements File.
func (h *memoryHandle) Close() error {
	h.mem.mu.Lock()
	defer h.mem.mu.Unlock()
	if h.usableLocked("close", false) == nil {
		h.closed = true
		h.mem.lock -= h.share
	}
	return nil
}
