package vfs

import (
	"errors"
	"io/fs"
	"path"

	"golang.org/x/sys/unix"
)

// blame makes an error of a file system's own name p as programs know it: an operator who
// reads that a block is damaged wants to know which file that was. A bare errno is an outcome and no
// defect, and stays as it is. The path is for the enclave's inside: it does not belong in a log.
func (p Path) blame(op string, err error) error { return p.blameName(op, "", err) }

// blameName is blame of name in the directory p, or of p itself for "".
func (p Path) blameName(op, name string, err error) error {
	if err == nil || err == errRestart {
		return err
	}
	if _, bare := err.(unix.Errno); bare {
		return err
	}
	at, _ := p.pathFrom(Path{})
	return &fs.PathError{Op: op, Path: path.Join(at, name), Err: err}
}

// WithoutPath returns what err says of a file without saying which: for a log, which the host reads.
func WithoutPath(err error) error {
	for {
		named, ok := errors.AsType[*fs.PathError](err)
		if !ok {
			return err
		}
		err = named.Err
	}
}
