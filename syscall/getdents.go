package syscall

import (
	"context"
	"encoding/binary"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// Layout of struct linux_dirent64: d_ino, d_off, d_reclen, d_type, d_name. A
// record ends with the name's NUL and is padded to 8 bytes.
const (
	direntOff    = 8
	direntReclen = 16
	direntType   = 18
	direntName   = 19
	direntAlign  = 8
)

// Getdents64 fills buf with entries of an open directory, records of struct
// linux_dirent64, and returns their length in bytes, as getdents64(2) does; 0
// at the end of the directory.
//
// Errors: EBADF; ENOTDIR; ENOENT for a removed directory; EINVAL if buf is too
// small for the next entry.
func (t *Task) Getdents64(fd int, buf []byte) (int, error) { return t.getdents(fd, buf, putDirent) }

// Getdents is getdents(2), which fills buf with records of struct linux_dirent.
//
// Errors: those of Getdents64.
func (t *Task) Getdents(fd int, buf []byte) (int, error) { return t.getdents(fd, buf, putOldDirent) }

func (t *Task) getdents(fd int, buf []byte, put func(buf []byte, d vfs.Dirent) int) (int, error) {
	f, err := t.fds.get(fd)
	if err != nil {
		return 0, err
	}
	defer putFile(f)
	n, full := 0, false
	err = f.ReadDir(context.Background(), func(d vfs.Dirent) bool {
		size := put(buf[n:], d)
		full = size == 0
		n += size
		return !full
	})
	if n == 0 && err == nil && full {
		return 0, unix.EINVAL
	}
	return moved(n, err)
}

// putDirent encodes d and returns its length, 0 if it does not fit.
func putDirent(buf []byte, d vfs.Dirent) int {
	size := (direntName + len(d.Name) + 1 + direntAlign - 1) &^ (direntAlign - 1)
	if size > len(buf) {
		return 0
	}
	binary.NativeEndian.PutUint64(buf, d.Ino)
	binary.NativeEndian.PutUint64(buf[direntOff:], d.Pos)
	binary.NativeEndian.PutUint16(buf[direntReclen:], uint16(size))
	buf[direntType] = d.Type
	end := direntName + copy(buf[direntName:size], d.Name)
	clear(buf[end:size])
	return size
}

// putOldDirent encodes d as struct linux_dirent: d_ino, d_off, d_reclen, d_name, and the type in the
// last byte of the record. It returns the length, 0 if it does not fit.
func putOldDirent(buf []byte, d vfs.Dirent) int {
	const name = direntType // d_name begins where linux_dirent64 has d_type
	size := (name + len(d.Name) + 2 + direntAlign - 1) &^ (direntAlign - 1)
	if size > len(buf) {
		return 0
	}
	binary.NativeEndian.PutUint64(buf, d.Ino)
	binary.NativeEndian.PutUint64(buf[direntOff:], d.Pos)
	binary.NativeEndian.PutUint16(buf[direntReclen:], uint16(size))
	end := name + copy(buf[name:size], d.Name)
	clear(buf[end : size-1])
	buf[size-1] = d.Type
	return size
}
