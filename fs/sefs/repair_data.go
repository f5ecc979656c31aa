package sefs

import (
	"errors"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/volume"
)

// A reach are blocks [from, to) of a file.
type reach struct{ from, to uint64 }

// mostSpoilt is how many blocks one repair makes unreadable at most, 64 GiB. What would be more is cut
// off the file: that is a sparse one, of which nobody knows where in the hole its data was.
const mostSpoilt = 1 << 24

// data looks at an item of a file's data.
func (m *mender) data(k format.Key, val []byte) {
	i := &m.cur
	if !m.only(k, unix.S_IFREG) {
		return
	}
	if k.Type == format.TypeInline {
		if k.Off != 0 || len(val) > volume.MaxInline {
			i.spoilt = true
			m.remove(k, "impossible inline data was removed")
			return
		}
		i.blocks, i.end, i.inline = 1, 1, true
		return
	}
	e, err := format.DecodeExtent(val)
	if err != nil || e.Hashed() || k.Off > format.MaxBlock || k.Off+uint64(e.Len()) > format.MaxBlock+1 {
		i.spoilt = true
		m.remove(k, "an impossible extent was removed")
		return
	}
	to := k.Off + uint64(e.Len())
	if k.Off < i.end {
		m.changed(k.Ino, "two extents had block %d, and the one that begins there has it now", k.Off)
		if i.inline && k.Off == 0 {
			i.inline = false
			m.drop(format.Key{Ino: k.Ino, Type: format.TypeInline})
		}
		val := append([]byte(nil), val...)
		m.later(func() error { return m.tx.Remap(k, val) })
		i.end = min(i.end, to)
	}
	m.gap(k.Off)
	i.blocks += to - min(max(i.end, k.Off), to)
	i.end = max(i.end, to)
}

// gap notes the blocks from the last one seen up to block to, as far as they may have been lost.
func (m *mender) gap(to uint64) {
	i := &m.cur
	if i.end >= to {
		return
	}
	if i.spoilt {
		i.gaps = append(i.gaps, reach{i.end, to})
		return
	}
	from := format.Key{Ino: i.ino, Type: format.TypeExtent, Off: i.end}
	if i.end == 0 {
		from.Type = format.TypeInline
	}
	for _, l := range m.c.lost[m.c.firstLost(from):] {
		if !l.from.Less(format.Key{Ino: i.ino, Type: format.TypeExtent, Off: to}) {
			break
		}
		g := reach{i.end, to}
		if l.from.Ino == i.ino && l.from.Type == format.TypeExtent {
			g.from = max(g.from, l.from.Off)
		}
		if l.to.Ino == i.ino && l.to.Type == format.TypeExtent {
			g.to = min(g.to, l.to.Off+format.MaxExtent)
		}
		if n := len(i.gaps); n > 0 && i.gaps[n-1].to > g.from {
			g.from = i.gaps[n-1].to
		}
		if g.from < g.to {
			i.gaps = append(i.gaps, g)
		}
	}
}

// finishData sets the size and the number of blocks of a file, and makes unreadable what is lost.
func (m *mender) finishData(set func(what string, field *uint64, to uint64)) {
	i := &m.cur
	blocks := (i.n.Size + format.BlockSize - 1) / format.BlockSize
	if !i.bare {
		m.gap(blocks)
	}
	ino := i.ino
	for _, g := range i.gaps {
		if !i.bare && i.n.Blocks <= i.blocks {
			break // nothing but holes was lost
		}
		if g.to-g.from > mostSpoilt-m.spoilt {
			i.n.Size, i.end, i.edit = min(i.n.Size, g.from*format.BlockSize), g.from, true
			m.changed(ino, "it was cut off at byte %d: of what is behind, too much was lost", i.n.Size)
			m.later(func() error { return m.tx.Unmap(ino, g.from, format.MaxBlock+1) })
			i.recount = true
			return
		}
		m.changed(ino, "%d bytes at %d are lost: reading them is an error until they are written", (g.to-g.from)*format.BlockSize, g.from*format.BlockSize)
		m.spoilt += g.to - g.from
		i.blocks += g.to - g.from
		i.edit = true
		m.later(func() error { return m.tx.Spoil(ino, g.from, g.to) })
	}
	if !i.bare && i.n.Blocks > i.blocks && m.c.kinds[ProblemSpace] && blocks-i.blocks <= mostSpoilt-m.spoilt {
		// There are blocks that belong to nothing: they may be this file's, and a hole in it none.
		m.spoilt += blocks - i.blocks
		m.later(func() error { return m.spoilHoles(ino, blocks) })
		i.recount, i.edit = true, true
	} else {
		set("blocks of data", &i.n.Blocks, i.blocks)
	}
	if i.end > blocks {
		set("bytes", &i.n.Size, i.end*format.BlockSize)
	}
}

// spoilHoles makes all holes of a file below block end unreadable.
func (m *mender) spoilHoles(ino, end uint64) error {
	f := m.vol.File(ino, 0)
	for at := int64(0); ; {
		from, err := f.SeekHole(at)
		if err != nil {
			return err
		}
		if at, err = f.SeekData(from); errors.Is(err, unix.ENXIO) {
			at = int64(end) * format.BlockSize
		} else if err != nil {
			return err
		}
		hole := reach{uint64(from) / format.BlockSize, min(uint64(at)/format.BlockSize, end)}
		if hole.from >= hole.to {
			return nil
		}
		m.changed(ino, "%d bytes at %d may be lost: reading them is an error until they are written", (hole.to-hole.from)*format.BlockSize, from)
		if err := m.tx.Spoil(ino, hole.from, hole.to); err != nil {
			return err
		}
	}
}

// countBlocks sets the number of blocks of a file to what there is.
func (m *mender) countBlocks(ino uint64) error {
	blocks := uint64(0)
	from := format.Key{Ino: ino, Type: format.TypeInline}
	err := m.vol.Scan(from, format.Key{Ino: ino, Type: format.TypeExtent + 1}, func(k format.Key, val []byte) bool {
		if e, err := format.DecodeExtent(val); k.Type == format.TypeExtent && err == nil {
			blocks += uint64(e.Len())
		} else if k.Type == format.TypeInline {
			blocks++
		}
		return true
	})
	if err != nil {
		return err
	}
	return m.editInode(ino, func(n *format.Inode) { n.Blocks = blocks })
}
