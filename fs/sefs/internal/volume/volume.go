// Package volume is the storage engine of SEFS: a transactional store of items
// and file data on the untrusted host.
//
// All items of a volume are in one copy-on-write B+tree whose parents hold the
// tags of their children, so that the root authenticates everything. Nothing
// that the last checkpoint refers to is overwritten. Between checkpoints, a
// commit appends one sealed record to the journal, chained to the record
// before; recovery replays the records. docs/sefs-format.md has the layout and
// the argument why a crash leaves a committed state.
//
// Lock order, outermost first:
//
//	compactor.mu             one step of compaction at a time
//	Volume.turn              one commit at a time
//	  Volume.gate            shared by open transactions, exclusive to close them
//	    Volume.wbMu          exclusive for write-back of many files
//	      stripe.mapMu       where the blocks of a file are
//	        stripe.content   bytes of cached pages
//	          fetches.mu, fetch.mu  blocks read in advance
//	          sendings.mu    buffers on their way to the host
//	          allocator.mu   taking blocks
//	            tree.mu      tree and redo log
//	              leaf locks: allocator.spanMu, nodeCache.mu, pageCache.mu, segments.mu,
//	                          ioBufs.mu
package volume

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/seal"
	"cloister/fs/sefs/internal/store"
)

// Access says what a volume is opened for.
type Access = store.Access

const (
	ReadWrite = store.ReadWrite
	ReadOnly  = store.ReadOnly
)

// Defaults and limits, in bytes.
const (
	defaultNodeCache = 32 << 20
	defaultPageCache = 32 << 20
	minCache         = 1 << 20
	maxDirtyNodes    = 24 << 20 // above: checkpoint
	maxLog           = 8 << 20  // longer redo logs end in a checkpoint
	maxInlineCommit  = 64 << 10 // file data that travels in a journal record
)

const defaultCommitInterval = 5 * time.Second

// Config says how to open a volume.
type Config struct {
	Access Access

	Unlocking

	NodeCacheBytes int64 // clean nodes of the tree kept in memory; 0: 32 MiB
	PageCacheBytes int64 // file data kept in memory; 0: 32 MiB

	// CommitInterval is the time between commits that nobody asks for; 0: 5
	// seconds; negative: none, other than when memory limits are reached.
	CommitInterval time.Duration

	Log *slog.Logger     // nil: discarded
	Now func() time.Time // nil: time.Now

	// Root, if set, is that of the only state in which the volume may be opened.
	Root *[32]byte

	// Unpinned lets a volume that is integrity-only be opened without Root. Then it is only known
	// to agree with itself: the host may have made it.
	Unpinned bool

	// Anchor, if set, keeps the newest state where the host cannot turn it back.
	Anchor Anchor

	// Flush, if set, puts what the caller has not put yet (dirty inodes). It
	// is called before every commit and checkpoint, after data was written
	// back, when no other transaction is open; it must not call Begin, Commit
	// or End, and not wait for anybody who may be waiting in Begin.
	Flush func(*Tx) error

	// watch is told of every message sealed; for tests.
	watch func(key [32]byte, nonce [seal.NonceSize]byte)

	// maxJournal, if not 0, bounds the journal in bytes; for tests that want
	// many checkpoints.
	maxJournal int64
}

// stripes is the number of lock stripes that inodes share, one for each bit of a
// stripeSet.
const stripes = 64

// A stripe holds the locks of the files whose inode numbers fall on it.
type stripe struct {
	mapMu   sync.Mutex   // held while blocks of the file move
	content sync.RWMutex // guards the bytes of its cached pages
	version atomic.Uint64
	_       [24]byte
}

// A Volume is one open volume. Its methods may be called concurrently.
type Volume struct {
	st       store.Store
	cfg      Config
	log      *slog.Logger
	now      func() time.Time
	header   *format.Header
	slot     int // the key slot that opened it; -1: there is none
	ring     *seal.Keyring
	root     *[32]byte // of a volume that is integrity-only; else nil
	crypt    *seal.Pool
	bufs     ioBufs
	sendings sendings
	fetches  fetches
	sess     *seal.Session
	tx       Tx
	k0, k1   uint64 // key of NameHash

	nodeBufs   sync.Pool // of *nodeBuf
	dirtyLists sync.Pool // of *[]dirtyPage

	segs    *segments
	alloc   *allocator
	tree    *tree
	pages   *pageCache
	stripes [stripes]stripe
	compact compactor

	turn    *turn
	head    headState
	journal journal
	fresh   freshness

	gate sync.RWMutex
	wbMu sync.RWMutex

	started   atomic.Uint64 // commits begun
	completed atomic.Uint64 // number of the last commit that succeeded
	broken    atomic.Pointer[error]
	closed    atomic.Bool
	mend      *mending // nil: not open for repair

	stop       chan struct{}
	flusher    sync.WaitGroup
	crashes    uint64 // records replayed by Open
	checkpoint atomic.Uint64
}

