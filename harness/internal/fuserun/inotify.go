package fuserun

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// inotifyEvent takes the first event from p and returns it with its size in
// bytes (inotify(7)).
//
// Preconditions: p holds at least unix.SizeofInotifyEvent bytes.
func inotifyEvent(p []byte) (e unix.InotifyEvent, size int) {
	e.Wd = int32(binary.NativeEndian.Uint32(p))
	e.Mask = binary.NativeEndian.Uint32(p[4:])
	e.Len = binary.NativeEndian.Uint32(p[12:])
	return e, unix.SizeofInotifyEvent + int(min(e.Len, uint32(len(p))))
}
