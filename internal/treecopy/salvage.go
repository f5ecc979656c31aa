package treecopy

import (
	"errors"

	"cloister/vfs"

	"golang.org/x/sys/unix"
)

// isDamage reports whether an error says that the tree is damaged at a place.
func isDamage(err error) bool { return errors.Is(err, unix.EIO) || errors.Is(err, unix.EUCLEAN) }

// missed reports what damage keeps from being read, if somebody wants to know it; other
// errors it returns.
func (x *extractor) missed(err error) error {
	e, ok := errors.AsType[*TreeError](err)
	if x.Unreadable == nil || !ok || !isDamage(e.Err) {
		return err
	}
	x.Unreadable(e.Path, 0, 0, e.Err)
	return nil
}

// attrs is meta that does without extended attributes if they are damaged.
func (x *extractor) attrs(p vfs.Path, path string) (vfs.Attr, meta, error) {
	a, m, err := x.meta(p, path)
	if err != nil && m.mode != 0 {
		err = x.missed(err)
	}
	return a, m, err
}

// salvageDir copies the entries of a directory that can be read.
func (x *extractor) salvageDir(src vfs.Path, dst place) error {
	list, err := ReadDir(x.ctx, x.cred, src)
	if err != nil {
		if err := x.missed(x.fail(dst.path, err)); err != nil {
			return err
		}
	}
	for _, e := range list {
		err := x.reader.entry(src, dst.path, e.Name, func(p vfs.Path, name string) error {
			return x.entry(p, dst, name)
		})
		if err := x.missed(err); err != nil {
			return err
		}
	}
	return nil
}

const (
	salvageUnit  = 4096       // bytes that are given up at once
	salvageTries = 64         // pieces read without knowing where the data is
	salvageMost  = 1 << 40    // the longest stretch given up without a look, in bytes
	salvageStep  = bufferSize // at first
)

// A salvager copies what can be read of one file.
type salvager struct {
	x    *extractor
	f    *vfs.File
	path string // in the tree
	fd   int
	at   string // on the host

	off, n int64 // bytes missing, not reported yet
	err    error
}

// salvage copies the data of a file that can be read to the host. What cannot is a hole.
func (x *extractor) salvage(f *vfs.File, path string, size int64, fd int, at string) error {
	s := salvager{x: x, f: f, path: path, fd: fd, at: at}
	step, tries := int64(salvageStep), 0
	for off := int64(0); off < size; {
		if err := x.ctx.Err(); err != nil {
			return err
		}
		piece, err := s.next(off, size)
		switch {
		case errors.Is(err, unix.ENXIO):
			off = size
			continue
		case err == nil:
			if err := s.run(piece); err != nil {
				return err
			}
			off, step, tries = piece.end, salvageStep, 0
			continue
		case !isDamage(err):
			return x.fail(path, err)
		}
		// Where the data is cannot be read here. Look a few times what there is, then give
		// up longer and longer stretches: the size may be anything.
		piece = run{off, off + min(step, size-off)}
		if tries++; tries <= salvageTries {
			if err := s.run(piece); err != nil {
				return err
			}
		} else {
			s.missing(piece, err)
			step = min(2*step, salvageMost)
		}
		off = piece.end
	}
	s.report()
	if err := unix.Ftruncate(fd, size); err != nil {
		return &Error{"truncate", at, err}
	}
	return nil
}

// next returns the next run of data. Errors: ENXIO if there is none.
func (s *salvager) next(off, size int64) (run, error) {
	start, err := s.f.Seek(s.x.ctx, off, unix.SEEK_DATA)
	if err != nil {
		return run{}, err
	}
	if start >= size {
		return run{}, unix.ENXIO
	}
	end, err := s.f.Seek(s.x.ctx, start, unix.SEEK_HOLE)
	if err != nil {
		// Up to what cannot be read there are holes, and here is data.
		return run{start, min(start+salvageStep, size)}, nil
	}
	if end = min(end, size); end <= start {
		return run{}, unix.EIO
	}
	return run{start, end}, nil
}

// run copies a run in pieces.
func (s *salvager) run(r run) error {
	for off := r.off; off < r.end; {
		if err := s.x.ctx.Err(); err != nil {
			return err
		}
		end := min(r.end, off+bufferSize)
		if err := s.piece(run{off, end}); err != nil {
			return err
		}
		off = end
	}
	return nil
}

// piece copies a piece of at most bufferSize, and where that fails its halves.
func (s *salvager) piece(r run) error {
	data := s.x.buf[:r.end-r.off]
	n, err := s.f.ReadAt(s.x.ctx, data, r.off)
	if err == nil && n == 0 {
		err = unix.EIO // the size said more
	}
	if err != nil {
		if !isDamage(err) {
			return s.x.fail(s.path, err)
		}
		if len(data) <= salvageUnit {
			s.missing(r, err)
			return nil
		}
		middle := r.off + (r.end-r.off)/2
		if cut := middle / salvageUnit * salvageUnit; cut > r.off {
			middle = cut
		}
		if err := s.piece(run{r.off, middle}); err != nil {
			return err
		}
		return s.piece(run{middle, r.end})
	}
	if err := pwriteAll(s.fd, data[:n], r.off); err != nil {
		return &Error{"write", s.at, err}
	}
	s.x.totals.Bytes += int64(n)
	s.x.progress(0, int64(n))
	if r.off += int64(n); r.off < r.end {
		return s.piece(r)
	}
	return nil
}

// missing notes that a run cannot be read. Runs side by side are reported as one.
func (s *salvager) missing(r run, err error) {
	if s.n > 0 && s.off+s.n == r.off {
		s.n += r.end - r.off
		return
	}
	s.report()
	s.off, s.n, s.err = r.off, r.end-r.off, err
}

func (s *salvager) report() {
	if s.n > 0 {
		s.x.Unreadable(s.path, s.off, s.n, s.err)
	}
	s.n = 0
}
