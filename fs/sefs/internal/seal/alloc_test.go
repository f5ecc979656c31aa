//go:build !race

// Under the race detector a sync.Pool drops some of what it is given.

package seal_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"cloister/fs/sefs/internal/seal"
)

func TestRunAllocatesNothing(t *testing.T) {
	box, err := testRing(16).Box(seal.SessionID{3})
	require.NoError(t, err)
	pool := seal.NewPool()
	defer pool.Close()
	const n = 128
	r := &seal.Run{Box: box, Domain: seal.DomainData, Cipher: make([]byte, n*4096), Tags: make([]byte, n*seal.TagSize)}
	for range n {
		r.Plain = append(r.Plain, make([]byte, 4096))
	}
	require.LessOrEqual(t, testing.AllocsPerRun(50, func() {
		pool.Seal(r)
		if pool.Open(r) != -1 {
			t.Error("not authentic")
		}
	}), 0.5)
}
