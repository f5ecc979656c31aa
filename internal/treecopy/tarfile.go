package treecopy

import (
	"archive/tar"
	"io"
	"strings"

	"cloister/vfs"
)

// file copies a regular file.
func (a *archive) file(h *tar.Header, where, base string, m *meta) (vfs.Path, error) {
	if h.Size == 0 {
		return a.regular(where, a.dir, base, m, nil)
	}
	sparse := h.Typeflag == tar.TypeGNUSparse
	for record := range h.PAXRecords {
		sparse = sparse || strings.HasPrefix(record, sparseRecord)
	}
	if sparse && h.Size > maxSparse {
		return vfs.Path{}, &Error{"take", where, errSparse}
	}
	return a.regular(where, a.dir, base, m, func(f *vfs.File) error { return a.contents(f, where, h.Size, sparse) })
}

// contents copies the data of an entry. Blocks of zeros in a sparse file become holes.
func (a *archive) contents(f *vfs.File, where string, size int64, sparse bool) error {
	for off := int64(0); off < size; {
		if err := a.ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(a.tr, a.buf[:min(int64(len(a.buf)), size-off)])
		if err != nil {
			return &Error{"read", where, err}
		}
		for data := a.buf[:n]; len(data) > 0; {
			piece, hole := data, false
			if sparse {
				piece, hole = split(data)
			}
			if !hole {
				if _, err := f.WriteAt(a.ctx, piece, off); err != nil {
					return &Error{"write", where, err}
				}
				a.totals.Bytes += int64(len(piece))
				a.progress(0, int64(len(piece)))
			}
			off += int64(len(piece))
			data = data[len(piece):]
		}
	}
	if !sparse {
		return nil
	}
	if err := f.Truncate(a.ctx, size); err != nil {
		return &Error{"truncate", where, err}
	}
	return nil
}

// holeBlock is the unit in which zeros become holes, in bytes.
const holeBlock = 4096

// split returns the longest beginning of data, in whole blocks, that is all hole or all
// data.
func split(data []byte) (piece []byte, hole bool) {
	for n := 0; n < len(data); n += holeBlock {
		zero := isZero(data[n:min(n+holeBlock, len(data))])
		if n == 0 {
			hole = zero
		} else if zero != hole {
			return data[:n], hole
		}
	}
	return data, hole
}

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
