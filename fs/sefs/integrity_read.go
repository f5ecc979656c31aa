package sefs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/seal"
	"cloister/fs/sefs/internal/volume"
)

// The tree is read and hashed in pieces, by all processors, and written in the order of the pieces by
// one goroutine. A piece is some files that follow each other, or a part of a large one.
const (
	pieceSize   = 1 << 20 // bytes
	pieceBlocks = pieceSize / format.BlockSize
	pieceFiles  = 512
	hashSize    = seal.HashSize
	maxReaders  = 8
)

// maxInline is the most bytes, without the zeros at the end, of a file that is stored as an item.
const maxInline = 2048

// A blockRun is consecutive blocks of a file in memory. The zero blockRun has none.
type blockRun struct {
	n      int
	bytes  []byte // whole blocks
	zero   []bool // holes
	hashes []byte // of the others
	item   []byte // what is stored as an item in the place of the only block; nil: the block is
}

// count returns how many are no holes.
func (r *blockRun) count() (n int64) {
	for _, zero := range r.zero[:r.n] {
		n += int64(bit(!zero))
	}
	return n
}

// A piece is a unit of reading.
type piece struct {
	from, to int // of the order: these files, whole, ...

	large       *largeFile // ... or blocks of this one
	first, last bool       // of its pieces
	off         int64
	size        int

	runs   []blockRun          // of each file
	xattrs []map[string][]byte // of each file

	err  error
	done chan struct{} // cap 1

	data   [pieceSize]byte
	zero   [pieceBlocks]bool
	hashes [pieceBlocks * hashSize]byte
}

// largeFile is an open file of several pieces.
type largeFile struct {
	f      *buildFile
	file   TreeFile
	xattrs map[string][]byte
	users  atomic.Int32

	item   volume.Pending // its INODE, until all is known
	blocks int64
}

func (l *largeFile) done() {
	if l.users.Add(-1) == 0 {
		l.file.Close() // it was only read
	}
}

// readAll reads all files and puts their items.
func (b *integrityBuild) readAll(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	readers := min(runtime.GOMAXPROCS(0), maxReaders)
	pieces := 2*readers + 1
	free, work, ordered := make(chan *piece, pieces), make(chan *piece, pieces), make(chan *piece, pieces)
	for range pieces {
		free <- &piece{done: make(chan struct{}, 1)}
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		defer close(ordered)
		defer close(work)
		p := producer{b: b, ctx: ctx, free: free, give: func(p *piece) {
			ordered <- p
			work <- p
		}}
		p.run()
		p.walk.close()
	})
	for range readers {
		wg.Go(func() {
			w := treeWalk{root: b.cfg.Tree}
			for p := range work {
				b.read(ctx, &w, p)
				p.done <- struct{}{}
			}
			w.close()
		})
	}
	for p := range ordered {
		<-p.done
		if p.err != nil {
			return p.err
		}
		if err := b.putPiece(p); err != nil {
			return err
		}
		free <- p
	}
	return ctx.Err()
}

// putPiece puts the items of a piece.
func (b *integrityBuild) putPiece(p *piece) (err error) {
	l := p.large
	if l == nil {
		for i, f := range b.order[p.from:p.to] {
			if err := b.putFile(f, &p.runs[i], p.xattrs[i]); err != nil {
				return err
			}
		}
		return nil
	}
	if p.first {
		if l.item, err = b.load.PutLater(inodeKey(l.f.ino), format.InodeLen); err != nil {
			return err
		}
	}
	run := &p.runs[0]
	blocks := run.count()
	l.blocks += blocks
	b.did(0, min(blocks*format.BlockSize, int64(p.size)))
	if err := b.putBlocks(l.f, p.off/format.BlockSize, run); err != nil {
		return err
	}
	if !p.last {
		return nil
	}
	if err := l.item.Set(b.inodeItem(l.f, len(l.xattrs), l.blocks)); err != nil {
		return err
	}
	b.did(int64(l.f.names), 0)
	return b.putXattrs(l.f, l.xattrs)
}

func (b *integrityBuild) xattrsOf(ctx context.Context, f *buildFile, file TreeFile) (map[string][]byte, error) {
	xattrs, err := file.Xattrs(ctx)
	if err != nil || len(xattrs) == 0 {
		return nil, err
	}
	return b.keptXattrs(f.path(), xattrs)
}

