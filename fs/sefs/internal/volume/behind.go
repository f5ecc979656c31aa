package volume

import "runtime"

// maxBehind bounds the processors that write back beside the writers.
const maxBehind = 4

// newIdle returns the tokens of the processors that may write back while writers go
// on: all but one.
func newIdle() chan struct{} {
	return make(chan struct{}, min(runtime.GOMAXPROCS(0)-1, maxBehind))
}

// takeIdle takes the token of a processor; false if none is idle.
func (v *Volume) takeIdle() bool {
	select {
	case v.idle <- struct{}{}:
		return true
	default:
		return false
	}
}

func (v *Volume) giveIdle() { <-v.idle }

// behind runs fn, which writes pages back, in a transaction of its own while the
// caller goes on. What it cannot write stays dirty: whoever makes that durable, or
// needs the room, tries again and gets the error. The caller has taken a token.
func (v *Volume) behind(fn func() error) {
	v.flusher.Go(func() {
		defer v.giveIdle()
		v.gate.RLock()
		defer v.gate.RUnlock()
		if v.writable() != nil {
			return
		}
		if err := fn(); err != nil {
			v.log.Debug("write-back put off", "error", err)
		}
	})
}

// writeRangeBehind writes the dirty pages among n blocks of a file, on another
// processor if one is idle.
func (v *Volume) writeRangeBehind(ino, from uint64, n int) error {
	if !v.takeIdle() {
		return v.writeBackRange(ino, from, n)
	}
	v.behind(func() error { return v.writeBackRange(ino, from, n) })
	return nil
}

// makeRoom writes pages back when many are dirty: beside the caller if that is
// early enough.
func (v *Volume) makeRoom() error {
	switch dirty, most := v.pages.dirtyPages(); {
	case dirty >= most:
		return v.writeBack(allDirty)
	case dirty >= most/2 && v.takeIdle():
		v.behind(func() error { return v.writeBack(allDirty) })
	}
	return nil
}
