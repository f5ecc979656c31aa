package sim

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"cloister/enclave"
)

// A Counter is a simulated counter: a directory with a file for each id. It protects
// nothing from who can write to the directory; on storage that the host of an image
// cannot write to, it is a real one. Several processes may use one directory. It
// implements enclave.Counter.
type Counter struct {
	dir string
}

var _ enclave.Counter = (*Counter)(nil)

// A counter file is one line: the header, the sequence number in decimal, a blank,
// the root in hex.
const (
	counterHeader = "cloister-simulated-counter-1 "
	maxCounter    = len(counterHeader) + 20 + 1 + 64 + 1
)

// OpenCounter returns the counter in an existing directory.
//
// Errors: ENOENT, ENOTDIR and others of stat(2).
func OpenCounter(dir string) (*Counter, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("sim: counter: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("sim: counter: %s: %w", dir, unix.ENOTDIR)
	}
	return &Counter{dir: dir}, nil
}

// State implements enclave.Counter.
//
// Errors: EIO if the file of id is damaged; the errno of the file system.
func (c *Counter) State(_ context.Context, id [16]byte) (enclave.CounterState, error) {
	s, err := readCounter(c.file(id))
	if err != nil {
		return s, fmt.Errorf("sim: counter: %w", err)
	}
	return s, nil
}

// Advance implements enclave.Counter.
func (c *Counter) Advance(_ context.Context, id [16]byte, old, next enclave.CounterState) error {
	if next.Seq <= old.Seq && old != (enclave.CounterState{}) {
		return fmt.Errorf("sim: counter: from %d to %d: %w", old.Seq, next.Seq, unix.EINVAL)
	}
	if err := c.advance(c.file(id), old, next); err != nil {
		return fmt.Errorf("sim: counter: %w", err)
	}
	return nil
}

func (c *Counter) file(id [16]byte) string { return filepath.Join(c.dir, hex.EncodeToString(id[:])) }

func (c *Counter) advance(file string, old, next enclave.CounterState) (err error) {
	lock, err := os.OpenFile(filepath.Join(c.dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close() // which releases it
	for {
		err := unix.Flock(int(lock.Fd()), unix.LOCK_EX)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
	now, err := readCounter(file)
	if err != nil {
		return err
	}
	if now != old {
		return fmt.Errorf("state %d is not the newest, %d is: %w", old.Seq, now.Seq, unix.ESTALE)
	}
	return replaceFile(file, encodeCounter(next))
}

func encodeCounter(s enclave.CounterState) []byte {
	line := strconv.AppendUint([]byte(counterHeader), s.Seq, 10)
	line = append(line, ' ')
	line = hex.AppendEncode(line, s.Root[:])
	return append(line, '\n')
}

// readCounter reads a counter file; one that is not there is the zero state.
func readCounter(file string) (s enclave.CounterState, err error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	defer f.Close()
	line, err := io.ReadAll(io.LimitReader(f, int64(maxCounter)+1))
	if err != nil {
		return s, err
	}
	damaged := fmt.Errorf("%s is damaged: %w", file, unix.EIO)
	rest, ok := bytes.CutPrefix(line, []byte(counterHeader))
	number, root, cut := bytes.Cut(rest, []byte(" "))
	if !ok || !cut || len(root) != 2*len(s.Root)+1 {
		return s, damaged
	}
	if s.Seq, err = strconv.ParseUint(string(number), 10, 64); err != nil {
		return enclave.CounterState{}, damaged
	}
	if _, err := hex.Decode(s.Root[:], root[:2*len(s.Root)]); err != nil || !bytes.Equal(line, encodeCounter(s)) {
		return enclave.CounterState{}, damaged
	}
	return s, nil
}

// replaceFile makes text the content of a file, durably: after a crash it is there,
// or what was there before.
func replaceFile(file string, text []byte) error {
	tmp, err := os.OpenFile(file+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = tmp.Write(text)
	if err == nil {
		err = tmp.Sync()
	}
	if e := tmp.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(file+".new", file)
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(file))
}
