package enclave_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/enclave"
)

func TestPolicyText(t *testing.T) {
	for text, p := range map[string]enclave.Policy{"product": enclave.Product, "unique": enclave.Unique} {
		require.Equal(t, text, p.String())
		got, err := enclave.ParsePolicy(text)
		require.NoError(t, err)
		require.Equal(t, p, got)
	}
	require.Equal(t, enclave.Product, *new(enclave.Policy), "the default is product")
	for _, text := range []string{"", "Product", "none", "Policy(2)"} {
		_, err := enclave.ParsePolicy(text)
		require.ErrorIs(t, err, unix.EINVAL, text)
	}
	require.Equal(t, "Policy(2)", enclave.Policy(2).String())
}
