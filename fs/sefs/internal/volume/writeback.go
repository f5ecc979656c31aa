package volume

import (
	"cmp"
	"math/bits"
	"slices"

	"cloister/fs/sefs/internal/format"
)

// A dirtyPage is a page on its way to a segment.
type dirtyPage struct {
	key pageKey
	id  pageID
}

func (a dirtyPage) compare(b dirtyPage) int {
	if a.key.ino != b.key.ino {
		return cmp.Compare(a.key.ino, b.key.ino)
	}
	return cmp.Compare(a.key.block, b.key.block)
}

// which says which pages a write-back writes.
type which int

const (
	newDirty which = iota // those that no commit holds
	allDirty              // those in the journal too
)

// writeBack writes pages of all files to segments. A transaction is open, or
// the gate is closed.
func (v *Volume) writeBack(w which) error {
	v.wbMu.Lock()
	defer v.wbMu.Unlock()
	list := v.dirtyLists.Get().(*[]dirtyPage)
	defer v.dirtyLists.Put(list)
	*list = v.pages.startWriting(w, (*list)[:0])
	slices.SortFunc(*list, dirtyPage.compare)
	return v.writePages(*list)
}

// writeBackRange writes the dirty pages among n blocks of a file.
func (v *Volume) writeBackRange(ino, from uint64, n int) error {
	v.wbMu.RLock()
	defer v.wbMu.RUnlock()
	s := v.stripe(ino)
	s.mapMu.Lock()
	defer s.mapMu.Unlock()
	list := v.dirtyLists.Get().(*[]dirtyPage)
	defer v.dirtyLists.Put(list)
	*list = v.pages.startWritingRange(ino, from, n, (*list)[:0])
	return v.writePages(*list)
}

// writePages writes a sorted list of pages. What it could not write stays dirty.
func (v *Volume) writePages(list []dirtyPage) error {
	list, err := v.writeInline(list)
	if err != nil {
		v.pages.notWritten(list)
		return err
	}
	return v.writeBlocks(list)
}

// writeBlocks writes a sorted list of pages to segments.
func (v *Volume) writeBlocks(list []dirtyPage) (err error) {
	for len(list) > 0 && err == nil {
		var n int
		if n, err = v.writeSome(list); err == nil {
			v.pages.written(list[:n])
			list = list[n:]
		}
	}
	v.pages.notWritten(list)
	return err
}

// writeInline stores the pages that are the whole of a small file as items,
// and returns the other ones.
func (v *Volume) writeInline(list []dirtyPage) (rest []dirtyPage, err error) {
	rest = list[:0]
	var buf [maxInline]byte
	for i, d := range list {
		alone := i+1 == len(list) || list[i+1].key != pageKey{d.key.ino, 1}
		if err != nil || d.key.block != 0 || !alone {
			rest = append(rest, d)
			continue
		}
		s := v.stripe(d.key.ino)
		s.content.RLock()
		data := format.TrimZeros(v.pages.bytes(d.id))
		n := copy(buf[:], data)
		s.content.RUnlock()
		if len(data) > maxInline {
			rest = append(rest, d)
			continue
		}
		if _, err = v.tree.putInline(d.key.ino, buf[:n]); err != nil {
			err = v.fail(err)
			rest = append(rest, d)
			continue
		}
		s.version.Add(1)
		v.pages.written(list[i : i+1])
	}
	return rest, err
}

// writeSome writes the first pages of list, as many as an I/O buffer takes, and
// returns how many.
func (v *Volume) writeSome(list []dirtyPage) (n int, err error) {
	if err := v.makeRoom(); err != nil {
		return 0, err
	}
	b := v.getBuf()
	list = list[:min(len(list), ioBlocks)]
	v.pages.plain(list, b.plain[:])
	held := v.lockContent(list)
	w, err := v.write(b, len(list), func(i int) pageKey { return list[i].key })
	v.unlockContent(held)
	defer v.sent(w, b)
	if err != nil {
		return 0, err
	}
	if _, err := v.tree.mapAll(b.runs); err != nil {
		return 0, v.fail(err)
	}
	for i := range held.each {
		v.stripes[i].version.Add(1)
	}
	return len(list), nil
}

// A stripeSet has a bit for each stripe.
type stripeSet uint64

// each returns the numbers of the stripes in the set, lowest first.
func (s stripeSet) each(yield func(int) bool) {
	for ; s != 0; s &= s - 1 {
		if !yield(bits.TrailingZeros64(uint64(s))) {
			return
		}
	}
}

// lockContent locks the content of the files that pages are of against changes.
func (v *Volume) lockContent(list []dirtyPage) (held stripeSet) {
	for i, d := range list {
		if i == 0 || list[i-1].key.ino != d.key.ino {
			held |= 1 << stripeOf(d.key.ino)
		}
	}
	for i := range held.each {
		v.stripes[i].content.RLock()
	}
	return held
}

func (v *Volume) unlockContent(held stripeSet) {
	for i := range held.each {
		v.stripes[i].content.RUnlock()
	}
}

// plain sets the bytes of pages that are being written.
func (c *pageCache) plain(list []dirtyPage, plain [][]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, d := range list {
		plain[i] = c.bytesLocked(d.id)
	}
}

// bytes returns the bytes of a frame.
func (c *pageCache) bytes(id pageID) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytesLocked(id)
}

// startWriting appends the pages to write to list and marks them.
func (c *pageCache) startWriting(w which, list []dirtyPage) []dirtyPage {
	c.mu.Lock()
	defer c.mu.Unlock()
	list = c.startListLocked(pageDirty, list)
	if w == allDirty {
		list = c.startListLocked(pageLogged, list)
	}
	return list
}

func (c *pageCache) startListLocked(state pageState, list []dirtyPage) []dirtyPage {
	for id := c.lists[state].head; id != 0; id = c.pages[id].lnext {
		list = c.startLocked(id, list)
	}
	return list
}

func (c *pageCache) startLocked(id pageID, list []dirtyPage) []dirtyPage {
	p := &c.pages[id]
	if p.writing {
		return list
	}
	p.writing, p.again = true, false
	return append(list, dirtyPage{p.key, id})
}

// startWritingRange is startWriting for the dirty pages among n blocks.
func (c *pageCache) startWritingRange(ino, from uint64, n int, list []dirtyPage) []dirtyPage {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range n {
		id := c.index[pageKey{ino, from + uint64(i)}]
		if id != 0 && c.pages[id].state != pageClean {
			list = c.startLocked(id, list)
		}
	}
	return list
}

// written notes that pages are in a segment, unless they changed since.
func (c *pageCache) written(list []dirtyPage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range list {
		p := &c.pages[d.id]
		p.writing, p.fresh = false, false
		if !p.again {
			c.setStateLocked(d.id, pageClean)
		}
	}
}

// notWritten notes that pages stay dirty.
func (c *pageCache) notWritten(list []dirtyPage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range list {
		c.pages[d.id].writing = false
	}
}
