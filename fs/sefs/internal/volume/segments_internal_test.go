package volume

import (
	"testing"

	"github.com/stretchr/testify/require"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/store"
)

// TestWriteDuringSync writes to a segment while a sync for an earlier commit is under
// way: that sync need not cover the write, so the next one must.
func TestWriteDuringSync(t *testing.T) {
	mem := store.NewMemory()
	require.NoError(t, mem.Mkdir(segmentsDir))
	var during func()
	c := store.NewCounter(store.NewFaulty(mem, func(_ int, call store.Call) store.Fault {
		if fn := during; fn != nil && call.Kind == store.KindWrite {
			during = nil
			fn()
		}
		return store.Fault{}
	}))
	s := newSegments(c, ReadWrite)
	block := make([]byte, format.BlockSize)
	require.NoError(t, s.write(format.Ptr{}, block))
	during = func() { require.NoError(t, s.sync(), "sync for an earlier commit") }
	require.NoError(t, s.write(format.Ptr{Block: 1}, block))
	require.Equal(t, int64(1), c.Counts().Of(store.KindSync))
	require.NoError(t, s.sync())
	require.Equal(t, int64(2), c.Counts().Of(store.KindSync), "syncs, one of them after the write")
	require.NoError(t, s.sync())
	require.Equal(t, int64(2), c.Counts().Of(store.KindSync), "syncs with nothing written")
}
