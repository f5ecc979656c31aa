package syscall

import (
	"context"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

// Chdir makes path the working directory, as chdir(2) does.
//
// Errors: ENOTDIR; EACCES without search permission; those of a walk.
func (t *Task) Chdir(path string) error {
	return t.withPath(unix.AT_FDCWD, path, vfs.WalkFollow|vfs.WalkDirectory, func(v *vfs.View, p vfs.Path) error {
		return t.setCwd(v.Cred(), p)
	})
}

// Fchdir makes an open directory the working directory, as fchdir(2) does.
//
// Errors: EBADF; ENOTDIR; EACCES.
func (t *Task) Fchdir(fd int) error {
	f, err := t.fds.getRaw(fd)
	if err != nil {
		return err
	}
	defer putFile(f)
	if !isDir(f.Path()) {
		return unix.ENOTDIR
	}
	fs, err := t.getFs()
	if err != nil {
		return err
	}
	defer fs.put()
	return t.setCwd(fs.view.Cred(), f.Path())
}

func (t *Task) setCwd(cred *vfs.Cred, p vfs.Path) error {
	if err := vfs.Access(context.Background(), cred, p, unix.X_OK); err != nil {
		return err
	}
	return t.setFs(func(v *vfs.View) error {
		v.SetCwd(p)
		return nil
	})
}
