package sefs

import (
	"context"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
)

// A producer makes pieces.
type producer struct {
	b    *integrityBuild
	ctx  context.Context
	free chan *piece
	give func(*piece)
	walk treeWalk
}

// next returns a piece to fill; nil: the work is over.
func (p *producer) next() *piece {
	select {
	case x := <-p.free:
		x.large, x.err, x.runs, x.xattrs = nil, nil, x.runs[:0], x.xattrs[:0]
		return x
	case <-p.ctx.Done():
		return nil
	}
}

func (p *producer) run() {
	p.walk.root = p.b.cfg.Tree
	order := p.b.order
	for i := 0; i < len(order); {
		x := p.next()
		if x == nil {
			return
		}
		x.from = i
		for room := pieceBlocks; i < len(order) && i-x.from < pieceFiles; i++ {
			need := 0
			if f := order[i]; f.kind() == unix.S_IFREG {
				if f.size > pieceSize {
					break
				}
				need = int(f.size+format.BlockSize-1) / format.BlockSize
			}
			if need > room {
				break
			}
			room -= need
		}
		x.to = i
		if x.to > x.from {
			p.give(x)
			continue
		}
		if !p.large(order[i], x) {
			return
		}
		i++
	}
}

// large makes the pieces of a large file, the first of them x, and leaves out what is sure to be
// a hole.
func (p *producer) large(f *buildFile, x *piece) bool {
	l, err := p.open(f)
	if err != nil {
		x.err = err
		x.large = &largeFile{f: f} // nobody reads it
		p.give(x)
		return false
	}
	l.users.Store(1)
	defer l.done()
	first := true
	give := func(off int64, size int, last bool) (more bool) {
		x.large, x.first, x.last, x.off, x.size = l, first, last, off, size
		first = false
		l.users.Add(1)
		p.give(x)
		if last {
			return true
		}
		x = p.next()
		return x != nil
	}
	for off := int64(0); off < f.size; {
		data, err := l.file.NextData(p.ctx, off)
		if err != nil {
			x.err = err
			give(off, 0, true)
			return false
		}
		if data >= f.size {
			break
		}
		off = max(off, data/pieceSize*pieceSize)
		size := min(pieceSize, f.size-off)
		if !give(off, int(size), false) {
			return false
		}
		off += size
	}
	give(f.size, 0, true) // without data: the file is complete
	return true
}

// open opens a large file.
func (p *producer) open(f *buildFile) (*largeFile, error) {
	file, err := p.walk.open(p.ctx, f)
	if err != nil {
		return nil, err
	}
	xattrs, err := p.b.xattrsOf(p.ctx, f, file)
	if err != nil {
		file.Close()
		return nil, err
	}
	return &largeFile{f: f, file: file, xattrs: xattrs}, nil
}
