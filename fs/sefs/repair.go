package sefs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/volume"
)

// A RepairReport is the outcome of Repair.
type RepairReport struct {
	Found *CheckReport // before

	Changes []Change
	Omitted int64 // changes above the limit

	// Left is what a check found after the repair: what is damaged for good, such as blocks
	// of files. nil: nothing was changed, and what was found is left.
	Left *CheckReport
}

// A Change is one thing that Repair did.
type Change struct {
	Ino   uint64   // the file; 0: the volume
	Paths []string // of the file, after the repair
	Text  string
}

// Repair checks an image in a directory of the host as Check does with CheckTree, and mends what can be
// mended without inventing anything:
//
//   - What is behind a damaged node of the tree is cut off. Entries that point to nothing any more are removed,
//     and files without a name get one in /lost+found. Blocks of a file whose place was lost
//     cannot be read (EIO) until they are written, for zeros would be wrong bytes.
//   - A file whose attributes are lost leaves its name, for nobody knows whether it is whole or who may read
//     it. What there is of it goes to /lost+found, for root only.
//   - Numbers of links, sizes, numbers of blocks and attributes, types and parents become what there is.
//   - The record of free space and the counts in the head are made anew.
//   - Blocks that cannot be read stay so, and the file keeps the others.
//
// Everything is one commit under the exclusive lock: an interruption leaves the image as it was.
//
// Memory: as Check, and what the changed parts of the tree take.
//
// Errors: as Open with ReadWrite: EROFS for an image that cannot be changed, EBUSY, EACCES; ENOSPC; that of ctx. The
// image is as it was, unless there is a report with changes too: then only the check after them failed.
func Repair(ctx context.Context, dir string, cfg CheckConfig) (*RepairReport, error) {
	if cfg.Limit == 0 {
		cfg.Limit = defaultProblems
	}
	cfg.Depth, cfg.Access = CheckTree, ReadWrite
	c := &check{cfg: cfg, ctx: ctx, report: new(CheckReport)}
	r := &RepairReport{Found: c.report}
	switch err := c.open(dir, volume.OpenRepair); {
	case err != nil:
		return nil, err
	case c.vol == nil:
		return r, nil
	}
	mended, err := c.mend(r)
	c.vol.Abandon() // what counts is committed
	if err != nil {
		return nil, fmt.Errorf("sefs: repair image %q: %w", dir, err)
	}
	if mended {
		if r.Left, err = Check(ctx, dir, cfg); err != nil {
			err = fmt.Errorf("sefs: the repair of image %q is committed, the check after it is not complete: %w", dir, err)
		}
	}
	return r, err
}

// mend checks and mends, and reports whether it did the latter.
func (c *check) mend(r *RepairReport) (bool, error) {
	if err := c.run(); err != nil {
		return false, err
	}
	c.tree = treeCheck{}
	delete(c.kinds, ProblemData)
	if len(c.kinds) == 0 {
		return false, nil
	}
	tx, err := c.vol.Repair(c.ctx)
	if err != nil {
		return false, err
	}
	m := &mender{c: c, vol: c.vol, tx: tx, report: r, now: c.now()}
	if err := m.run(); err != nil {
		return false, err
	}
	if c.kinds[ProblemVolume] {
		m.changed(0, "the copies of the head and the journal were made whole")
	}
	if c.kinds[ProblemNode] {
		m.changed(0, "what is behind damaged nodes was cut off")
	}
	if c.kinds[ProblemNode] || c.kinds[ProblemSpace] {
		m.changed(0, "the record of the space in use was made anew")
	}
	if len(r.Changes) == 0 {
		return false, nil // there was nothing that could be mended
	}
	return true, c.vol.EndRepair(c.ctx)
}

func (c *check) now() unix.Timespec {
	now := c.cfg.Now
	if now == nil {
		now = time.Now
	}
	return unix.NsecToTimespec(now().UnixNano())
}

