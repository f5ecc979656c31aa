package main

import (
	"os"
	"path/filepath"
)

// newFile is a file of the host that appears under its name, complete and durable, with
// commit; before that it is hidden beside its place, with mode 0600.
type newFile struct {
	*os.File
	place string
}

// existing says what happens to a file that has the name already.
type existing bool

const (
	keepExisting    existing = false
	replaceExisting existing = true
)

func createFile(place string) (*newFile, error) {
	f, err := os.CreateTemp(filepath.Dir(place), "."+filepath.Base(place)+".*")
	if err != nil {
		return nil, err
	}
	return &newFile{f, place}, nil
}

// commit gives the file its name.
//
// Errors: fs.ErrExist if the name is taken and is to be kept.
func (f *newFile) commit(old existing) error {
	err := f.Sync()
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	if old == replaceExisting {
		err = os.Rename(f.Name(), f.place)
	} else {
		err = os.Link(f.Name(), f.place) // unlike rename(2), never replaces a file
	}
	if err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(f.place))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// discard removes what commit has not put in place.
func (f *newFile) discard() {
	_ = f.Close()           // closed already after commit
	_ = os.Remove(f.Name()) // gone already after a rename
}
