package sim_test

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/enclave"
	"cloister/enclave/sim"
)

// base is the enclave that the rows below change.
func base() sim.Config {
	return sim.Config{
		MachineSecret:   bytes.Repeat([]byte{7}, 32),
		Signer:          [32]byte{1},
		ProductID:       2,
		SecurityVersion: 3,
		Measurement:     [32]byte{4},
	}
}

func open(t *testing.T, c sim.Config) *sim.Platform {
	t.Helper()
	p, err := sim.New(c)
	require.NoError(t, err)
	return p
}

func TestIdentity(t *testing.T) {
	c := base()
	c.Debug = true
	p := open(t, c)
	require.Equal(t, "simulation", p.Kind())
	require.Equal(t, enclave.Identity{Measurement: [32]byte{4}, Signer: [32]byte{1}, ProductID: 2, SecurityVersion: 3, Debug: true}, p.Identity())
}

func TestNewRefusesShortSecret(t *testing.T) {
	_, err := sim.New(sim.Config{MachineSecret: make([]byte, sim.MinSecret-1)})
	require.ErrorIs(t, err, unix.EINVAL)
}

// TestWhoGetsTheKey holds the rules of sealing, for both policies.
func TestWhoGetsTheKey(t *testing.T) {
	for _, tc := range []struct {
		name            string
		change          func(*sim.Config)
		product, unique error // EACCES, nil, or errOther for another key
	}{
		{"same enclave", func(*sim.Config) {}, nil, nil},
		{"newer security version", func(c *sim.Config) { c.SecurityVersion = 9 }, nil, nil},
		{"older security version", func(c *sim.Config) { c.SecurityVersion = 2 }, unix.EACCES, unix.EACCES},
		{"other program of the product", func(c *sim.Config) { c.Measurement = [32]byte{5} }, nil, errOther},
		{"other machine", func(c *sim.Config) { c.MachineSecret = bytes.Repeat([]byte{8}, 32) }, errOther, errOther},
		{"other signer", func(c *sim.Config) { c.Signer = [32]byte{9} }, errOther, errOther},
		{"other product", func(c *sim.Config) { c.ProductID = 1 }, errOther, errOther},
		{"debug enclave", func(c *sim.Config) { c.Debug = true }, errOther, errOther},
	} {
		for policy, want := range map[enclave.Policy]error{enclave.Product: tc.product, enclave.Unique: tc.unique} {
			t.Run(tc.name+"/"+policy.String(), func(t *testing.T) {
				key, info, err := open(t, base()).SealKey(policy)
				require.NoError(t, err)
				require.Len(t, key, enclave.SealKeySize)
				require.LessOrEqual(t, len(info), enclave.MaxKeyInfo)

				c := base()
				tc.change(&c)
				got, err := open(t, c).SealKeyFor(policy, info)
				switch want {
				case nil:
					require.NoError(t, err)
					require.Equal(t, key, got)
				case errOther:
					require.NoError(t, err)
					require.Len(t, got, enclave.SealKeySize)
					require.NotEqual(t, key, got)
				default:
					require.ErrorIs(t, err, want)
					require.Nil(t, got)
				}
			})
		}
	}
}

// TestKeyMatrix holds for each pair of enclaves, of all that differ from another in any of these ways, whether
// the second one gets the key of the first.
func TestKeyMatrix(t *testing.T) {
	ways := []func(*sim.Config){
		func(c *sim.Config) { c.MachineSecret = bytes.Repeat([]byte{8}, 32) },
		func(c *sim.Config) { c.Signer[31] = 1 },
		func(c *sim.Config) { c.ProductID = 0x0200 },
		func(c *sim.Config) { c.Debug = true },
		func(c *sim.Config) { c.Measurement[31] = 1 },
		func(c *sim.Config) { c.SecurityVersion++ },
	}
	const measurement, version = 1 << 4, 1 << 5
	enclaves := make([]*sim.Platform, 1<<len(ways))
	for n := range enclaves {
		c := base()
		for way, change := range ways {
			if n>>way&1 != 0 {
				change(&c)
			}
		}
		enclaves[n] = open(t, c)
	}
	for _, policy := range []enclave.Policy{enclave.Product, enclave.Unique} {
		for sealer := range enclaves {
			key, info, err := enclaves[sealer].SealKey(policy)
			require.NoError(t, err)
			for opener := range enclaves {
				got, err := enclaves[opener].SealKeyFor(policy, info)
				differ := (sealer ^ opener) &^ version
				if policy == enclave.Product {
					differ &^= measurement
				}
				switch {
				case sealer&version != 0 && opener&version == 0:
					require.ErrorIs(t, err, unix.EACCES, "%v: %06b of %06b", policy, opener, sealer)
					require.Nil(t, got)
				case differ == 0:
					require.NoError(t, err)
					require.Equal(t, key, got, "%v: %06b of %06b", policy, opener, sealer)
				default:
					require.NoError(t, err)
					require.NotEqual(t, key, got, "%v: %06b of %06b", policy, opener, sealer)
				}
			}
		}
	}
}

