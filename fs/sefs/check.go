package sefs

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/seal"
	"cloister/fs/sefs/internal/store"
	"cloister/fs/sefs/internal/volume"
)

// CheckDepth says how far Check goes.
type CheckDepth int

const (
	CheckBlocks CheckDepth = iota // every node and every block is authentic, and accounted for
	CheckTree                     // and the files, names and attributes make a sound tree
)

// CheckConfig says what Check checks.
type CheckConfig struct {
	OpenConfig // Access does not count: the image is opened for reading
	Depth      CheckDepth

	// Progress is told how many bytes on the host have been verified, of how many; nil: not called.
	Progress func(done, total int64)

	// Limit bounds the problems and the paths that a report lists; 0: 10000 of each.
	Limit int
}

const defaultProblems = 10_000

// A Problem is one thing that Check found to be wrong.
type Problem struct {
	Kind  ProblemKind
	Ino   uint64   // the file, if it is about one
	Paths []string // all that it affects, as far as they are known

	// Bytes of the file at Offset cannot be read; 0: it is not about data.
	Offset, Bytes int64

	Text string

	from, to format.Key // lost items
}

// ProblemKind groups problems by what they are about.
type ProblemKind string

const (
	ProblemVolume    ProblemKind = "volume"    // the image does not open, or a copy of its head is damaged
	ProblemNode      ProblemKind = "node"      // a part of the tree cannot be read: names, attributes, places of data
	ProblemData      ProblemKind = "data"      // blocks of a file cannot be read
	ProblemSpace     ProblemKind = "space"     // blocks are used twice, or recorded wrongly as used or free
	ProblemStructure ProblemKind = "structure" // items that are authentic and do not fit together
)

// A CheckReport is the outcome of Check.
type CheckReport struct {
	Bytes   int64 // verified on the host
	Inodes  int64 // that can be read
	Orphans int64 // without a name; they go at the next mount for writing

	Problems []Problem
	Omitted  int64 // problems above the limit
}

// Clean reports whether nothing was found.
func (r *CheckReport) Clean() bool { return len(r.Problems) == 0 && r.Omitted == 0 }

// Check reads an image in a directory of the host in full, and says what is wrong with it. It
// writes nothing. An image that opens with the key but whose head or journal is damaged is a report
// with that one problem.
//
// Memory: at most about 110 MiB, 4 KiB for each 64 MiB of data, and with CheckTree about 50 bytes for each
// inode, of which 21 are kept.
//
// Errors: as Open; that of ctx.
func Check(ctx context.Context, dir string, cfg CheckConfig) (*CheckReport, error) {
	if cfg.Limit == 0 {
		cfg.Limit = defaultProblems
	}
	c := &check{cfg: cfg, ctx: ctx, report: new(CheckReport)}
	c.cfg.Access = ReadOnly
	if err := c.open(dir, volume.Open); err != nil || c.vol == nil {
		return c.report, err
	}
	defer c.vol.Abandon() // opened for reading: there is nothing to lose
	if err := c.run(); err != nil {
		return nil, fmt.Errorf("sefs: check image %q: %w", dir, err)
	}
	return c.report, nil
}

// check is one run of Check.
type check struct {
	cfg    CheckConfig
	ctx    context.Context
	vol    *volume.Volume
	report *CheckReport
	lost   []lostRange // in the order of keys, disjoint
	kinds  map[ProblemKind]bool
	tree   treeCheck
}

// lostRange are keys whose items cannot be read.
type lostRange struct{ from, to format.Key }

