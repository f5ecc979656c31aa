package hostfs_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/hostfs"
)

// record is one of getdents64(2). length, if not 0, is a wrong length.
func record(name string, length int) []byte {
	n := (19 + len(name) + 1 + 7) &^ 7
	rec := make([]byte, n)
	rec[0] = 9
	if length == 0 {
		length = n
	}
	binary.NativeEndian.PutUint16(rec[16:], uint16(length))
	rec[18] = unix.DT_REG
	copy(rec[19:], name)
	return rec
}

func TestDirectoryAnswers(t *testing.T) {
	unended := record("abcd", 0)
	for i := 19; i < len(unended); i++ {
		unended[i] = 'x'
	}
	oddType := record("odd", 0)
	oddType[18] = 99
	for _, c := range []struct {
		name string
		data []byte
		n    int // the count that is returned, if not all of data
		want []string
	}{
		{"good", concat(record(".", 0), record("..", 0), record("a", 0), record("b\xff", 0)), 0, []string{"a", "b\xff"}},
		{"twice", concat(record("a", 0), record("b", 0), record("a", 0)), 0, []string{"a", "b"}},
		{"unknown type", oddType, 0, []string{"odd"}},
		{"count beyond the buffer", record("a", 0), 1 << 20, nil},
		{"negative count", record("a", 0), -1, nil},
		{"half a record", record("a", 0), 10, nil},
		{"record of length 0", record("a", 0xffff0000), 0, nil},
		{"record too short", record("a", 19), 0, nil},
		{"record beyond the data", record("a", 4096), 0, nil},
		{"name without end", unended, 0, nil},
		{"empty name", record("", 0), 0, nil},
		{"name with slash", record("../x", 0), 0, nil},
		{"name too long", record(strings.Repeat("n", 256), 0), 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHook()
			w := newWorld(t, h)
			calls := 0
			h.getdents = func(buf []byte) (int, error) {
				if calls++; calls > 1 {
					return 0, nil
				}
				copy(buf, c.data)
				if c.n != 0 {
					return c.n, nil
				}
				return len(c.data), nil
			}
			got, err := w.list("/host")
			if c.want == nil {
				isEIO(t, err, "readdir")
				return
			}
			require.NoError(t, err)
			delete(got, ".")
			delete(got, "..")
			require.Len(t, got, len(c.want))
			for _, name := range c.want {
				require.Contains(t, got, name)
			}
		})
	}
}

func concat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// TestEndlessDirectory: a directory that never ends does, also if it has but one name.
func TestEndlessDirectory(t *testing.T) {
	for _, name := range []string{"again", strings.Repeat("n", 255)} {
		h := newHook()
		w := newWorld(t, h)
		records, bytes := 0, 0
		h.getdents = func(buf []byte) (int, error) {
			n := 0
			for rec := record(name, 0); n+len(rec) <= len(buf); n += len(rec) {
				copy(buf[n:], rec)
				records++
			}
			bytes += n
			return n, nil
		}
		_, err := w.list("/host")
		isEIO(t, err, "readdir")
		require.LessOrEqual(t, records, hostfs.MaxEntries+4096)
		require.LessOrEqual(t, bytes, hostfs.MaxDirBytes+1<<16)
	}
}
