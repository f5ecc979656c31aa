package fuseserver

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// readAheadKiB is how far the kernel may read ahead of a program. INIT can only lower its
// default of 128 KiB, which is one request; with several of them under way a file comes in faster
// (fs/fuse/inode.c: process_init_reply).
const readAheadKiB = 512

// raiseReadAhead tells the kernel so. It needs root and a writable /sys; without them reads are
// slower, nothing else.
func (s *Server) raiseReadAhead() error {
	// Nothing is asked from the server: that would be ourselves.
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, s.target, unix.AT_STATX_DONT_SYNC|unix.AT_NO_AUTOMOUNT|unix.AT_SYMLINK_NOFOLLOW, 0, &st)
	if err != nil {
		return fmt.Errorf("fuse: device of %s: %w", s.target, err)
	}
	knob := fmt.Sprintf("/sys/class/bdi/%d:%d/read_ahead_kb", st.Dev_major, st.Dev_minor)
	now, err := os.ReadFile(knob)
	if err != nil {
		return fmt.Errorf("fuse: %w", err)
	}
	if n, err := strconv.Atoi(strings.TrimSpace(string(now))); err != nil || n >= readAheadKiB {
		return nil // far enough, or not what it is in the kernels that are known
	}
	if err := os.WriteFile(knob, []byte(strconv.Itoa(readAheadKiB)), 0); err != nil {
		return fmt.Errorf("fuse: %w", err)
	}
	return nil
}
