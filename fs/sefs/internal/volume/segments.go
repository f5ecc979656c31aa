package volume

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/seal"
	"cloister/fs/sefs/internal/store"
)

// maxOpenSegments bounds the descriptors of segment files.
const maxOpenSegments = 128

const segmentsDir = "seg"

// segmentName returns the directory and the name of the file of a segment.
func segmentName(n uint32) (dir, name string) {
	dir = fmt.Sprintf("%s/%02x", segmentsDir, n&0xff)
	return dir, fmt.Sprintf("%s/%08x", dir, n)
}

// segments keeps the files of segments open, the least recently used ones
// closed.
type segments struct {
	st     store.Store
	access store.Access

	mu    sync.Mutex
	open  map[uint32]*segment
	tick  uint64
	dirty []uint32 // written since the last sync
}

// A segment is one open segment file.
type segment struct {
	store.File
	number uint32
	refs   int
	tick   uint64
	dirty  bool
}

func newSegments(st store.Store, access store.Access) *segments {
	return &segments{st: st, access: access, open: make(map[uint32]*segment)}
}

// get opens segment n; the caller releases it. create says to create the file if
// there is none.
func (s *segments) get(n uint32, create bool) (*segment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tick++
	if g := s.open[n]; g != nil {
		g.refs++
		g.tick = s.tick
		return g, nil
	}
	s.trimLocked()
	dir, name := segmentName(n)
	f, err := s.st.Open(name, s.access)
	if errors.Is(err, unix.ENOENT) {
		if !create {
			return nil, &seal.CorruptError{Block: fmt.Sprintf("segment %d", n), Reason: "its file is missing"}
		}
		f, err = s.createFile(dir, name)
	}
	if err != nil {
		return nil, err
	}
	g := &segment{File: f, number: n, refs: 1, tick: s.tick}
	s.open[n] = g
	return g, nil
}

func (s *segments) createFile(dir, name string) (store.File, error) {
	f, err := s.st.Create(name)
	if !errors.Is(err, unix.ENOENT) {
		return f, err
	}
	err = s.st.Mkdir(dir)
	if errors.Is(err, unix.ENOENT) { // a crash of the host can have lost it while the volume was being made
		if err = s.st.Mkdir(segmentsDir); err == nil {
			err = s.st.Mkdir(dir)
		}
	}
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, err
	}
	return s.st.Create(name)
}

// release ends the use of g that get began.
func (s *segments) release(g *segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g.refs--
}

// trimLocked closes a file that nobody uses when there are too many.
func (s *segments) trimLocked() {
	if len(s.open) < maxOpenSegments {
		return
	}
	var oldest *segment
	for _, g := range s.open {
		if g.refs == 0 && !g.dirty && (oldest == nil || g.tick < oldest.tick) {
			oldest = g
		}
	}
	if oldest != nil {
		delete(s.open, oldest.number)
		oldest.Close() // nothing unsynced was written through it
	}
}

// write writes sealed blocks at p and remembers to sync the segment.
func (s *segments) write(p format.Ptr, data []byte) error {
	g, err := s.get(p.Segment, true)
	if err != nil {
		return err
	}
	err = g.WriteAt(data, int64(p.Block)*format.BlockSize)
	s.mu.Lock()
	defer s.mu.Unlock()
	g.refs--
	// Not before: a sync for an earlier commit, which may be under way, takes the
	// segment off the list, and need not see this write.
	if !g.dirty {
		g.dirty = true
		s.dirty = append(s.dirty, g.number)
	}
	return err
}

// read fills data with the sealed blocks at p.
func (s *segments) read(p format.Ptr, data []byte) error {
	g, err := s.get(p.Segment, false)
	if err != nil {
		return err
	}
	defer s.release(g)
	n, err := g.ReadAt(data, int64(p.Block)*format.BlockSize)
	if err != nil {
		return err
	}
	if n < len(data) {
		return &seal.CorruptError{Block: p.Skip(n / format.BlockSize).String(), Reason: "the file of the segment ends before it"}
	}
	return nil
}

// sync makes everything written durable. After an error nothing can be known
// about what was written before.
func (s *segments) sync() error {
	s.mu.Lock()
	var list []*segment
	for _, n := range s.dirty {
		g := s.open[n] // dirty files stay open
		g.refs++
		g.dirty = false
		list = append(list, g)
	}
	s.dirty = s.dirty[:0]
	s.mu.Unlock()
	var first error
	for _, g := range list {
		if err := g.Sync(); err != nil && first == nil {
			first = err
		}
		s.release(g)
	}
	return first
}

// remove unlinks the file of an empty segment. It may be gone already.
func (s *segments) remove(n uint32) error {
	s.mu.Lock()
	if g := s.open[n]; g != nil {
		if g.refs > 0 || g.dirty { // a late reader; the next checkpoint tries again
			s.mu.Unlock()
			return unix.EBUSY
		}
		delete(s.open, n)
		g.Close()
	}
	s.mu.Unlock()
	_, name := segmentName(n)
	if err := s.st.Unlink(name); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	return nil
}
