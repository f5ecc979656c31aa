package sim_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/enclave/sim"
)

// signerPublic was made by "openssl genrsa -3 3072"; signerID was computed from
// its modulus with xxd, tac and sha256sum.
const (
	signerID     = "899fc44b3da5dddc4fe9325a086947ea7c4fc4a97ba7f13b3be632cc91ff268f"
	signerPublic = `-----BEGIN PUBLIC KEY-----
MIIBoDANBgkqhkiG9w0BAQEFAAOCAY0AMIIBiAKCAYEA4LcL61i5BcPgDcikXEpN
2phLCXFvjOMpHiof665Bi4Vp0PFnAN8c30ILxSi9sdBeQEhYLxRuDiucGrfhE9Os
T3b40LMcZFjQuweBXDn7TVyfHX6yJg6Lt3zT+GlFOgLkOildvFdijOY8DWy6885R
yOiuNubxEhNGPyEGPuGjknUoVLxVzCFeyO/wF0hdGcGknbLNkweLVAEVnHI44gkI
7vGo02ybgFSILJfsOIUeuH+bVYF6r8SSuHWERzGJCAqtQp9zwR9KKzH8O4QNQwgY
IWDUjO1MB/6ZhS5s7jxi1BoYr9B6W73TeOWa5SmHy4dCU75Xr1yrEfBkcDaC6Xvi
xfL9vkQei9gvKajCoWFNO8kuiteiqdXUymjC16GF3LkAxMuq/P1dnKbtdE6sqAvA
B/M5/YVRQg1InAiGi7qfieKJwxI48FGbxnhAAEcu9i5SdZANnACelEznUJTIKtS3
2dscuz/YJUasXxNtgYy05IBkeXVZlf04ZB0MUsHyZjN7AgED
-----END PUBLIC KEY-----
`
)

func TestSignerOfKnownKey(t *testing.T) {
	id, err := sim.SignerOf([]byte("text before\n" + signerPublic))
	require.NoError(t, err)
	require.Equal(t, signerID, hex.EncodeToString(id[:]))
}

// newKey makes an RSA key with exponent 3, which the standard library does not.
func newKey(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	one, three := big.NewInt(1), big.NewInt(3)
	prime := func() *big.Int {
		for {
			p, err := rand.Prime(rand.Reader, bits/2)
			require.NoError(t, err)
			if new(big.Int).Mod(p, three).Cmp(one) != 0 {
				return p
			}
		}
	}
	p, q := prime(), prime()
	phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
	key := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: 3},
		D:         new(big.Int).ModInverse(three, phi),
		Primes:    []*big.Int{p, q},
	}
	key.Precompute()
	require.NoError(t, key.Validate())
	return key
}

func TestSignerOfAllForms(t *testing.T) {
	key := newKey(t, 3072)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	pkix, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	require.NoError(t, err)
	var want [32]byte
	for i, b := range []pem.Block{
		{Type: "PUBLIC KEY", Bytes: pkix},
		{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&key.PublicKey)},
		{Type: "PRIVATE KEY", Bytes: pkcs8},
		{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)},
	} {
		file := append(pem.EncodeToMemory(&pem.Block{Type: "COMMENT"}), pem.EncodeToMemory(&b)...)
		id, err := sim.SignerOf(file)
		require.NoError(t, err, b.Type)
		if i == 0 {
			want = id
		}
		require.Equal(t, want, id, b.Type)
	}
	require.NotEqual(t, signerID, hex.EncodeToString(want[:]))
}

func TestSignerOfRefuses(t *testing.T) {
	encode := func(typ string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der}) }
	f4, err := rsa.GenerateKey(rand.Reader, 3072)
	require.NoError(t, err)
	small := newKey(t, 2048)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	ecDER, err := x509.MarshalPKCS8PrivateKey(ec)
	require.NoError(t, err)
	for name, tc := range map[string]struct {
		file []byte
		says string
	}{
		"empty":          {nil, "no RSA key"},
		"no PEM":         {[]byte("key"), "no RSA key"},
		"certificate":    {encode("CERTIFICATE", []byte{1}), "no RSA key"},
		"damaged":        {encode("RSA PRIVATE KEY", []byte{1, 2, 3}), "malformed"},
		"2048 bits":      {encode("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(small)), "2048 bits"},
		"exponent 65537": {encode("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&f4.PublicKey)), "exponent 65537"},
		"elliptic curve": {encode("PRIVATE KEY", ecDER), "only RSA keys"},
		"much too large": {make([]byte, 1<<20), "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			id, err := sim.SignerOf(tc.file)
			require.ErrorIs(t, err, unix.EINVAL)
			require.ErrorContains(t, err, tc.says)
			require.Zero(t, id)
		})
	}
}

func FuzzSignerOf(f *testing.F) {
	f.Add([]byte(signerPublic))
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		if _, err := sim.SignerOf(file); err != nil {
			require.ErrorIs(t, err, unix.EINVAL)
		}
	})
}
