package syscall

import (
	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// Utime sets access and modification time of the file at path in seconds, as utime(2)
// does; a nil times stands for the current time.
//
// Errors: those of Utimensat.
func (t *Task) Utime(path string, times *unix.Utimbuf) error {
	if times == nil {
		return t.Utimensat(unix.AT_FDCWD, path, nil, 0)
	}
	return t.Utimensat(unix.AT_FDCWD, path, &[2]unix.Timespec{{Sec: times.Actime}, {Sec: times.Modtime}}, 0)
}

// Utimes is Utime in microseconds, as utimes(2).
//
// Errors: those of Futimesat.
func (t *Task) Utimes(path string, tv *[2]unix.Timeval) error {
	return t.Futimesat(unix.AT_FDCWD, path, tv)
}

// Futimesat sets access time (tv[0]) and modification time (tv[1]) of the file at
// path, as futimesat(2) does; a nil tv stands for the current time.
//
// Errors: EINVAL for microseconds of 1e6 or more, before path is looked at; those of Utimensat.
func (t *Task) Futimesat(dirfd int, path string, tv *[2]unix.Timeval) error {
	ts, err := timespecs(tv)
	if err != nil {
		return err
	}
	return t.Utimensat(dirfd, path, ts, 0)
}

// Futimes is futimesat(2) with a descriptor and no path.
//
// Errors: EBADF, also for O_PATH descriptors; those of Futimesat.
func (t *Task) Futimes(fd int, tv *[2]unix.Timeval) error {
	ts, err := timespecs(tv)
	if err != nil {
		return err
	}
	return t.withFileCred(fd, func(cred *vfs.Cred, f *vfs.File) error {
		return utimes(cred, f.Path(), ts)
	})
}

// timespecs converts times; the special values of tv_nsec have no counterpart in microseconds.
func timespecs(tv *[2]unix.Timeval) (*[2]unix.Timespec, error) {
	if tv == nil {
		return nil, nil
	}
	var ts [2]unix.Timespec
	for i, v := range tv {
		if v.Usec < 0 || v.Usec >= 1e6 {
			return nil, unix.EINVAL
		}
		ts[i] = unix.Timespec{Sec: v.Sec, Nsec: v.Usec * 1000}
	}
	return &ts, nil
}