// TestVersions holds the rule of security versions at its ends: an enclave gets the keys of all versions up to
// its own.
func TestVersions(t *testing.T) {
	versions := []uint16{0, 1, 2, 0xfe, 0xff, 0x100, 0xfffe, 0xffff}
	for _, sealer := range versions {
		c := base()
		c.SecurityVersion = sealer
		key, info, err := open(t, c).SealKey(enclave.Product)
		require.NoError(t, err)
		for _, opener := range versions {
			c.SecurityVersion = opener
			got, err := open(t, c).SealKeyFor(enclave.Product, info)
			if opener < sealer {
				require.ErrorIs(t, err, unix.EACCES, "%d of %d", opener, sealer)
				continue
			}
			require.NoError(t, err)
			require.Equal(t, key, got, "%d of %d", opener, sealer)
		}
	}
}

// TestChangedInformation holds that information with any bit changed gives no key, or another one.
func TestChangedInformation(t *testing.T) {
	p := open(t, base())
	for _, policy := range []enclave.Policy{enclave.Product, enclave.Unique} {
		key, info, err := p.SealKey(policy)
		require.NoError(t, err)
		for bit := range 8 * len(info) {
			bad := bytes.Clone(info)
			bad[bit/8] ^= 1 << (bit % 8)
			got, err := p.SealKeyFor(policy, bad)
			if err != nil {
				require.ErrorIs(t, err, unix.EACCES, "bit %d", bit)
				continue
			}
			require.GreaterOrEqual(t, bit/8, 2, "format and policy are checked")
			require.NotEqual(t, key, got, "bit %d", bit)
		}
	}
}

// TestPoliciesGiveOtherKeys: the same information, but for the policy, leads to another key.
func TestPoliciesGiveOtherKeys(t *testing.T) {
	p := open(t, base())
	key, info, err := p.SealKey(enclave.Product)
	require.NoError(t, err)
	info[1] = byte(enclave.Unique)
	got, err := p.SealKeyFor(enclave.Unique, info)
	require.NoError(t, err)
	require.NotEqual(t, key, got)
}

var errOther = unix.EKEYREJECTED

func TestEachKeyIsFresh(t *testing.T) {
	p := open(t, base())
	seen := map[string]bool{}
	for range 8 {
		for _, policy := range []enclave.Policy{enclave.Product, enclave.Unique} {
			key, _, err := p.SealKey(policy)
			require.NoError(t, err)
			require.False(t, seen[string(key)])
			seen[string(key)] = true
		}
	}
}

func TestSecretIsCopied(t *testing.T) {
	c := base()
	p := open(t, c)
	key, info, err := p.SealKey(enclave.Product)
	require.NoError(t, err)
	clear(c.MachineSecret)
	got, err := p.SealKeyFor(enclave.Product, info)
	require.NoError(t, err)
	require.Equal(t, key, got)
}

// TestDerivationStays holds the derivation: images sealed by older releases
// depend on it. The keys were computed with another implementation of HKDF.
func TestDerivationStays(t *testing.T) {
	info := append([]byte{1, 0, 3, 0}, bytes.Repeat([]byte{0x42}, 32)...)
	key, err := open(t, base()).SealKeyFor(enclave.Product, info)
	require.NoError(t, err)
	require.Equal(t, "ac8758fe2ad95fd9d96f5f9b1a483570", hex.EncodeToString(key))
	info[1] = 1
	key, err = open(t, base()).SealKeyFor(enclave.Unique, info)
	require.NoError(t, err)
	require.Equal(t, "9078871689e21eabcb975d976ff63d0a", hex.EncodeToString(key))
}

func TestSealKeyForRefuses(t *testing.T) {
	p := open(t, base())
	_, info, err := p.SealKey(enclave.Product)
	require.NoError(t, err)
	for name, bad := range map[string][]byte{
		"nil": nil, "short": info[:len(info)-1], "long": append(bytes.Clone(info), 0),
		"other format": append([]byte{2}, info[1:]...), "other policy": append([]byte{1, 1}, info[2:]...), "unknown policy": append([]byte{1, 7}, info[2:]...),
		"newest version": append([]byte{1, 0, 0xff, 0xff}, info[4:]...), "next version": append([]byte{1, 0, 4, 0}, info[4:]...),
	} {
		key, err := p.SealKeyFor(enclave.Product, bad)
		require.ErrorIs(t, err, unix.EACCES, name)
		require.Nil(t, key, name)
	}
	_, _, err = p.SealKey(enclave.Policy(-1))
	require.ErrorIs(t, err, unix.EINVAL)
	_, err = p.SealKeyFor(enclave.Policy(2), info)
	require.ErrorIs(t, err, unix.EINVAL)
}

func FuzzSealKeyFor(f *testing.F) {
	p, err := sim.New(base())
	require.NoError(f, err)
	for _, policy := range []enclave.Policy{enclave.Product, enclave.Unique} {
		_, info, err := p.SealKey(policy)
		require.NoError(f, err)
		f.Add(info)
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, info []byte) {
		for _, policy := range []enclave.Policy{enclave.Product, enclave.Unique} {
			key, err := p.SealKeyFor(policy, info)
			if err != nil {
				require.ErrorIs(t, err, unix.EACCES)
				require.Nil(t, key)
				continue
			}
			require.Len(t, key, enclave.SealKeySize)
			require.LessOrEqual(t, int(info[2])|int(info[3])<<8, 3, "a newer version")
		}
	})
}
