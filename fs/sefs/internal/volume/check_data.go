package volume

import (
	"cmp"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"cloister/fs/sefs/internal/format"
)

const (
	batchBlocks  = 1 << 18 // blocks verified in the order of the host at a time: 1 GiB
	checkGap     = 8       // blocks read in vain rather than calling the host twice
	checkWorkers = 4       // at most
)

// A checkPiece is a run of blocks of a file to verify.
type checkPiece struct {
	ino, block uint64
	ptr        format.Ptr
	n, tag     int // blocks; the first one's tag in checkBatch.tags, counted in tags
}

func (p checkPiece) part(from, to int) checkPiece {
	return checkPiece{p.ino, p.block + uint64(from), p.ptr.Skip(from), to - from, p.tag + from}
}

// A checkBatch collects blocks, to read them in the order in which they lie on the host
// instead of that of files.
type checkBatch struct {
	pieces []checkPiece
	tags   []byte
	blocks int

	sorted []checkPiece // none crosses the end of a job
	jobs   []int        // where each job ends in sorted
}

func (b *checkBatch) add(k format.Key, e format.Extent, tagSize int) {
	b.pieces = append(b.pieces, checkPiece{k.Ino, k.Off, e.Ptr, e.Len(), len(b.tags) / tagSize})
	b.tags = append(b.tags, e.Tags...)
	b.blocks += e.Len()
}

func (b *checkBatch) reset() {
	b.pieces, b.tags, b.blocks = b.pieces[:0], b.tags[:0], 0
	b.sorted, b.jobs = b.sorted[:0], b.jobs[:0]
}

// plan cuts the batch into jobs of one host call each.
func (b *checkBatch) plan() {
	slices.SortFunc(b.pieces, func(x, y checkPiece) int {
		return cmp.Or(cmp.Compare(x.ptr.Segment, y.ptr.Segment), cmp.Compare(x.ptr.Block, y.ptr.Block))
	})
	var segment uint32
	first, end := 0, 0 // of the job
	for _, p := range b.pieces {
		for p.n > 0 {
			at := int(p.ptr.Block)
			if len(b.sorted) == 0 || p.ptr.Segment != segment || at > end+checkGap || at >= first+ioBlocks {
				if len(b.sorted) > 0 {
					b.jobs = append(b.jobs, len(b.sorted))
				}
				segment, first, end = p.ptr.Segment, at, at
			}
			n := min(p.n, first+ioBlocks-at)
			b.sorted = append(b.sorted, p.part(0, n))
			p, end = p.part(n, p.n), max(end, at+n)
		}
	}
	b.jobs = append(b.jobs, len(b.sorted))
}

// flush verifies the batch.
func (c *checker) flush() error {
	b := &c.batch
	defer b.reset()
	if len(b.pieces) == 0 {
		return nil
	}
	b.plan()
	workers := make([]*checkWorker, min(runtime.GOMAXPROCS(0), checkWorkers, len(b.jobs)))
	var wg sync.WaitGroup
	var next, done atomic.Int64
	tick := make(chan struct{}, 1)
	for i := range workers {
		w := &checkWorker{c: c}
		workers[i] = w
		wg.Go(func() { w.run(&next, &done, tick) })
	}
	go func() {
		wg.Wait()
		close(tick)
	}()
	for range tick {
		c.progress(done.Swap(0))
	}
	c.progress(done.Swap(0))
	var bad []Damage
	for _, w := range workers {
		if w.err != nil {
			return w.err
		}
		bad = append(bad, w.bad...)
	}
	for _, d := range joined(bad) {
		c.cfg.Damage(d)
	}
	return c.ctx.Err()
}

// joined sorts damage and joins what lies side by side in a file.
func joined(bad []Damage) []Damage {
	slices.SortFunc(bad, func(x, y Damage) int {
		return cmp.Or(cmp.Compare(x.Ino, y.Ino), cmp.Compare(x.Offset, y.Offset))
	})
	out := bad[:0]
	for _, d := range bad {
		if n := len(out); n > 0 && out[n-1].Ino == d.Ino && out[n-1].Offset+out[n-1].Bytes == d.Offset {
			out[n-1].Bytes += d.Bytes
			continue
		}
		out = append(out, d)
	}
	return out
}

