package treecopy

import (
	"io/fs"
	"os"
	"path/filepath"
)

// RemoveContents removes everything below the host directory path, as far as rights allow: a copy
// that has failed may hold directories that even their owner cannot write to. No
// symbolic link is followed.
func RemoveContents(path string) error {
	_ = filepath.WalkDir(path, func(at string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && at != path {
			_ = os.Chmod(at, 0o700)
		}
		return nil
	})
	entries, err := os.ReadDir(path)
	for _, e := range entries {
		if e := os.RemoveAll(filepath.Join(path, e.Name())); e != nil && err == nil {
			err = e
		}
	}
	return err
}
