package sefs_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs"
	"cloister/fs/sefs/internal/store"
	"cloister/vfs"
)

// TestCompact empties segments of which little is in use, interrupted first.
func TestCompact(t *testing.T) {
	mem := store.NewMemory()
	x := &tree{t: t, cfg: onStore(t, mem)}
	fs, err := sefs.Make(t.Context(), "image", sefs.MakeConfig{OpenConfig: x.cfg})
	require.NoError(t, err)
	x.fs = fs
	const files, keep = 200, 7 // odd: large writes may go to two segments in turn
	for n := range files {
		require.NoError(t, x.create(fmt.Sprint("f", n), 0o644, strings.Repeat(fmt.Sprintf("%04d", n), 256<<10)))
	}
	for n := range files {
		if n%keep != 0 {
			require.NoError(t, x.unlink(fmt.Sprint("f", n)))
		}
	}
	require.NoError(t, x.fs.Sync(t.Context()))
	want := x.dump()
	before := x.fs.Stats().Segments

	ctx, cancel := context.WithCancel(t.Context())
	moved := int64(0)
	err = x.fs.Compact(ctx, func(bytes int64) {
		moved += bytes
		cancel()
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Positive(t, moved)
	require.Equal(t, want, x.dump(), "interrupted")
	require.NoError(t, x.fs.Close(t.Context(), vfs.ForceClose))
	require.Empty(t, checked(t, mem, sefs.CheckTree).Problems, "interrupted")

	x.open()
	require.NoError(t, x.fs.Compact(t.Context(), nil))
	require.Less(t, x.fs.Stats().Segments, before)
	require.Equal(t, want, x.dump())
	require.NoError(t, x.fs.Close(t.Context(), vfs.SafeClose))
	require.Empty(t, checked(t, mem, sefs.CheckTree).Problems)

	x.cfg.Access = sefs.ReadOnly
	x.open()
	defer x.fs.Abandon()
	require.ErrorIs(t, x.fs.Compact(t.Context(), nil), unix.EROFS)
}
