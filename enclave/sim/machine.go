package sim

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A machine file is one line: the header, the secret in hex, a blank, the first
// bytes of the SHA-256 of header and secret in hex. The check tells a damaged
// file, which would be another machine, from a good one.
const (
	machineHeader = "cloister-simulated-machine-1 "
	secretSize    = 32
	checkSize     = 4
	machineSize   = len(machineHeader) + 2*secretSize + 1 + 2*checkSize + 1
)

// LoadMachine returns the machine secret in file. If there is no such file, it
// makes one with a random secret first, readable by its owner only; of several
// processes that do so at once, one makes the file and all return its secret.
// The directory must exist.
//
// Errors: EACCES if others than the owner may read or write the file, or if it
// belongs neither to the caller nor to root; EINVAL if it is not a machine
// file, or is damaged; otherwise the errno of the host.
func LoadMachine(file string) (secret []byte, err error) {
	secret, err = readMachine(file)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeMachine(file); err == nil || errors.Is(err, fs.ErrExist) {
			secret, err = readMachine(file)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("sim: machine file: %w", err)
	}
	return secret, nil
}

func readMachine(file string) ([]byte, error) {
	// O_NONBLOCK: a FIFO in the file's place must not hang the caller.
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, fmt.Errorf("stat %s: %w", file, err)
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size != int64(machineSize):
		return nil, fmt.Errorf("%s is not a machine file: %w", file, unix.EINVAL)
	case st.Mode&0o077 != 0:
		return nil, fmt.Errorf("%s has mode %04o, others may use it (chmod 600): %w", file, st.Mode&0o7777, unix.EACCES)
	case st.Uid != 0 && int(st.Uid) != os.Geteuid():
		return nil, fmt.Errorf("%s belongs to user %d: %w", file, st.Uid, unix.EACCES)
	}
	line := make([]byte, machineSize)
	defer clear(line)
	if _, err := io.ReadFull(f, line); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("%s was cut off while it was read: %w", file, unix.EINVAL)
	} else if err != nil {
		return nil, err
	}
	secret := make([]byte, secretSize)
	if _, err := hex.Decode(secret, line[len(machineHeader):][:2*secretSize]); err != nil || !bytes.Equal(line, encodeMachine(secret)) {
		return nil, fmt.Errorf("%s is damaged: %w", file, unix.EINVAL)
	}
	return secret, nil
}

func encodeMachine(secret []byte) []byte {
	line := make([]byte, 0, machineSize)
	line = append(line, machineHeader...)
	line = hex.AppendEncode(line, secret)
	check := sha256.Sum256(line)
	line = append(line, ' ')
	line = hex.AppendEncode(line, check[:checkSize])
	return append(line, '\n')
}

// makeMachine makes a machine file. It is an error wrapping fs.ErrExist if
// there is one by now.
func makeMachine(file string) (err error) {
	secret := make([]byte, secretSize)
	rand.Read(secret) // never fails: crypto/rand ends the process instead

	dir := filepath.Dir(file)
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(file)+".*") // with mode 0600
	if err != nil {
		return err
	}
	defer func() {
		// The final name is a link of its own.
		if removeErr := os.Remove(tmp.Name()); err == nil {
			err = removeErr
		}
	}()
	_, err = tmp.Write(encodeMachine(secret))
	if err == nil {
		err = tmp.Sync()
	}
	if closeErr := tmp.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	// link(2), not rename(2): a file that another process has put there in the
	// meantime must stay, for that process already uses its secret.
	if err = os.Link(tmp.Name(), file); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
