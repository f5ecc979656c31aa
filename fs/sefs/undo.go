package sefs

import (
	"slices"
	"sync"

	"cloister/fs/sefs/internal/store"
)

// undoStore notes the names that a new image gets, so that they can be removed
// again if its first mount fails.
type undoStore struct {
	store.Store
	mu    sync.Mutex
	names []string // made so far, oldest first
	kept  bool     // the image stays: no more notes
}

// maxNotes is how many names an image gets at most before its first mount has succeeded or failed: it has few
// files by then. With more, it is in use.
const maxNotes = 64

func newUndoStore(st store.Store) *undoStore { return &undoStore{Store: st} }

func (s *undoStore) note(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.kept || slices.Contains(s.names, name):
	case len(s.names) == maxNotes:
		s.kept, s.names = true, nil
	default:
		s.names = append(s.names, name)
	}
}

// Create implements store.Store.
func (s *undoStore) Create(name string) (store.File, error) {
	f, err := s.Store.Create(name)
	if err == nil {
		s.note(name)
	}
	return f, err
}

// Mkdir implements store.Store.
func (s *undoStore) Mkdir(name string) error {
	err := s.Store.Mkdir(name)
	if err == nil {
		s.note(name)
	}
	return err
}

// Rename implements store.Store.
func (s *undoStore) Rename(from, to string) error {
	err := s.Store.Rename(from, to)
	if err == nil {
		s.note(to)
	}
	return err
}

// Lock implements store.Store.
func (s *undoStore) Lock(access store.Access) (store.File, error) {
	f, err := s.Store.Lock(access)
	if err == nil {
		s.note(store.LockName)
	}
	return f, err
}

// undo removes what was made, newest first. A name that is gone already is no
// error, and an error leaves the name to its owner: nothing better can be done.
func (s *undoStore) undo() {
	s.mu.Lock()
	names := s.names
	s.names = nil
	s.mu.Unlock()
	for _, name := range slices.Backward(names) {
		_ = s.Unlink(name)
	}
}
