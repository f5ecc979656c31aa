package volume

import (
	"sync"

	"cloister/fs/sefs/internal/format"
)

// A pageID is the number of a page frame of the cache; 0 is none.
type pageID uint32

type pageKey struct{ ino, block uint64 }

// pageState says where the content of a page is, beside the cache.
type pageState uint8

const (
	pageFree   pageState = iota
	pageClean            // in a segment, or a hole
	pageDirty            // nowhere
	pageLogged           // in the journal
)

// A page is one frame: a block of a file in memory. Frames and their bytes
// have no pointers, so that the garbage collector does not look at them.
type page struct {
	key          pageKey
	next, prev   pageID // pages of the same inode; next also links free frames
	lnext, lprev pageID // pages of the same state, for pageDirty and pageLogged
	pins         int32  // users of the bytes; a pinned page stays
	state        pageState
	fresh        bool // the tree has a hole here: the block counts because of this page
	writing      bool // being written to a segment
	again        bool // changed while being written
	used         bool // since the clock hand passed
}

const (
	chunkPages = 256 // frames are allocated 1 MiB at a time
	frameSize  = format.BlockSize
)

type chunk [chunkPages * frameSize]byte

// A pageCache holds pages of all files. mu guards all but the bytes of pages,
// which stripe.content guards.
type pageCache struct {
	max int // frames; exceeded only when all of them are dirty or pinned

	mu     sync.Mutex
	chunks []*chunk
	pages  []page // frame 0 is not used
	index  map[pageKey]pageID
	inodes map[uint64]pageID // first page of each inode
	free   pageID
	hand   pageID
	lists  [pageLogged + 1]pageList
}

// A pageList is a list of pages in one state, oldest first.
type pageList struct {
	head, tail pageID
	n          int
}

func newPageCache(bytes int64) *pageCache {
	return &pageCache{
		max:    int(max(bytes, minCache) / frameSize),
		pages:  make([]page, 1),
		index:  make(map[pageKey]pageID),
		inodes: make(map[uint64]pageID),
	}
}

// bytesLocked returns the bytes of a frame.
func (c *pageCache) bytesLocked(id pageID) []byte {
	i := int(id - 1)
	at := i % chunkPages * frameSize
	return c.chunks[i/chunkPages][at : at+frameSize : at+frameSize]
}

// dirtyBytes returns how much file data is not in segments.
func (c *pageCache) dirtyBytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int64(c.lists[pageDirty].n+c.lists[pageLogged].n) * frameSize
}

// newBytes returns how much file data no commit holds.
func (c *pageCache) newBytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int64(c.lists[pageDirty].n) * frameSize
}

// tooDirty reports whether data must be written back before more is accepted.
func (c *pageCache) tooDirty() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lists[pageDirty].n+c.lists[pageLogged].n >= c.max/4*3
}

// frameLocked returns a free frame, evicting a clean page if need be. more says
// to go above the limit when there is none; otherwise it returns 0.
func (c *pageCache) frameLocked(more bool) pageID {
	if c.free == 0 && len(c.pages)-1+chunkPages <= c.max {
		c.growLocked()
	}
	if c.free == 0 {
		c.evictLocked()
	}
	if c.free == 0 && more {
		c.growLocked()
	}
	id := c.free
	if id != 0 {
		c.free = c.pages[id].next
		c.pages[id] = page{used: true}
	}
	return id
}

func (c *pageCache) growLocked() {
	c.chunks = append(c.chunks, new(chunk))
	for range chunkPages {
		c.pages = append(c.pages, page{next: c.free})
		c.free = pageID(len(c.pages) - 1)
	}
}

// evictLocked frees one clean page that was not used lately.
func (c *pageCache) evictLocked() {
	n := len(c.pages) - 1
	for range 2 * n {
		c.hand = c.hand%pageID(n) + 1
		p := &c.pages[c.hand]
		if p.state != pageClean || p.pins > 0 {
			continue
		}
		if p.used {
			p.used = false
			continue
		}
		c.dropLocked(c.hand)
		return
	}
}

// insertLocked makes frame id the page of key, which must not be cached.
func (c *pageCache) insertLocked(id pageID, key pageKey, state pageState) {
	p := &c.pages[id]
	p.key = key
	c.index[key] = id
	if first := c.inodes[key.ino]; first != 0 {
		p.next = first
		c.pages[first].prev = id
	}
	c.inodes[key.ino] = id
	c.setStateLocked(id, state)
}

// dropLocked takes a page that nobody uses out of the cache.
func (c *pageCache) dropLocked(id pageID) {
	p := &c.pages[id]
	c.setStateLocked(id, pageFree)
	delete(c.index, p.key)
	if p.next != 0 {
		c.pages[p.next].prev = p.prev
	}
	switch {
	case p.prev != 0:
		c.pages[p.prev].next = p.next
	case p.next != 0:
		c.inodes[p.key.ino] = p.next
	default:
		delete(c.inodes, p.key.ino)
	}
	c.releaseLocked(id)
}

// releaseLocked puts a frame that is no page on the free list.
func (c *pageCache) releaseLocked(id pageID) {
	c.pages[id] = page{next: c.free}
	c.free = id
}

