//go:build cgo

package ego

import (
	"testing"

	ego "github.com/edgelesssys/ego/enclave"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/enclave"
)

// insideEnclave tells whether the tests run where they cannot show what
// happens outside of an enclave.
func insideEnclave() bool {
	_, err := ego.GetSelfReport()
	return err == nil
}

func TestNewOutsideOfAnEnclave(t *testing.T) {
	if insideEnclave() {
		t.Skip("runs in an SGX enclave")
	}
	_, err := New()
	require.ErrorIs(t, err, unix.ENOSYS)
	require.ErrorContains(t, err, "not in an SGX enclave")
}

// TestZeroKeyOfEGo shows that EGo itself gives an all-zero key and no error
// outside of an enclave, that it is refused, and that checkRequest takes what
// this EGo makes.
func TestZeroKeyOfEGo(t *testing.T) {
	if insideEnclave() {
		t.Skip("runs in an SGX enclave")
	}
	rt := fakeRuntime()
	rt.productKey, rt.uniqueKey, rt.key = ego.GetRandomProductSealKey, ego.GetRandomUniqueSealKey, ego.GetSealKey
	p, err := newPlatform(rt)
	require.NoError(t, err)
	for policy, get := range map[enclave.Policy]func() ([]byte, []byte, error){enclave.Product: rt.productKey, enclave.Unique: rt.uniqueKey} {
		key, info, err := get()
		require.NoError(t, err)
		require.Equal(t, make([]byte, 16), key)
		require.NoError(t, p.checkRequest(policy, info))

		_, _, err = p.SealKey(policy)
		require.ErrorIs(t, err, unix.ENOSYS)
		_, err = p.SealKeyFor(policy, info)
		require.ErrorIs(t, err, unix.ENOSYS)
	}
}
