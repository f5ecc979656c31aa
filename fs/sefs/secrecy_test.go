package sefs_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs"
	"cloister/fs/sefs/internal/store"
	"cloister/vfs"
)

// windows are pieces of plaintext, 8 bytes at every offset, with what they are of.
type windows struct {
	of     map[uint64]string
	filter [1 << 19]uint64 // a bit for 25 bits of a hash of each
}

func (w *windows) add(what, plain string) {
	for i := 0; i+8 <= len(plain); i++ {
		x := binary.LittleEndian.Uint64([]byte(plain[i:]))
		w.of[x] = what
		h := windowHash(x)
		w.filter[h/64] |= 1 << (h % 64)
	}
}

func windowHash(x uint64) uint64 { return x * 0x9e3779b97f4a7c15 >> 39 }

// find returns what piece of plaintext is in b, "" if none is.
func (w *windows) find(b []byte) string {
	for i := 0; i+8 <= len(b); i++ {
		x := binary.LittleEndian.Uint64(b[i:])
		if h := windowHash(x); w.filter[h/64]>>(h%64)&1 != 0 && w.of[x] != "" {
			return w.of[x]
		}
	}
	return ""
}

// letters returns random text that no other piece has 8 bytes in common with.
func letters(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'a' + byte(r.IntN(26))
	}
	return string(b)
}

// TestHostSeesNoPlaintext looks for 8 bytes in a row of any content, name, link target, name or
// value of an extended attribute, at every offset of every file on the host: after
// commits, a checkpoint, removals, a kill and recovery.
func TestHostSeesNoPlaintext(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	w := &windows{of: make(map[uint64]string)}
	text := func(what string, n int) string {
		s := letters(r, n)
		w.add(what, s)
		return s
	}
	mem := store.NewMemory()
	x := &tree{t: t, cfg: onStore(t, mem)}
	fs, err := sefs.Make(t.Context(), "image", sefs.MakeConfig{OpenConfig: x.cfg})
	require.NoError(t, err)
	x.fs = fs
	scan := func(when string) {
		t.Helper()
		for _, name := range mem.Names() {
			require.Empty(t, w.find(mem.Bytes(name)), "%s, %s", when, name)
			require.Empty(t, w.find([]byte(name)), "%s, the name %s", when, name)
		}
	}
	var last string
	rounds := 4
	if raceDetector {
		rounds = 2
	}
	for round := range rounds {
		dir := text("name of a directory", 12)
		require.NoError(t, x.create(dir, unix.S_IFDIR|0o755, ""))
		for n := range 40 {
			last = dir + "/" + text("name of a file", 8+r.IntN(100))
			size := []int{20, 1000, 3000, 12_000}[n%4]
			if n == 7 {
				size = 150_000
			}
			require.NoError(t, x.create(last, 0o600, text("content", size)))
			if n%4 == 0 {
				require.NoError(t, x.setxattr(last, "user."+text("name of an attribute", 10), text("value of an attribute", 10+n*100), 0))
				require.NoError(t, x.create(dir+"/"+text("name of a link", 10), unix.S_IFLNK, text("target", 10+n*60)))
			}
			if n%5 == 0 {
				require.NoError(t, x.fs.Sync(t.Context()))
			}
		}
		scan("after commits")
		require.NoError(t, x.unlink(last))
		if round%2 == 0 {
			x.reopen()
			scan("after a checkpoint")
			continue
		}
		require.NoError(t, x.fs.Sync(t.Context()))
		x.fs.Abandon()
		scan("after a kill")
		x.open()
		scan("after recovery")
	}
	require.NoError(t, x.fs.Close(t.Context(), vfs.SafeClose))
	require.Greater(t, len(w.of), rounds*250_000, "pieces looked for")

	// It would be seen: the same bytes in a host file.
	seen := mem.Clone()
	seen.Bytes("seg/00/00000000")[5] ^= 1
	require.Empty(t, w.find(seen.Bytes("seg/00/00000000")))
	copy(seen.Bytes("seg/00/00000000")[77_777:], last[len(last)-8:])
	require.Equal(t, "name of a file", w.find(seen.Bytes("seg/00/00000000")))
}

// TestFilesLookAlike shows that a volume with one file and one of the same size with
// ten thousand have the same files on the host, of sizes that are equal within a segment.
func TestFilesLookAlike(t *testing.T) {
	total, many := 96<<20, 10_000
	if raceDetector {
		total, many = 16<<20, 2000
	}
	volume := func(files int) map[string]int64 {
		mem := store.NewMemory()
		x := &tree{t: t, cfg: onStore(t, mem)}
		fs, err := sefs.Make(t.Context(), "image", sefs.MakeConfig{OpenConfig: x.cfg})
		require.NoError(t, err)
		x.fs = fs
		data := strings.Repeat("x", 1<<20)
		for n := range files {
			left := total / files
			name := fmt.Sprintf("a name of a file %d", n)
			require.NoError(t, x.create(name, 0o600, data[:min(left, len(data))]))
			for off := len(data); off < left; off += len(data) {
				require.NoError(t, x.write(name, data[:min(left-off, len(data))], int64(off)))
			}
		}
		require.NoError(t, fs.Close(t.Context(), vfs.SafeClose))
		sizes := make(map[string]int64)
		for _, name := range mem.Names() {
			sizes[name] = mem.Size(name)
		}
		return sizes
	}
	one, ten := volume(1), volume(many)
	const segment = 64 << 20
	sum := func(sizes map[string]int64) (segments int64) {
		for name, n := range sizes {
			if strings.HasPrefix(name, "seg/") {
				segments += n
			}
		}
		return segments
	}
	require.InDelta(t, sum(one), sum(ten), segment, "bytes in segments, equal within one")
	for name, n := range ten {
		if strings.HasPrefix(name, "seg/") {
			require.LessOrEqual(t, n, int64(segment))
			continue
		}
		require.Contains(t, one, name, "the same files")
		require.Equal(t, one[name], n, "of the same size: %s", name)
	}
	require.InDelta(t, len(one), len(ten), 1, "as many segments, within one")
	t.Logf("1 file: %v; %d files: %v", one, many, ten)
}
