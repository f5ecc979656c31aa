package store

import "errors"

// A Call is one host call as a hook sees it.
type Call struct {
	Kind Kind
	Name string
	To   string // KindRename: the new name
	Make bool   // KindOpen: the file was created or emptied
	Off  int64  // KindRead, KindWrite: byte offset
	Data []byte // KindRead: the buffer; KindWrite: the bytes
}

// hook watches the calls of a Hooked store, concurrently. An error of before
// takes the place of the call.
type hook interface {
	before(Call) error
	after(Call, error)
}

// Hooked is a Store that shows every call to a hook on the way to the store
// below. Counter, Recorder and Faulty are made of it.
type Hooked struct {
	below Store
	hook  hook
}

func newHooked(st Store, h hook) *Hooked { return &Hooked{below: st, hook: h} }

func (s *Hooked) do(c Call, fn func() error) error {
	if err := s.hook.before(c); err != nil {
		return err
	}
	err := fn()
	s.hook.after(c, err)
	return err
}

func (s *Hooked) open(c Call, fn func() (File, error)) (f File, err error) {
	err = s.do(c, func() error {
		f, err = fn()
		return err
	})
	if err != nil {
		return nil, err
	}
	return &hookedFile{store: s, name: c.Name, below: f}, nil
}

// Open implements Store.
func (s *Hooked) Open(name string, access Access) (File, error) {
	return s.open(Call{Kind: KindOpen, Name: name}, func() (File, error) { return s.below.Open(name, access) })
}

// Create implements Store.
func (s *Hooked) Create(name string) (File, error) {
	return s.open(Call{Kind: KindOpen, Name: name, Make: true}, func() (File, error) { return s.below.Create(name) })
}

// Lock implements Store; it counts as the open(2) and the flock(2) that it is.
func (s *Hooked) Lock(access Access) (File, error) {
	var f File
	err := s.do(Call{Kind: KindOpen, Name: LockName}, func() error { return nil })
	if err != nil {
		return nil, err
	}
	f, err = s.open(Call{Kind: KindLock, Name: LockName}, func() (File, error) { return s.below.Lock(access) })
	return f, err
}

// Mkdir implements Store.
func (s *Hooked) Mkdir(name string) error {
	return s.do(Call{Kind: KindMkdir, Name: name}, func() error { return s.below.Mkdir(name) })
}

// Unlink implements Store.
func (s *Hooked) Unlink(name string) error {
	return s.do(Call{Kind: KindUnlink, Name: name}, func() error { return s.below.Unlink(name) })
}

// Rename implements Store.
func (s *Hooked) Rename(from, to string) error {
	return s.do(Call{Kind: KindRename, Name: from, To: to}, func() error { return s.below.Rename(from, to) })
}

// SyncDir implements Store.
func (s *Hooked) SyncDir() error {
	return s.do(Call{Kind: KindSync, Name: "."}, func() error { return s.below.SyncDir() })
}

// Empty implements Store.
func (s *Hooked) Empty() (empty bool, err error) {
	err = s.do(Call{Kind: KindEmpty, Name: "."}, func() error {
		empty, err = s.below.Empty()
		return err
	})
	return empty, err
}

// List implements Store.
func (s *Hooked) List(most int) (names []string, err error) {
	err = s.do(Call{Kind: KindEmpty, Name: "."}, func() error {
		names, err = s.below.List(most)
		return err
	})
	return names, err
}

// Close implements Store. It is not shown: it must always work.
func (s *Hooked) Close() error { return s.below.Close() }

type hookedFile struct {
	store *Hooked
	name  string
	below File
}

// ReadAt implements File. A hook sees the buffer before it is filled.
func (f *hookedFile) ReadAt(p []byte, off int64) (n int, err error) {
	c := Call{Kind: KindRead, Name: f.name, Off: off, Data: p}
	if err := f.store.hook.before(c); err == errShort {
		p = p[:len(p)/2]
	} else if err != nil {
		return 0, err
	}
	n, err = f.below.ReadAt(p, off)
	c.Data = p[:n]
	f.store.hook.after(c, err)
	return n, err
}

// WriteAt implements File.
func (f *hookedFile) WriteAt(p []byte, off int64) error {
	c := Call{Kind: KindWrite, Name: f.name, Off: off, Data: p}
	if err := f.store.hook.before(c); err != nil {
		if e, ok := errors.AsType[*faultError](err); ok && e.fault.Part > 0 {
			return errors.Join(f.below.WriteAt(p[:min(e.fault.Part, len(p))], off), err)
		}
		return err
	}
	err := f.below.WriteAt(p, off)
	f.store.hook.after(c, err)
	return err
}

// Sync implements File.
func (f *hookedFile) Sync() error {
	c := Call{Kind: KindSync, Name: f.name}
	if err := f.store.hook.before(c); err != nil {
		return err
	}
	err := f.below.Sync()
	f.store.hook.after(c, err)
	return err
}

// Close implements File. An injected error still closes the file below.
func (f *hookedFile) Close() error {
	c := Call{Kind: KindClose, Name: f.name}
	injected := f.store.hook.before(c)
	err := f.below.Close()
	if injected != nil {
		return injected
	}
	f.store.hook.after(c, err)
	return err
}