// open opens the volume with open, without the file system on it, which may be what is broken.
// If it is damaged so badly that it does not open, that is reported and there is no volume.
func (c *check) open(dir string, open func(context.Context, store.Store, volume.Config) (*volume.Volume, error)) (err error) {
	ic, err := c.cfg.image(dir)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = ic.st.Close() // nothing was written
			err = fmt.Errorf("sefs: image %q: %w", dir, err)
		}
	}()
	empty, err := ic.st.Empty()
	if err != nil {
		return err
	}
	if empty {
		return fmt.Errorf("the directory is empty: %w", unix.EINVAL)
	}
	c.vol, err = open(c.ctx, ic.st, volume.Config{
		Access: c.cfg.Access, Unlocking: ic.keys.unlocking(), Anchor: anchorOf(ic.counter),
		Root: (*[32]byte)(ic.mac), Unpinned: ic.unpinned,
		NodeCacheBytes: ic.nodes, PageCacheBytes: ic.pages, Log: ic.log, Now: ic.now,
	})
	if corrupt, ok := errors.AsType[*seal.CorruptError](err); ok {
		c.found(Problem{Kind: ProblemVolume, Text: corrupt.Error() + "; nothing else could be checked"})
		_ = ic.st.Close() // nothing was written
		err = nil
	}
	return err
}

func (c *check) run() error {
	cfg := volume.CheckConfig{Damage: c.damage, Item: c.count, Progress: c.progress}
	if c.cfg.Depth == CheckTree {
		if err := c.tree.init(c); err != nil {
			return err
		}
		cfg.Item = c.tree.item
	}
	if err := c.vol.Check(c.ctx, cfg); err != nil {
		return err
	}
	if c.cfg.Depth == CheckTree {
		if err := c.tree.finish(); err != nil {
			return err
		}
	}
	return c.name()
}

func (c *check) progress(done, total int64) {
	c.report.Bytes = done
	if c.cfg.Progress != nil {
		c.cfg.Progress(done, total)
	}
}

// count is what happens to an item when only blocks are checked.
func (c *check) count(k format.Key, _ []byte) error {
	switch k.Type {
	case format.TypeInode:
		c.report.Inodes++
	case format.TypeOrphan:
		c.report.Orphans++
	}
	return nil
}

// found adds a problem to the report.
func (c *check) found(p Problem) {
	if c.kinds == nil {
		c.kinds = make(map[ProblemKind]bool)
	}
	c.kinds[p.Kind] = true
	if len(c.report.Problems) >= c.cfg.Limit {
		c.report.Omitted++
		return
	}
	c.report.Problems = append(c.report.Problems, p)
}

// damage takes what the engine found.
func (c *check) damage(d volume.Damage) {
	p := Problem{Ino: d.Ino, Text: d.Err.Error()}
	switch d.Kind {
	case volume.DamageHead:
		p.Kind = ProblemVolume
		p.Text += "; the other copy is whole, and the next mount for writing mends it"
	case volume.DamageJournal:
		p.Kind = ProblemVolume
		p.Text += "; the commits from there on are lost"
	case volume.DamageNode:
		p.Kind, p.from, p.to = ProblemNode, d.From, d.To
		p.Text += "; what it says of these files is lost"
		c.lost = append(c.lost, lostRange{d.From, d.To})
	case volume.DamageData:
		p.Kind, p.Offset, p.Bytes = ProblemData, d.Offset, d.Bytes
	case volume.DamageItem:
		p.Kind = ProblemStructure
		if d.Ino == 0 {
			p.Kind = ProblemSpace // the engine has no other items there
		}
	case volume.DamageSpace:
		p.Kind = ProblemSpace
		if d.Bytes > 0 {
			p.Text += fmt.Sprintf("; here at byte %d of the file", d.Offset)
		}
	}
	c.found(p)
}

// isLost reports whether an item with key from <= k < to may have been lost.
func (c *check) isLost(from, to format.Key) bool {
	i := c.firstLost(from)
	return i < len(c.lost) && c.lost[i].from.Less(to)
}

// firstLost returns the first in c.lost that ends behind a key.
func (c *check) firstLost(k format.Key) int {
	i, _ := slices.BinarySearchFunc(c.lost, k, func(l lostRange, k format.Key) int {
		if k.Less(l.to) {
			return 1
		}
		return -1
	})
	return i
}

// inodeLost reports whether items of ino may have been lost.
func (c *check) inodeLost(ino uint64) bool {
	return c.isLost(inodeKey(ino), format.Key{Ino: ino + 1})
}