// setStateLocked moves a page to the list of its new state.
func (c *pageCache) setStateLocked(id pageID, state pageState) {
	p := &c.pages[id]
	if p.state == state {
		return
	}
	if p.state == pageDirty || p.state == pageLogged {
		l := &c.lists[p.state]
		if p.lprev != 0 {
			c.pages[p.lprev].lnext = p.lnext
		} else {
			l.head = p.lnext
		}
		if p.lnext != 0 {
			c.pages[p.lnext].lprev = p.lprev
		} else {
			l.tail = p.lprev
		}
		p.lnext, p.lprev = 0, 0
		l.n--
	}
	p.state = state
	if state == pageDirty || state == pageLogged {
		l := &c.lists[state]
		p.lprev = l.tail
		if l.tail != 0 {
			c.pages[l.tail].lnext = id
		} else {
			l.head = id
		}
		l.tail = id
		l.n++
	}
}

// pinHits pins the pages of blocks [from, from+n) of a file up to the first
// that is not cached, and returns how many those are; their bytes are in plain.
func (c *pageCache) pinHits(ino, from uint64, n int, ids []pageID, plain [][]byte) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range n {
		id := c.index[pageKey{ino, from + uint64(i)}]
		if id == 0 {
			return i
		}
		p := &c.pages[id]
		p.pins++
		p.used = true
		ids[i], plain[i] = id, c.bytesLocked(id)
	}
	return n
}

func (c *pageCache) unpin(ids []pageID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ids {
		c.pages[id].pins--
	}
}

// misses returns how many of blocks [from, from+n) come before the first that
// is cached.
func (c *pageCache) misses(ino, from uint64, n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inodes[ino] == 0 {
		return n
	}
	for i := range n {
		if c.index[pageKey{ino, from + uint64(i)}] != 0 {
			return i
		}
	}
	return n
}

// frames takes up to n free frames for reading into.
func (c *pageCache) frames(n int, ids []pageID, plain [][]byte) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range n {
		id := c.frameLocked(false)
		if id == 0 {
			return i
		}
		ids[i], plain[i] = id, c.bytesLocked(id)
	}
	return n
}

// fill makes frames pages of consecutive blocks, or frees them: those of
// blocks that were cached meanwhile, and all if current says that the content
// may have become old. ids that are 0 are left out.
func (c *pageCache) fill(ino, from uint64, ids []pageID, current func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	keep := current()
	for i, id := range ids {
		if id == 0 {
			continue
		}
		key := pageKey{ino, from + uint64(i)}
		if !keep || c.index[key] != 0 {
			c.releaseLocked(id)
			continue
		}
		c.insertLocked(id, key, pageClean)
	}
}

// has reports whether any page of a file is cached.
func (c *pageCache) has(ino uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.inodes[ino] != 0
}

// counted sets out[i] to whether block i from block on is not in a segment, or not
// with its last content. All of those count as blocks of the file.
func (c *pageCache) counted(ino, block uint64, out []bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range out {
		id := c.index[pageKey{ino, block + uint64(i)}]
		out[i] = id != 0 && c.pages[id].state != pageClean
	}
}

// forWriting makes pages of the blocks of w and sets their bytes in plain, and which
// are new. It returns how many blocks count from now on that did not.
//
// Preconditions: stripe.content of the file held exclusively.
func (c *pageCache) forWriting(ino uint64, w *pageWrite, plain [][]byte, isNew []bool) (grown int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range plain {
		key := pageKey{ino, w.block + uint64(i)}
		id := c.index[key]
		if isNew[i] = id == 0; isNew[i] {
			id = c.frameLocked(true)
			c.insertLocked(id, key, pageDirty)
		}
		p := &c.pages[id]
		p.used = true
		p.again = p.writing
		if w.hole[i] {
			p.fresh = true
			grown++
		}
		c.setStateLocked(id, pageDirty)
		plain[i] = c.bytesLocked(id)
	}
	return grown
}

// drop removes the pages of blocks [from, to) of a file. It returns how many
// of them counted as blocks only because they were in memory.
//
// Preconditions: stripe.mapMu and stripe.content of the file held exclusively.
func (c *pageCache) drop(ino, from, to uint64) (fresh int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	one := func(id pageID) {
		if c.pages[id].fresh {
			fresh++
		}
		c.dropLocked(id)
	}
	if to-from <= ioBlocks {
		for b := from; b < to && c.inodes[ino] != 0; b++ {
			if id := c.index[pageKey{ino, b}]; id != 0 {
				one(id)
			}
		}
		return fresh
	}
	for id := c.inodes[ino]; id != 0; {
		next := c.pages[id].next
		if b := c.pages[id].key.block; b >= from && b < to {
			one(id)
		}
		id = next
	}
	return fresh
}

// nextDirty returns the first block of a file from block from on whose content is
// not in a segment; ok is false if there is none.
func (c *pageCache) nextDirty(ino, from uint64) (block uint64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	block = endBlock
	for id := c.inodes[ino]; id != 0; id = c.pages[id].next {
		p := &c.pages[id]
		if p.state != pageClean && p.key.block >= from && p.key.block < block {
			block = p.key.block
		}
	}
	return block, block != endBlock
}