// A checkWorker verifies jobs.
type checkWorker struct {
	c     *checker
	b     *ioBuf
	plain *[ioSize]byte
	bad   []Damage
	err   error // ended the work
}

// run does jobs until there is none, adds their bytes to done and signals tick.
func (w *checkWorker) run(next, done *atomic.Int64, tick chan<- struct{}) {
	w.b, w.plain = w.c.v.getBuf(), new([ioSize]byte)
	defer w.c.v.putBuf(w.b)
	for i := range w.b.plain {
		w.b.plain[i] = w.plain[i*format.BlockSize : (i+1)*format.BlockSize]
	}
	batch := &w.c.batch
	for {
		i := int(next.Add(1)) - 1
		if i >= len(batch.jobs) || w.c.ctx.Err() != nil {
			return
		}
		from := 0
		if i > 0 {
			from = batch.jobs[i-1]
		}
		parts := batch.sorted[from:batch.jobs[i]]
		if w.err = w.job(parts); w.err != nil {
			next.Store(int64(len(batch.jobs))) // nobody begins another
			return
		}
		bytes := 0
		for _, p := range parts {
			bytes += p.n * format.BlockSize
		}
		done.Add(int64(bytes))
		select {
		case tick <- struct{}{}:
		default:
		}
	}
}

// job reads the blocks from the first part to the last with one call and verifies
// them. Where the host does not give all, it asks for less, down to single blocks.
func (w *checkWorker) job(parts []checkPiece) error {
	first, end := parts[0].ptr, 0
	for _, p := range parts {
		end = max(end, int(p.ptr.Block)+p.n)
	}
	cipher := w.b.data[:(end-int(first.Block))*format.BlockSize]
	if err := w.c.v.segs.read(first, cipher); err != nil {
		p := parts[0]
		switch {
		case !isDamage(err):
			return err
		case len(parts) > 1:
			half := len(parts) / 2
			return cmp.Or(w.job(parts[:half]), w.job(parts[half:]))
		case p.n > 1:
			return cmp.Or(w.job([]checkPiece{p.part(0, p.n/2)}), w.job([]checkPiece{p.part(p.n/2, p.n)}))
		}
		w.damaged(p, err)
		return nil
	}
	tagSize := w.c.v.tagSize()
	for len(parts) > 0 {
		// Parts that were sealed one behind the other open together.
		run, n := 0, 0
		tags := w.b.tags[:0]
		for run < len(parts) && parts[run].ptr == parts[0].ptr.Skip(n) {
			p := parts[run]
			tags = append(tags, w.c.batch.tags[p.tag*tagSize:(p.tag+p.n)*tagSize]...)
			n += p.n
			run++
		}
		at := int(parts[0].ptr.Block-first.Block) * format.BlockSize
		if err := w.open(parts[:run], cipher[at:at+n*format.BlockSize], tags, tagSize); err != nil {
			return err
		}
		parts = parts[run:]
	}
	return nil
}

// open verifies parts that are one run.
func (w *checkWorker) open(parts []checkPiece, cipher, tags []byte, tagSize int) error {
	n := len(tags) / tagSize
	err := w.c.v.openBlocks(w.b, parts[0].ptr, cipher, w.b.plain[:n], tags)
	if !isNotAuthentic(err) {
		return err
	}
	// Which ones? After a failure the run says no more.
	i := 0
	for _, p := range parts {
		for j := range p.n {
			block := cipher[i*format.BlockSize : (i+1)*format.BlockSize]
			tag := tags[i*tagSize : (i+1)*tagSize]
			i++
			one := p.part(j, j+1)
			switch err := w.c.v.openBlocks(w.b, one.ptr, block, w.b.plain[:1], tag); {
			case isNotAuthentic(err):
				w.damaged(one, err)
			case err != nil:
				return err
			}
		}
	}
	return nil
}

func (w *checkWorker) damaged(p checkPiece, err error) {
	offset := int64(p.block) * format.BlockSize
	if n := len(w.bad); n > 0 && w.bad[n-1].Ino == p.ino && w.bad[n-1].Offset+w.bad[n-1].Bytes == offset {
		w.bad[n-1].Bytes += int64(p.n) * format.BlockSize
		return
	}
	w.bad = append(w.bad, Damage{
		Kind: DamageData, Ino: p.ino, Offset: offset, Bytes: int64(p.n) * format.BlockSize, Err: err,
	})
}
