package volume

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/store"
)

// unfinished are the names that a Make which was killed may leave. The one that
// tells whether there was more comes first.
var unfinished = [...]string{segmentsDir, newHeaderName, headsName, journalName, store.LockName}

// Vacant reports whether a volume can be made in a directory: it is empty, or holds
// no more than what a Make that was killed before it had made the header has left. A volume
// without its header, in which something was ever committed, is not vacant.
//
// Errors: those of the host.
func Vacant(st store.Store) (bool, error) {
	names, err := st.List(len(unfinished) + 1)
	if err != nil || len(names) == 0 {
		return err == nil, err
	}
	for _, name := range names {
		if !slices.Contains(unfinished[:], name) {
			return false, nil
		}
	}
	for _, f := range []struct {
		name  string
		bytes int
		blank func([]byte) bool
	}{{journalName, format.RecordHeader, allZeros}, {headsName, format.HeadStride + format.HeadSize, firstHeads}} {
		b := make([]byte, f.bytes)
		if b, err = readStart(st, f.name, b); err != nil || !f.blank(b) {
			return false, err
		}
	}
	return true, nil
}

// readStart fills b from the beginning of a file; it returns what there is of it.
func readStart(st store.Store, name string, b []byte) ([]byte, error) {
	f, err := st.Open(name, ReadOnly)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	n, err := f.ReadAt(b, 0)
	return b[:n], err
}

func allZeros(b []byte) bool {
	return !slices.ContainsFunc(b, func(c byte) bool { return c != 0 })
}

// firstHeads reports whether no slot holds a later head than that of Make.
func firstHeads(b []byte) bool {
	for _, at := range headSlots {
		if int(at) >= len(b) {
			break
		}
		if p, ok := format.DecodeHeadPlain(b[at:min(int(at)+format.HeadSize, len(b))]); ok && p.Seq > 1 {
			return false
		}
	}
	return true
}

// clearUnfinished removes what a Make has left that was killed, except the lock.
//
// Errors: EINVAL if the directory is not Vacant; those of the host.
//
// Preconditions: the caller holds the lock.
func clearUnfinished(st store.Store) error {
	vacant, err := Vacant(st)
	if err != nil {
		return err
	}
	if !vacant {
		return notVacant()
	}
	for _, name := range unfinished[:len(unfinished)-1] {
		switch err := st.Unlink(name); {
		case errors.Is(err, unix.ENOTEMPTY):
			return notVacant()
		case err != nil && !errors.Is(err, unix.ENOENT):
			return err
		}
	}
	return nil
}

func notVacant() error {
	return fmt.Errorf("sefs: the directory for a new volume is not empty: %w", unix.EINVAL)
}