// UUID returns the identity of the volume, chosen when it was made.
func (v *Volume) UUID() [16]byte { return v.header.UUID }

// NameHash returns the keyed hash (SipHash-2-4) of a file name. It is the same
// for the life of the volume, and the host cannot compute it.
func (v *Volume) NameHash(name string) uint64 { return seal.SipHash(v.k0, v.k1, name) }

// fail makes the volume refuse every further change: its state in memory or on
// the host is no longer certain. It returns the error to report.
func (v *Volume) fail(err error) error {
	broken := fmt.Errorf("sefs: volume is read-only after an error: %w", unix.EIO)
	if v.broken.CompareAndSwap(nil, &broken) {
		v.log.Error("volume turned read-only", "error", err)
	}
	return err
}

// writable returns why the volume cannot be changed, or nil.
func (v *Volume) writable() error {
	if v.cfg.Access == ReadOnly {
		return unix.EROFS
	}
	if err := v.broken.Load(); err != nil {
		return *err
	}
	return nil
}

// Abandon drops everything that is not committed, flushes nothing and releases
// the store: what is left is what a killed process leaves. No other call may be
// running or follow.
func (v *Volume) Abandon() {
	if v.release() {
		v.st.Close()
	}
}

// Close makes everything durable in a checkpoint and releases the store. No
// other call may be running or follow. If it fails the volume stays open;
// Abandon then gives it up.
func (v *Volume) Close(ctx context.Context) error {
	if v.closed.Load() {
		return nil
	}
	if err := v.commitLast(ctx); err != nil {
		return err
	}
	failed := v.writable()
	if !v.release() {
		return nil
	}
	err := v.st.Close()
	if v.cfg.Access == ReadWrite && failed != nil {
		return failed
	}
	return err
}

// commitLast makes everything durable in a checkpoint and ends compaction: what it
// moved later would not be in it.
func (v *Volume) commitLast(ctx context.Context) error {
	v.compact.mu.Lock()
	defer v.compact.mu.Unlock()
	if v.cfg.Access == ReadWrite && v.broken.Load() == nil {
		if err := v.commit(ctx, untilClean); err != nil {
			return err
		}
	}
	v.compact.stopped = true
	return nil
}

// release ends the goroutines and forgets the keys; false if that was done.
func (v *Volume) release() bool {
	if v.closed.Swap(true) {
		return false
	}
	if v.stop != nil {
		close(v.stop)
	}
	v.flusher.Wait()
	closed := fmt.Errorf("sefs: volume is closed: %w", unix.EIO)
	v.broken.Store(&closed)
	v.crypt.Close()
	if v.ring != nil {
		v.ring.Wipe()
	}
	return true
}

// commitOften commits every interval until the volume is released.
func (v *Volume) commitOften(interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-v.stop:
			return
		case <-tick.C:
			if v.broken.Load() != nil {
				continue
			}
			if err := v.commit(context.Background(), ifNeeded); err != nil {
				v.log.Warn("commit failed", "error", err)
				continue
			}
			if _, err := v.compactSome(context.Background(), roundBlocks, func(int64) {}); err != nil {
				v.log.Warn("compaction failed", "error", err)
			}
		}
	}
}

// Stats are numbers about a volume.
type Stats struct {
	BlocksUsed  uint64 // 4096-byte blocks in use, the tree included
	Segments    uint64 // segment files
	HostBytes   uint64 // bytes of the segment files at most, without journal
	DirtyBytes  int64  // file data not yet in segments
	DirtyNodes  int64  // bytes of nodes changed since the last checkpoint
	Seq         uint64 // number of the last commit
	Checkpoints uint64 // checkpoints since Open
	Replayed    uint64 // journal records that Open replayed
}

// Stats returns numbers about the volume at this moment.
func (v *Volume) Stats() Stats {
	used, live := v.alloc.usage()
	return Stats{
		BlocksUsed:  used,
		Segments:    live,
		HostBytes:   live * format.SegmentBlocks * format.BlockSize,
		DirtyBytes:  v.pages.dirtyBytes(),
		DirtyNodes:  v.tree.dirtyBytes(),
		Seq:         v.journal.seq.Load(),
		Checkpoints: v.checkpoint.Load(),
		Replayed:    v.crashes,
	}
}

func (v *Volume) stripe(ino uint64) *stripe { return &v.stripes[stripeOf(ino)] }

func stripeOf(ino uint64) int { return int((ino * 0x9e3779b97f4a7c15) >> (64 - 6)) }