// read reads a piece and hashes it.
func (b *integrityBuild) read(ctx context.Context, w *treeWalk, p *piece) {
	if l := p.large; l != nil {
		if l.file == nil {
			return
		}
		defer l.done()
		if p.err == nil {
			p.err = ctx.Err()
		}
		if p.err == nil {
			p.runs = append(p.runs, blockRun{})
			p.runs[0], p.err = p.take(ctx, l.file, l.f, 0, p.off, p.size)
		}
		return
	}
	at := 0
	for _, f := range b.order[p.from:p.to] {
		var run blockRun
		var xattrs map[string][]byte
		if f.kind() == unix.S_IFREG {
			if p.err = ctx.Err(); p.err != nil {
				return
			}
			if run, xattrs, p.err = b.readFile(ctx, w, p, f, at); p.err != nil {
				return
			}
			at += run.n
		}
		p.runs, p.xattrs = append(p.runs, run), append(p.xattrs, xattrs)
	}
}

// readFile reads a whole file to the blocks of p from block at on.
func (b *integrityBuild) readFile(ctx context.Context, w *treeWalk, p *piece, f *buildFile, at int) (run blockRun, xattrs map[string][]byte, err error) {
	file, err := w.open(ctx, f)
	if err != nil {
		return run, nil, err
	}
	defer file.Close()
	if xattrs, err = b.xattrsOf(ctx, f, file); err != nil {
		return run, nil, err
	}
	run, err = p.take(ctx, file, f, at, 0, int(f.size))
	return run, xattrs, err
}

// take reads size bytes of a file to the blocks of p from block at on, and hashes them.
func (p *piece) take(ctx context.Context, file TreeFile, f *buildFile, at int, off int64, size int) (run blockRun, err error) {
	n := (size + format.BlockSize - 1) / format.BlockSize
	run = blockRun{
		n: n, bytes: p.data[at*format.BlockSize : (at+n)*format.BlockSize],
		zero: p.zero[at : at+n], hashes: p.hashes[at*hashSize : (at+n)*hashSize],
	}
	for done := 0; done < size; {
		got, err := file.ReadAt(ctx, run.bytes[done:size], off+int64(done))
		if err != nil {
			return run, err
		}
		if got <= 0 {
			return run, fmt.Errorf("sefs: %s became shorter while it was read: %w: %w", f.path(), io.ErrUnexpectedEOF, unix.EIO)
		}
		done += got
	}
	clear(run.bytes[size:])
	for i := range n {
		block := run.bytes[i*format.BlockSize : (i+1)*format.BlockSize]
		run.zero[i] = block[0] == 0 && bytes.Equal(block, zeroBlock[:])
	}
	if n == 1 && f.size <= format.BlockSize && !run.zero[0] {
		if data := format.TrimZeros(run.bytes); len(data) <= maxInline {
			run.item = data
			return run, nil
		}
	}
	for i := range n {
		if !run.zero[i] {
			sum := seal.Checksum(run.bytes[i*format.BlockSize : (i+1)*format.BlockSize])
			copy(run.hashes[i*hashSize:], sum[:])
		}
	}
	return run, nil
}

var zeroBlock [format.BlockSize]byte

// A treeWalk opens files by their places in the tree. It keeps the last directory open.
type treeWalk struct {
	root TreeDir
	at   *buildDir
	dir  TreeDir // of at; nil: none is open
}

func (w *treeWalk) close() {
	if w.dir != nil {
		w.dir.Close() // it was only read
		w.at, w.dir = nil, nil
	}
}

func (w *treeWalk) open(ctx context.Context, f *buildFile) (TreeFile, error) {
	d := f.parent
	if d.parent == nil {
		return w.root.Open(ctx, f.name)
	}
	if w.at != d {
		dir, err := w.enter(ctx, d)
		if err != nil {
			return nil, err
		}
		w.close()
		w.at, w.dir = d, dir
	}
	return w.dir.Open(ctx, f.name)
}

// enter opens a directory below the root.
func (w *treeWalk) enter(ctx context.Context, d *buildDir) (TreeDir, error) {
	if d.parent.parent == nil {
		return w.root.Dir(ctx, d.name)
	}
	up, err := w.enter(ctx, d.parent)
	if err != nil {
		return nil, err
	}
	defer up.Close()
	return up.Dir(ctx, d.name)
}
