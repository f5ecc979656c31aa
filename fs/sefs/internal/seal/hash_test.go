package seal_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"cloister/fs/sefs/internal/seal"
)

// TestVerify verifies runs of all lengths that the pool treats differently, and finds the first block
// that is another one.
func TestVerify(t *testing.T) {
	pool := seal.NewPool()
	defer pool.Close()
	const size = 4096
	for _, n := range []int{1, 2, 31, 63, 64, 65, 200, 256} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			r := &seal.Run{Cipher: make([]byte, n*size)}
			for i := range n {
				copy(r.Cipher[i*size:], bytes.Repeat([]byte{byte(i), byte(i >> 8)}, size/2))
				sum := seal.Checksum(r.Cipher[i*size : (i+1)*size])
				r.Tags = append(r.Tags, sum[:]...)
				r.Plain = append(r.Plain, make([]byte, size))
			}
			require.Equal(t, -1, pool.Verify(r))
			require.Equal(t, r.Cipher, bytes.Join(r.Plain, nil))
			for _, i := range []int{0, n / 3, n - 1} {
				r.Cipher[i*size+9] ^= 1
				require.Equal(t, i, pool.Verify(r), "changed block")
				r.Cipher[i*size+9] ^= 1
				r.Tags[i*seal.HashSize+31] ^= 1
				require.Equal(t, i, pool.Verify(r), "changed hash")
				r.Tags[i*seal.HashSize+31] ^= 1
			}
			require.Equal(t, -1, pool.Verify(r))
		})
	}
}
