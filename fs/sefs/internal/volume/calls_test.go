// Calls are counted, and one at a time made: there is nothing for the race detector.

//go:build !race

package volume_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cloister/fs/sefs/internal/store"
	"cloister/fs/sefs/internal/volume"
)

// TestHostCalls holds the budgets of calls to the host.
func TestHostCalls(t *testing.T) {
	const mib = 1 << 20
	sizes := []int{128 << 10, mib, 4 << 10, 4 * mib}
	for _, piece := range sizes[:max(2, scaled(len(sizes)))] {
		_, c, v := counted(t)
		const size = 200 * mib
		before := c.Counts()
		blocks := writeFile(t, v, 10, size, piece)
		commit(t, v)
		wrote := c.Counts().Sub(before)
		require.LessOrEqual(t, float64(wrote.Total())/(size/mib), 1.25, "calls per MiB written in pieces of %d: %v", piece, wrote)
		require.LessOrEqual(t, float64(wrote.BytesWritten)/size, 1.03, "bytes written for each byte, in pieces of %d", piece)
		closeVolume(t, v)

		v = open(t, c, config())
		f := v.File(10, blocks)
		f.SetSize(size)
		p := make([]byte, piece)
		before = c.Counts()
		for off := int64(0); off < size; off += int64(piece) {
			require.NoError(t, f.ReadAt(t.Context(), p, off), "ReadAt")
		}
		read := c.Counts().Sub(before)
		require.LessOrEqual(t, float64(read.Total())/(size/mib), 1.25, "calls per MiB read in pieces of %d: %v", piece, read)
		v.Abandon()
	}
}

func TestHostCallsOfFsync(t *testing.T) {
	_, c, v := counted(t)
	const size, n = 256 << 20, 8000
	blocks := writeFile(t, v, 10, size, 1<<20)
	commit(t, v)
	f := v.File(10, blocks)
	p := pattern(1, 4096)
	write := func(times int) {
		for range times {
			tx(t, v, func(tx *volume.Tx) {
				off := rand.Int64N(size/4096) * 4096
				require.NoError(t, f.WriteAt(t.Context(), tx, p, off), "WriteAt")
			})
			commit(t, v)
		}
	}
	write(8000) // until the journal has grown
	before := c.Counts()
	write(n)
	did := c.Counts().Sub(before)
	require.LessOrEqual(t, float64(did.Total())/n, 2.1, "calls per 4 KiB write and commit: %v", did)
	require.LessOrEqual(t, float64(did.BytesWritten)/(n*4096), 2.8, "bytes written for each byte")

	before = c.Counts()
	commit(t, v)
	require.Zero(t, c.Counts().Sub(before).Total(), "calls of a commit with nothing to commit")
}

// TestHostCallsOfCreate does what creating 1 KiB files does to a volume.
func TestHostCallsOfCreate(t *testing.T) {
	_, c, v := counted(t)
	const n = 30_000
	before := c.Counts()
	p := pattern(1, 1024)
	for i := range uint64(n) {
		ino := 100 + i
		tx(t, v, func(tx *volume.Tx) {
			require.NoError(t, tx.Put(inodeKey(ino), p[:128]), "Put")
			dirent := inodeKey(2)
			dirent.Type, dirent.Off = 4, rand.Uint64()
			require.NoError(t, tx.Put(dirent, p[:40]), "Put")
			require.NoError(t, v.File(ino, 0).WriteAt(t.Context(), tx, p, 0), "WriteAt")
		})
	}
	commit(t, v)
	did := c.Counts().Sub(before)
	require.LessOrEqual(t, float64(did.Total())/n, 0.05, "calls per file: %v", did)
	t.Logf("%d files: %v, %+v", n, did, v.Stats())
}

func TestHostCallsOfMount(t *testing.T) {
	for _, files := range []uint64{10, 20_000} {
		_, c, v := counted(t)
		tx(t, v, func(tx *volume.Tx) {
			for i := range files {
				require.NoError(t, tx.Put(inodeKey(i), pattern(1, 200)), "Put")
			}
		})
		closeVolume(t, v)
		for _, access := range []volume.Access{volume.ReadWrite, volume.ReadOnly} {
			cfg := config()
			cfg.Access = access
			before := c.Counts()
			v = open(t, c, cfg)
			did := c.Counts().Sub(before)
			require.LessOrEqual(t, did.Total(), int64(8), "calls of Open with %d items: %v", files, did)
			if access == volume.ReadOnly {
				_, err := v.Get(inodeKey(1), nil)
				require.NoError(t, err)
			}
			closeVolume(t, v)
			did = c.Counts().Sub(before)
			require.Zero(t, did.Of(store.KindWrite)+did.Of(store.KindSync), "writes of a mount that changes nothing: %v", did)
		}
	}
}

func TestHostCallsOfTruncate(t *testing.T) {
	mem, c, v := counted(t)
	const size = 256 << 20
	blocks := writeFile(t, v, 10, size, 1<<20)
	commit(t, v)
	f := v.File(10, blocks)
	before := c.Counts()
	tx(t, v, func(tx *volume.Tx) { require.NoError(t, f.Truncate(tx, 0), "Truncate") })
	require.Zero(t, c.Counts().Sub(before).Total(), "calls of a truncate")
	commit(t, v)
	require.LessOrEqual(t, c.Counts().Sub(before).Total(), int64(4), "calls of a truncate and commit")
	require.Zero(t, f.Blocks(), "blocks behind it")
	closeVolume(t, v)
	v = open(t, c, config())
	require.LessOrEqual(t, v.Stats().Segments, uint64(2), "segments that stay")
	files := 0
	for _, name := range mem.Names() {
		if strings.HasPrefix(name, "seg/") {
			files++
		}
	}
	require.LessOrEqual(t, files, 2, "files of segments that stay")
}