// A mender mends the items of a volume. The first pass makes each inode by itself sound and lists
// all of them, the second one does that for the entries of directories; then files without a name
// get one, and the numbers of links are set.
type mender struct {
	c      *check
	vol    *volume.Volume
	tx     *volume.Tx
	report *RepairReport
	now    unix.Timespec

	edits  []func() error // wait for the end of a walk
	spoilt uint64         // blocks made unreadable so far

	cur     mendInode
	nextIno uint64 // 0: there is none
	orphans []uint64

	// What is known of each inode, as in treeCheck.
	inos   []uint64
	nlink  []uint32
	names  []uint32
	parent []uint32
	flags  []uint8

	dirs []mendDir // in the order of their numbers
	lost *mendDir  // /lost+found
}

// flagBare marks an inode whose attributes were lost.
const flagBare = 0x80

// A mendDir is a directory.
type mendDir struct {
	at     uint32 // position in mender.inos
	parent uint64 // that it says it has
	size   uint64 // bytes that it says it has

	entries uint64 // that are visible
	subdirs uint32
}

func (m *mender) run() error {
	if err := m.each(m.item); err != nil {
		return err
	}
	m.finishInode()
	if err := m.flush(); err != nil {
		return err
	}
	if err := m.root(); err != nil {
		return err
	}
	if err := m.each(m.entries); err != nil {
		return err
	}
	if err := m.cycles(); err != nil {
		return err
	}
	if err := m.nameless(); err != nil {
		return err
	}
	if err := m.links(); err != nil {
		return err
	}
	return m.paths()
}

// changed notes what was done to an inode.
func (m *mender) changed(ino uint64, text string, args ...any) {
	if len(m.report.Changes) >= m.c.cfg.Limit {
		m.report.Omitted++
		return
	}
	m.report.Changes = append(m.report.Changes, Change{Ino: ino, Text: fmt.Sprintf(text, args...)})
}

// mostEdits is how many changes wait for the walk over the tree to pause.
const mostEdits = 4096

var errPause = errors.New("pause")

// each calls look for all items. Nothing may change the tree meanwhile: look asks for changes
// with later.
func (m *mender) each(look func(k format.Key, val []byte)) error {
	var from format.Key
	for paused := true; paused; {
		paused = false
		err := m.vol.Walk(m.c.ctx, from, func(k format.Key, val []byte) error {
			if len(m.edits) >= mostEdits {
				from, paused = k, true
				return errPause
			}
			look(k, val)
			return nil
		})
		if err != nil && !paused {
			return err
		}
		if err := m.flush(); err != nil {
			return err
		}
	}
	return nil
}

func (m *mender) later(edit func() error) { m.edits = append(m.edits, edit) }

func (m *mender) flush() error {
	for _, edit := range m.edits {
		if err := edit(); err != nil {
			return err
		}
	}
	clear(m.edits)
	m.edits = m.edits[:0]
	return nil
}

// drop removes an item, later.
func (m *mender) drop(k format.Key) { m.later(func() error { return m.tx.Drop(k) }) }

// find returns the position of an inode.
func (m *mender) find(ino uint64) (at uint32, ok bool) {
	t := treeCheck{inos: m.inos}
	return t.find(ino)
}

func (m *mender) isDir(at uint32) bool { return m.flags[at]&typeMask == unix.DT_DIR }

// dir returns the directory at a position.
func (m *mender) dir(at uint32) *mendDir {
	i, _ := findDir(m.dirs, at)
	return &m.dirs[i]
}

// editInode changes the attributes of an inode.
func (m *mender) editInode(ino uint64, change func(n *format.Inode)) error {
	var buf [format.InodeLen]byte
	val, err := m.vol.Get(inodeKey(ino), buf[:0])
	if err != nil {
		return err
	}
	n, err := format.DecodeInode(val)
	if err != nil {
		return err
	}
	change(&n)
	return m.tx.Put(inodeKey(ino), n.Append(buf[:0]))
}

// paths gives the changes their paths.
func (m *mender) paths() error {
	c := check{cfg: m.c.cfg, ctx: m.c.ctx, vol: m.vol, report: new(CheckReport)}
	for _, change := range m.report.Changes {
		c.report.Problems = append(c.report.Problems, Problem{Ino: change.Ino})
	}
	if err := c.name(); err != nil {
		return err
	}
	for i, p := range c.report.Problems {
		m.report.Changes[i].Paths = p.Paths
	}
	return nil
}
