package difftest

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// maxWatched is the most files whose times one op watches: two paths and the
// directories that hold them, or a descriptor.
const maxWatched = 4

// unsure tells which changes of times cannot be compared.
func (tg *target) unsure(o *op) (mask uint32) {
	if tg.is(unionFS) {
		// A copy-up changes the change time of the directory in overlayfs, which puts
		// back the other times only (fs/overlayfs/copy_up.c: ovl_copy_up_one).
		mask = ctimeChanged<<(3*2) | ctimeChanged
		if o.call == callRenameat2 {
			// It has marked the files already when a rename fails (fs/overlayfs/dir.c: ovl_rename).
			mask |= ctimeChanged<<(3*3) | ctimeChanged<<3
		}
	}
	switch o.call {
	case callUnlinkat, callRenameat2, callLinkat:
		// Linux's tmpfs gives directories whose names change the time of the file,
		// as a clock with ticks of milliseconds shows it, which can be what they had
		// already (mm/shmem.c: shmem_unlink).
		if !o.tick {
			mask |= times<<(3*2) | times
		}
	}
	return mask
}

// late tells which changes of times Linux may not show without waiting for its clock.
func (tg *target) late(o *op) uint32 {
	if tg.is(unionFS) && !o.tick {
		// Most names come into overlays by renames of tmpfs, which give the directory the time of the one they
		// come from (fs/libfs.c: simple_rename_timestamp), as that clock shows it.
		return times<<(3*3) | times<<(3*2) | times<<3 | times
	}
	return 0
}

const times = mtimeChanged | ctimeChanged

// observed are the times of one file.
type observed struct {
	found      bool
	dev, ino   uint64
	mtim, ctim unix.Timespec
}

// What became of a watched file.
const (
	mtimeChanged = 1 << iota
	ctimeChanged
	replaced // appeared, disappeared, or is another file now
)

func (r *record) observe(sys system, o *op, files *[maxWatched]observed) {
	paths := [maxWatched]*pathname{o.path, nil, o.path2, nil}
	if o.path != nil {
		paths[1] = o.path.parent
	}
	switch {
	case o.call == callSymlinkat: // the other one is only text
		paths[2] = nil
	case o.path2 != nil:
		paths[3] = o.path2.parent
	}
	for i, p := range paths {
		look := op{call: callFstatat, fd: o.fd, path: p, flags: unix.AT_SYMLINK_NOFOLLOW}
		switch {
		case p == nil && i == 0:
			look = op{call: callFstat, fd: o.fd}
		case p == nil:
			continue
		case i >= 2:
			look.fd = o.fd2
		case o.call == callTruncate || o.call == callChdir || o.call == callMount || o.call == callUmount2:
			look.fd = unix.AT_FDCWD
		}
		if _, e := sys.call(&look, &r.s); e == 0 {
			files[i] = observed{found: true, dev: r.s.st.Dev, ino: r.s.st.Ino, mtim: r.s.st.Mtim, ctim: r.s.st.Ctim}
		}
	}
}

func (f *observed) since(before *observed) (changed uint32) {
	switch {
	case f.found != before.found || f.dev != before.dev || f.ino != before.ino:
		return replaced
	case !f.found:
		return 0
	}
	if f.mtim != before.mtim {
		changed |= mtimeChanged
	}
	if f.ctim != before.ctim {
		changed |= ctimeChanged
	}
	return changed
}

func changedText(changed uint32) string {
	var parts []string
	for i, name := range []string{"file", "parent", "file2", "parent2"} {
		bits := changed >> (3 * (maxWatched - 1 - i)) & 7
		for _, b := range []bit{{mtimeChanged, "mtime"}, {ctimeChanged, "ctime"}, {replaced, "replaced"}} {
			if bits&uint32(b.value) != 0 {
				parts = append(parts, fmt.Sprintf("%s of %s", b.name, name))
			}
		}
	}
	if parts == nil {
		return ""
	}
	return " /* changed: " + strings.Join(parts, ", ") + " */"
}
