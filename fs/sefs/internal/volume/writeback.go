package volume

import (
	"cmp"
	"slices"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/seal"
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
		if n, err = v.writeSome(list[:min(len(list), ioBlocks)]); err == nil {
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

// writeSome writes the first pages of list with one host call.
func (v *Volume) writeSome(list []dirtyPage) (int, error) {
	if err := v.makeRoom(); err != nil {
		return 0, err
	}
	ptr, n, err := v.alloc.take(len(list), 1)
	if err != nil {
		return 0, err
	}
	b := v.getBuf()
	list = list[:n]
	v.pages.plain(list, b.plain[:n])
	b.runs = b.runs[:0]
	for from := 0; from < n && err == nil; {
		to := from + 1
		for to < n && list[to].key.ino == list[from].key.ino {
			to++
		}
		s := v.stripe(list[from].key.ino)
		s.content.RLock()
		var at format.Ptr
		at, err = v.sealBlocks(b, ptr.Skip(from), from, to)
		s.content.RUnlock()
		b.addRuns(list, at, from, to)
		from = to
	}
	var w *sending
	if err == nil {
		w, err = v.send(b, ptr, n)
	}
	defer v.sent(w, b)
	if err != nil {
		v.alloc.give(ptr, n)
		return 0, err
	}
	if err := v.tree.mapAll(b.runs); err != nil {
		return 0, v.fail(err)
	}
	for i, d := range list {
		if i == 0 || list[i-1].key.ino != d.key.ino {
			v.stripe(d.key.ino).version.Add(1)
		}
	}
	return n, nil
}

// addRuns adds pages [from, to) of list, all of one file, which lie at p, to b.runs.
func (b *ioBuf) addRuns(list []dirtyPage, p format.Ptr, from, to int) {
	for i := from; i < to; {
		key, n := list[i].key, 1
		for i+n < to && n < format.MaxExtent && list[i+n].key.block == key.block+uint64(n) {
			n++
		}
		tags := b.tags[i*seal.TagSize : (i+n)*seal.TagSize]
		b.runs = append(b.runs, placed{key.ino, key.block, format.Extent{Ptr: p.Skip(i - from), Tags: tags}})
		i += n
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
