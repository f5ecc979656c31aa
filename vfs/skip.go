package vfs

import (
	"strings"

	"golang.org/x/sys/unix"
)

// skip walks over the directories at the beginning of what is left, as far as they are in the cache and
// there is nothing else to them. It leaves the last component, and everything unusual, to
// the general walk: it is that walk, in one loop.
func (w *walker) skip() {
	if w.held || w.flags&WalkNoXdev != 0 {
		return
	}
	mnt, d, rest := w.mnt, w.d, trimSlashes(w.rest)
	root := w.cred.privileged()
	for d.dir != nil && d.dir.reval == nil && (root || d.dir.searchAll.always()) {
		i := strings.IndexByte(rest, '/')
		if i < 0 || rest[:i] == "." || rest[:i] == ".." {
			break
		}
		after := trimSlashes(rest[i:])
		if after == "" {
			break
		}
		c := d.child(rest[:i])
		if c == nil || c.kind != unix.S_IFDIR {
			break
		}
		for over := c.mounted.Load(); over != nil; over = c.mounted.Load() {
			mnt, c = over, over.sb.root
		}
		d, rest = c, after
	}
	w.mnt, w.d, w.rest = mnt, d, rest
}

// skipLive is skip where names change behind the VFS: it asks the driver once for all the directories at the beginning
// of what is left, instead of once for each. That says of the last one that it still is where it was, but not of
// those on the way. So it takes a caller who may search all of them, as far as was known in this second, and a path that does not lead back to them. Where
// they have been replaced, the last one cannot be used through them any more, if that is needed: the driver
// then says ESTALE, and the second walk asks for each name.
func (w *walker) skipLive() {
	root := w.cred.privileged()
	if !root && w.second == 0 {
		w.second = w.d.sb.now().Unix()
	}
	if w.single || w.flags&(WalkCached|WalkNoXdev) != 0 || strings.Contains(w.rest, "..") {
		return
	}
	start, n, names := w.d, 0, 0
	d := start
	for root || d.dir.searchAll.during(w.second) {
		i := strings.IndexByte(w.rest[n:], '/')
		if i < 0 || w.rest[n:n+i] == "." || trimSlashes(w.rest[n+i+1:]) != w.rest[n+i+1:] || n+i+1 == len(w.rest) {
			break
		}
		c := d.child(w.rest[n : n+i])
		if c == nil || !c.isDir() || c.mounted.Load() != nil {
			break
		}
		d, n, names = c, n+i+1, names+1
	}
	if names < 2 {
		return // nothing is saved
	}
	if w.hold() != nil || !d.tryGet() {
		return
	}
	if !start.dir.reval.RevalidatePath(w.ctx, w.rest[:n-1], d.dir.Dir) {
		d.put()
		w.single = true
		return
	}
	start.put()
	w.d, w.rest = d, w.rest[n:]
}
