package volume_test

import (
	"context"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/store"
	"cloister/fs/sefs/internal/volume"
)

func openRepair(t *testing.T, st store.Store) *volume.Volume {
	v, err := volume.OpenRepair(t.Context(), st, config())
	require.NoError(t, err, "OpenRepair")
	t.Cleanup(v.Abandon)
	return v
}

// nodeBlocks returns where the nodes of a closed volume lie in its first segment.
func nodeBlocks(t *testing.T, mem *store.Memory) (blocks []uint16) {
	data := mem.Bytes("seg/00/00000000")
	for at := 0; at < len(data); at += 4096 {
		data[at] ^= 1
		v := openLoose(t, mem, reading())
		for _, d := range check(t, v) {
			if d.Kind == volume.DamageNode {
				n, err := strconv.Atoi(regexp.MustCompile(`block (\d+)`).FindStringSubmatch(d.Err.Error())[1])
				require.NoError(t, err)
				if n == at/4096 {
					blocks = append(blocks, uint16(n))
				}
			}
		}
		v.Abandon()
		data[at] ^= 1
	}
	return blocks
}

// TestRepairSharedNodes makes extents of files lie where nodes of the tree are, before them in the
// order of keys and behind them.
func TestRepairSharedNodes(t *testing.T) {
	mem, v := newVolume(t)
	for ino := range uint64(100) {
		writeFile(t, v, 100+ino, 1400, 700)
	}
	closeVolume(t, v)
	nodes := nodeBlocks(t, mem)
	require.Greater(t, len(nodes), 5)
	for _, block := range nodes {
		for _, ino := range []uint64{10, 1000} {
			m := mem.Clone()
			v := openLoose(t, m, config())
			tx(t, v, func(tx *volume.Tx) {
				e := format.Extent{Ptr: format.Ptr{Block: block, Session: [12]byte{1}}, Tags: make([]byte, 32)}
				require.NoError(t, tx.Put(format.Key{Ino: ino, Type: format.TypeExtent}, format.AppendExtent(nil, e)))
			})
			closeVolume(t, v)

			v = openLoose(t, m, reading())
			before := len(check(t, v))
			v.Abandon()
			require.Positive(t, before, "the node at block %d is a file's", block)

			v = openRepair(t, m)
			_, err := v.Repair(t.Context())
			require.NoError(t, err)
			require.NoError(t, v.EndRepair(t.Context()))
			v.Abandon()

			v = openLoose(t, m, reading())
			for _, d := range check(t, v) {
				require.Equal(t, volume.DamageData, d.Kind, "%+v", d)
				require.Equal(t, ino, d.Ino, "what never was that file's data")
			}
			p := make([]byte, 700)
			for ino := range uint64(100) {
				require.NoError(t, v.File(100+ino, 0).ReadAt(t.Context(), p, 700))
				require.Equal(t, pattern(int(100+ino), 700), p)
			}
			v.Abandon()

			// What was the file's can be dropped, and the node stays.
			v = openLoose(t, m, config())
			tx(t, v, func(tx *volume.Tx) { require.NoError(t, v.File(ino, 2).Discard(tx)) })
			closeVolume(t, v)
			v = openLoose(t, m, reading())
			require.Empty(t, check(t, v))
			v.Abandon()
		}
	}
}

// TestRepairErrors calls things out of turn.
func TestRepairErrors(t *testing.T) {
	mem, v := newVolume(t)
	_, err := v.Repair(t.Context())
	require.ErrorIs(t, err, unix.EINVAL, "not open for repair")
	require.ErrorIs(t, v.EndRepair(t.Context()), unix.EINVAL, "not open for repair")
	writeFile(t, v, 10, 1<<20, 1<<20)
	closeVolume(t, v)

	v = openRepair(t, mem)
	require.ErrorIs(t, v.EndRepair(t.Context()), unix.EINVAL, "not begun")
	require.Empty(t, check(t, v), "it can be checked")
	ctx, cancel := context.WithCancel(t.Context())
	_, err = v.Repair(ctx)
	require.NoError(t, err)
	cancel()
	require.ErrorIs(t, v.EndRepair(ctx), context.Canceled)
	v.Abandon()
	require.Empty(t, check(t, open(t, mem, reading())), "nothing has changed")
}
