package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/seal"
	"cloister/fs/sefs/internal/store"
)

// Open opens a volume. It takes over st: Close and Abandon close it, and so
// does Open when it fails. What a crash left in the journal is replayed; a
// volume opened ReadOnly replays it in memory and writes nothing.
//
// Open for writing makes the lock file if there is none: look with Peek first
// whether there is a volume.
//
// Errors: EINVAL if there is no volume or one of an unknown version; EACCES
// (*seal.KeyError) if no slot opens with its key, the header was tampered
// with or Config.Root is another one; EBUSY if the volume is in use; ESTALE (*seal.StaleError) if Config.Anchor
// knows a newer state or another one; EIO (*seal.CorruptError) if its data is
// not authentic; EROFS for ReadWrite if it has features that forbid writing, or is integrity-only.
func Open(ctx context.Context, st store.Store, cfg Config) (*Volume, error) {
	return openVolume(ctx, st, cfg, nil)
}

// openVolume is Open, for repair if mend is not nil.
func openVolume(ctx context.Context, st store.Store, cfg Config, mend *mending) (_ *Volume, err error) {
	v := newVolume(st, cfg)
	v.mend = mend
	defer func() {
		if err != nil {
			v.crypt.Close()
			if v.ring != nil {
				v.ring.Wipe()
			}
			st.Close()
		}
	}()
	v.journal.lock, err = st.Lock(cfg.Access)
	if err != nil && !(cfg.Access == ReadOnly && errors.Is(err, unix.ENOENT)) {
		return nil, err
	}
	// Under the lock: before, somebody might be changing the key slots.
	if v.header, _, err = readHeader(st); err != nil { // st.Close closes the file
		return nil, err
	}
	if cfg.Access == ReadWrite {
		if err := v.header.CheckWritable(); err != nil {
			return nil, err
		}
	}
	if v.header.Mode == format.ModeIntegrity {
		if err := v.openIntegrity(); err != nil {
			return nil, err
		}
		return v, nil
	}
	if err := v.unlock(); err != nil {
		return nil, err
	}
	if v.k0, v.k1, err = v.ring.NameKey(); err != nil {
		return nil, err
	}
	h, err := v.readHeads()
	if err != nil {
		return nil, err
	}
	v.tree.load(&h)
	v.alloc.load(&h)
	v.sess = seal.NewSession(v.ring, v.seed())
	if err := v.readAnchor(ctx, &h); err != nil {
		return nil, err
	}
	if err := v.recover(ctx, &h); err != nil {
		return nil, err
	}
	v.start()
	return v, nil
}

func newVolume(st store.Store, cfg Config) *Volume {
	if cfg.NodeCacheBytes == 0 {
		cfg.NodeCacheBytes = defaultNodeCache
	}
	if cfg.PageCacheBytes == 0 {
		cfg.PageCacheBytes = defaultPageCache
	}
	if cfg.CommitInterval == 0 {
		cfg.CommitInterval = defaultCommitInterval
	}
	v := &Volume{
		st:    st,
		cfg:   cfg,
		log:   cfg.Log,
		now:   cfg.Now,
		crypt: seal.NewPool(),
		turn:  newTurn(),
		segs:  newSegments(st, cfg.Access),
		tree:  newTree(cfg.NodeCacheBytes),
		pages: newPageCache(cfg.PageCacheBytes),
	}
	if v.log == nil {
		v.log = slog.New(slog.DiscardHandler)
	}
	if v.now == nil {
		v.now = time.Now
	}
	v.nodeBufs.New = func() any { return new(nodeBuf) }
	v.dirtyLists.New = func() any { return new([]dirtyPage) }
	v.tx.v = v
	v.sendings.moved = sync.NewCond(&v.sendings.mu)
	v.alloc = newAllocator(v.tree)
	v.tree.read = v.readNodes
	return v
}

// start starts the background commits.
func (v *Volume) start() {
	if v.cfg.Access == ReadOnly || v.cfg.CommitInterval < 0 {
		return
	}
	v.stop = make(chan struct{})
	v.flusher.Go(func() { v.commitOften(v.cfg.CommitInterval) })
}

// unlock gets the secret of the volume.
func (v *Volume) unlock() error {
	secret, slot, err := openHeader(v.header, &v.cfg.Unlocking)
	if err != nil {
		return err
	}
	defer clear(secret[:])
	v.slot = slot
	v.ring = seal.NewKeyring(seal.KeyringConfig{Secret: secret, KeySize: v.header.KeySize(), Watch: v.cfg.watch})
	return nil
}

// readHeads returns the newest valid head.
func (v *Volume) readHeads() (h format.Head, err error) {
	if v.head.file, err = v.st.Open(headsName, v.cfg.Access); err != nil {
		return h, missing(headsName, err)
	}
	b := make([]byte, format.HeadStride+format.HeadSize)
	n, err := v.head.file.ReadAt(b, 0)
	if err != nil {
		return h, err
	}
	b = b[:n]
	found := false
	var slots [len(headSlots)][]byte
	for i, at := range headSlots {
		if int(at)+format.HeadSize > len(b) {
			break
		}
		slot := b[at : at+format.HeadSize]
		slots[i] = slot
		one, ok, err := openHead(v.ring, slot, v.header.UUID)
		if err != nil {
			return h, &seal.CorruptError{Block: headsName, Reason: err.Error()}
		}
		if ok && (!found || one.Seq > h.Seq) {
			h, found = one, true
			copy(v.head.last[:], slot)
		}
	}
	if !found {
		return h, &seal.CorruptError{Block: headsName, Reason: "no authentic head"}
	}
	for i, slot := range slots {
		v.head.same[i] = bytes.Equal(slot, v.head.last[:])
	}
	if h.Header > v.header.Generation {
		return h, &seal.KeyError{Problem: seal.KeyTampered, Reason: "the header of the volume is an older one, from before a change of its keys"}
	}
	v.head.seq = h.Seq
	v.journal.seq.Store(h.Commit)
	v.journal.size = int64(h.Journal)
	if v.cfg.maxJournal > 0 {
		v.journal.size = min(v.journal.size, v.cfg.maxJournal)
	}
	v.journal.tag = format.HeadTag(v.head.last[:])
	return h, nil
}

// missing turns the absence of a file that every volume has into corruption.
func missing(name string, err error) error {
	if errors.Is(err, unix.ENOENT) {
		return &seal.CorruptError{Block: name, Reason: "the file is missing"}
	}
	return fmt.Errorf("sefs: open volume: %w", err)
}
