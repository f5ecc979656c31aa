package difftest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A system makes calls: the kernel's thread or the library OS's task.
type system interface {
	// call makes the call of o. What it returns beside a number is in s.
	call(o *op, s *scratch) (int, unix.Errno)
}

// scratch takes what a call returns through pointers.
type scratch struct {
	buf []byte
	st  unix.Stat_t
	iov [][]byte

	how        *unix.OpenHow
	off1, off2 *int64
	lock       *unix.Flock_t

	target *target
	err    error // of the library OS, in full
}

func newScratch(target *target) scratch {
	return scratch{target: target, buf: make([]byte, bufSize), how: new(unix.OpenHow), off1: new(int64), off2: new(int64), lock: new(unix.Flock_t)}
}

// bufSize is the most bytes that a call moves.
const bufSize = 1 << 17

// pattern is what is written: op.flags says from where.
var pattern = func() []byte {
	p := make([]byte, bufSize+4096)
	for i := range p {
		p[i] = byte('a' + (i*i+i/26)%26)
	}
	return p
}()

// An outcome is what a call returned, in a form that is equal on both systems
// exactly if the results are.
type outcome struct {
	ret      int
	errno    unix.Errno
	skipped  bool   // a declared deviation, see deviations
	from, to int    // in record.buf: what came through pointers
	changed  uint32 // the times that changed, two bits for each watched file
}

// record holds the outcomes of a run of ops.
type record struct {
	outs []outcome
	buf  []byte
	s    scratch
	dump dumper
}

func newRecord(target *target) *record {
	return &record{s: newScratch(target), dump: newDumper(target)}
}

func (r *record) reset() { r.outs, r.buf = r.outs[:0], r.buf[:0] }

func (r *record) skip() { r.outs = append(r.outs, outcome{skipped: true}) }

// perform makes the call of o and notes the outcome.
func (r *record) perform(sys system, o *op) {
	var before [maxWatched]observed
	if o.watch {
		r.observe(sys, o, &before)
	}
	out := outcome{from: len(r.buf)}
	switch o.call {
	case callDump:
		r.buf, out.errno = r.dump.tree(sys, r.buf)
	case callGetdents:
		out.errno = r.getdents(sys, o)
	default:
		out.ret, out.errno = sys.call(o, &r.s)
		if out.errno == 0 {
			r.note(o, out.ret)
		}
	}
	if out.errno != 0 {
		out.ret = -1
	}
	out.to = len(r.buf)
	if o.watch {
		var after [maxWatched]observed
		err := r.s.err
		r.observe(sys, o, &after)
		r.s.err = err
		for i := range after {
			out.changed = out.changed<<3 | after[i].since(&before[i])
		}
	}
	r.outs = append(r.outs, out)
}

// note keeps what came through pointers.
func (r *record) note(o *op, ret int) {
	switch o.call {
	case callRead, callPread, callReadlinkat, callGetcwd:
		r.buf = append(r.buf, r.s.buf[:ret]...)
	case callReadv:
		for _, p := range r.s.iov {
			n := min(ret, len(p))
			r.buf = append(r.buf, p[:n]...)
			ret -= n
		}
	case callFstat, callFstatat:
		r.buf = r.s.appendStat(r.buf)
	default:
		r.noteMore(o, ret)
	}
}

// getdents reads a directory from its start with a buffer of o.n bytes. The
// order of the entries, and therefore how far it comes before one does not fit,
// is the file system's.
func (r *record) getdents(sys system, o *op) unix.Errno {
	if _, e := sys.call(&op{call: callLseek, fd: o.fd}, &r.s); e != 0 {
		return e
	}
	names, e := readDir(sys, &r.s, o.fd, o.n)
	if e != 0 {
		return e
	}
	for _, name := range names {
		r.buf = append(append(r.buf, name...), '\n')
	}
	return 0
}

// readDir returns the entries from the position on, sorted: name and type.
func readDir(sys system, s *scratch, fd int, size int64) (entries []string, e unix.Errno) {
	for {
		n, e := sys.call(&op{call: callGetdents64, fd: fd, n: size}, s)
		if e != 0 {
			return nil, e
		}
		if n == 0 {
			slices.Sort(entries)
			return entries, 0
		}
		for b := s.buf[:n]; len(b) > 0; {
			size := binary.NativeEndian.Uint16(b[16:])
			name, _, _ := bytes.Cut(b[19:size], []byte{0})
			entries = append(entries, string(name)+"\x00"+string('0'+rune(b[18])))
			b = b[size:]
		}
	}
}

// appendStat appends what can be equal on two systems of s.st.
func (s *scratch) appendStat(buf []byte) []byte {
	st := &s.st
	size, links := st.Size, st.Nlink
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		size = 0
		if s.target.is(unionFS) {
			// Overlayfs counts subdirectories where only one layer has the directory
			// (fs/overlayfs/inode.c: ovl_getattr), unionfs where only the upper one has.
			links = 0
		}
	}
	return fmt.Appendf(buf, "{st_mode=%#o, st_nlink=%d, st_uid=%d, st_gid=%d, st_size=%d, st_rdev=%d, st_atime=%s, st_mtime=%s}",
		st.Mode, links, st.Uid, st.Gid, size, st.Rdev, timeText(st.Atim), timeText(st.Mtim))
}

// timeText tells times that a call set from times of the run.
func timeText(ts unix.Timespec) string {
	if ts.Sec >= runSec {
		return "now"
	}
	return fmt.Sprintf("%d.%09d", ts.Sec, ts.Nsec)
}

// runSec is before the time of any run, and after all times that ops set.
const runSec = 1_500_000_000

// text prints an outcome.
func (r *record) text(i int) string {
	out := &r.outs[i]
	switch {
	case out.skipped:
		return "skipped"
	case out.errno != 0:
		return fmt.Sprintf("-1 %s%s", unix.ErrnoName(out.errno), changedText(out.changed))
	}
	var data string
	if p := r.buf[out.from:out.to]; len(p) > 0 {
		data = " " + strings.TrimSpace(fmt.Sprintf("%.2000s", p))
	}
	return fmt.Sprintf("%d%s%s", out.ret, data, changedText(out.changed))
}

// same reports whether the library OS did op i as Linux did.
func (r *run) same(i int) bool {
	l, o := &r.linux.outs[i], &r.ours.outs[i]
	tg, op := r.ours.s.target, &r.ops[i]
	differ := (l.changed ^ o.changed) &^ tg.unsure(op)
	return l.ret == o.ret && l.errno == o.errno && differ&^(o.changed&tg.late(op)) == 0 &&
		bytes.Equal(r.linux.buf[l.from:l.to], r.ours.buf[o.from:o.to])
}
