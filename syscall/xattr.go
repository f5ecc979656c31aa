package syscall

import (
	"context"
	"strings"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// Limits of xattr(7) (include/uapi/linux/limits.h).
const (
	xattrNameMax = 255   // bytes
	xattrSizeMax = 65536 // bytes
)

// Getxattr puts the value of the extended attribute attr of the file at path into buf
// and returns its length in bytes, as getxattr(2) does. With an empty buf it returns only the length.
//
// Errors: ERANGE for an empty attr or one of more than 255 bytes, and for a value that
// does not fit; ENODATA; EOPNOTSUPP; EACCES; those of a walk.
func (t *Task) Getxattr(path, attr string, buf []byte) (int, error) {
	return getxattr(t.byPath(path, vfs.WalkFollow), attr, buf)
}

// Lgetxattr is Getxattr without following a link in the last component.
func (t *Task) Lgetxattr(path, attr string, buf []byte) (int, error) {
	return getxattr(t.byPath(path, 0), attr, buf)
}

// Fgetxattr is Getxattr of an open file.
//
// Errors: EBADF, also for O_PATH descriptors; those of Getxattr.
func (t *Task) Fgetxattr(fd int, attr string, buf []byte) (int, error) {
	return getxattr(t.byFdOrCwd(fd), attr, buf)
}

// Setxattr sets the extended attribute attr of the file at path, as setxattr(2)
// does; flags is 0, XATTR_CREATE or XATTR_REPLACE.
//
// Errors: EINVAL for other flags; ERANGE for an empty attr or one of more than 255
// bytes; E2BIG for a value of more than 65536; EEXIST, ENODATA as flags say; EOPNOTSUPP; EPERM;
// EACCES; EROFS; ENOSPC; those of a walk.
func (t *Task) Setxattr(path, attr string, value []byte, flags int) error {
	return setxattr(t.byPath(path, vfs.WalkFollow), attr, value, flags)
}

// Lsetxattr is Setxattr without following a link in the last component.
func (t *Task) Lsetxattr(path, attr string, value []byte, flags int) error {
	return setxattr(t.byPath(path, 0), attr, value, flags)
}

// Fsetxattr is Setxattr of an open file.
//
// Errors: EBADF, also for O_PATH descriptors; those of Setxattr.
func (t *Task) Fsetxattr(fd int, attr string, value []byte, flags int) error {
	return setxattr(t.byFdOrCwd(fd), attr, value, flags)
}

// Listxattr puts the names of the extended attributes of the file at path into buf, each
// with a NUL, and returns their length in bytes, as listxattr(2) does. With an empty buf it returns only the length.
//
// Errors: ERANGE if buf is too small; E2BIG for more than 65536 bytes of names; those of a walk.
func (t *Task) Listxattr(path string, buf []byte) (int, error) {
	return listxattr(t.byPath(path, vfs.WalkFollow), buf)
}

// Llistxattr is Listxattr without following a link in the last component.
func (t *Task) Llistxattr(path string, buf []byte) (int, error) {
	return listxattr(t.byPath(path, 0), buf)
}

// Flistxattr is Listxattr of an open file.
//
// Errors: EBADF, also for O_PATH descriptors; those of Listxattr.
func (t *Task) Flistxattr(fd int, buf []byte) (int, error) { return listxattr(t.byFd(fd), buf) }

// Removexattr removes the extended attribute attr of the file at path, as
// removexattr(2) does.
//
// Errors: those of Setxattr, with ENODATA for an attribute that is not there.
func (t *Task) Removexattr(path, attr string) error {
	return removexattr(t.byPath(path, vfs.WalkFollow), attr)
}

// Lremovexattr is Removexattr without following a link in the last component.
func (t *Task) Lremovexattr(path, attr string) error { return removexattr(t.byPath(path, 0), attr) }

// Fremovexattr is Removexattr of an open file.
//
// Errors: EBADF, also for O_PATH descriptors; those of Removexattr.
func (t *Task) Fremovexattr(fd int, attr string) error { return removexattr(t.byFd(fd), attr) }

// located calls do with the file that an argument names.
type located func(do func(cred *vfs.Cred, p vfs.Path) error) error

func (t *Task) byPath(path string, flags vfs.WalkFlags) located {
	return func(do func(cred *vfs.Cred, p vfs.Path) error) error {
		return t.withPath(unix.AT_FDCWD, path, flags, func(v *vfs.View, p vfs.Path) error {
			return do(v.Cred(), p)
		})
	}
}

// byFdOrCwd is byFd, but AT_FDCWD names the working directory, as it does since Linux 6.13 for these two calls only
// (fs/xattr.c: path_getxattrat, path_setxattrat).
func (t *Task) byFdOrCwd(fd int) located {
	if fd == unix.AT_FDCWD {
		return t.byPath("", vfs.WalkEmpty)
	}
	return t.byFd(fd)
}

func (t *Task) byFd(fd int) located {
	return func(do func(cred *vfs.Cred, p vfs.Path) error) error {
		return t.withFileCred(fd, func(cred *vfs.Cred, f *vfs.File) error { return do(cred, f.Path()) })
	}
}

// checkXattrName is the copy of a name from the program (fs/xattr.c: import_xattr_name).
//
// Errors: ERANGE for the length; EINVAL for a NUL inside.
func checkXattrName(name string) error {
	if name == "" || len(name) > xattrNameMax {
		return unix.ERANGE
	}
	if strings.IndexByte(name, 0) >= 0 {
		return unix.EINVAL
	}
	return nil
}

func getxattr(file located, attr string, buf []byte) (n int, err error) {
	if err := checkXattrName(attr); err != nil {
		return 0, err
	}
	err = file(func(cred *vfs.Cred, p vfs.Path) error {
		value, err := vfs.Getxattr(context.Background(), cred, p, attr)
		if err != nil {
			return err
		}
		n, err = fill(buf, value)
		return err
	})
	return n, err
}

func setxattr(file located, attr string, value []byte, flags int) error {
	if flags&^(unix.XATTR_CREATE|unix.XATTR_REPLACE) != 0 {
		return unix.EINVAL
	}
	if err := checkXattrName(attr); err != nil {
		return err
	}
	if len(value) > xattrSizeMax {
		return unix.E2BIG
	}
	return file(func(cred *vfs.Cred, p vfs.Path) error {
		return vfs.Setxattr(context.Background(), cred, p, attr, value, flags)
	})
}

func listxattr(file located, buf []byte) (n int, err error) {
	err = file(func(cred *vfs.Cred, p vfs.Path) error {
		names, err := vfs.Listxattr(context.Background(), cred, p)
		if err != nil {
			return err
		}
		var list []byte
		for _, name := range names {
			list = append(append(list, name...), 0)
		}
		n, err = fill(buf, list)
		return err
	})
	return n, err
}

func removexattr(file located, attr string) error {
	if err := checkXattrName(attr); err != nil {
		return err
	}
	return file(func(cred *vfs.Cred, p vfs.Path) error {
		return vfs.Removexattr(context.Background(), cred, p, attr)
	})
}

// fill copies v into buf and returns its length; an empty buf asks for that only.
//
// Errors: ERANGE if it does not fit; E2BIG if no buffer of the greatest length would do.
func fill(buf, v []byte) (int, error) {
	switch {
	case len(buf) == 0:
		return len(v), nil
	case len(v) > xattrSizeMax:
		return 0, unix.E2BIG
	case len(v) > len(buf):
		return 0, unix.ERANGE
	}
	return copy(buf, v), nil
}
