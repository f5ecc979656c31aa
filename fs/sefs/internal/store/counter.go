package store

import "sync"

// Kind is one kind of host call.
type Kind int

const (
	KindOpen Kind = iota
	KindClose
	KindRead
	KindWrite
	KindSync
	KindUnlink
	KindRename
	KindMkdir
	KindLock
	KindEmpty
	kinds
)

// String returns the name of the system call.
func (k Kind) String() string {
	return [kinds]string{"open", "close", "pread", "pwrite", "fdatasync", "unlink", "rename", "mkdir", "flock", "getdents"}[k]
}

// Counts are numbers of host calls and of bytes that they moved.
type Counts struct {
	Calls                   [kinds]int64
	BytesRead, BytesWritten int64
}

// Of returns the number of calls of kind k.
func (c Counts) Of(k Kind) int64 { return c.Calls[k] }

// Total returns the number of calls of every kind.
func (c Counts) Total() int64 {
	var sum int64
	for _, n := range c.Calls {
		sum += n
	}
	return sum
}

// Sub returns the difference between c and an earlier o.
func (c Counts) Sub(o Counts) Counts {
	for k := range c.Calls {
		c.Calls[k] -= o.Calls[k]
	}
	c.BytesRead -= o.BytesRead
	c.BytesWritten -= o.BytesWritten
	return c
}

// Counter is a Store that counts the calls it passes on.
type Counter struct {
	*Hooked
	mu     sync.Mutex
	counts Counts
}

// NewCounter returns a counting store over st.
func NewCounter(st Store) *Counter {
	c := &Counter{}
	c.Hooked = newHooked(st, c)
	return c
}

// Counts returns what has been counted so far.
func (c *Counter) Counts() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts
}

func (c *Counter) before(call Call) error { return nil }

func (c *Counter) after(call Call, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts.Calls[call.Kind]++
	switch call.Kind {
	case KindRead:
		c.counts.BytesRead += int64(len(call.Data))
	case KindWrite:
		c.counts.BytesWritten += int64(len(call.Data))
	}
}
