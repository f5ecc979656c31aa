package libos_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/enclave"
	"cloister/enclave/sim"
	"cloister/libos"
	"cloister/mountopt"
)

// hardware is a simulated platform that says it is a real one.
type hardware struct{ enclave.Platform }

func (hardware) Kind() string { return enclave.KindSGX }

// changed is a platform that gets other key information than it gave: the host has changed it.
type changed struct {
	enclave.Platform
	change func(info []byte) []byte
}

func (c changed) SealKeyFor(p enclave.Policy, info []byte) ([]byte, error) {
	return c.Platform.SealKeyFor(p, c.change(bytes.Clone(info)))
}

// startWith starts a LibOS on p with one mount, and stops it again.
func startWith(t *testing.T, p enclave.Platform, policy enclave.Policy, typ, data string, flags uintptr) error {
	t.Helper()
	l, err := libos.Start(t.Context(), libos.Config{Platform: p, Policy: policy, Mounts: []mountopt.Mount{
		{Source: "none", Target: "/m", Type: typ, Data: data, Flags: flags},
	}})
	if err == nil {
		require.NoError(t, l.Close(t.Context()))
	}
	return err
}

func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	require.NoError(t, fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, name))
		out[name] = string(data)
		return err
	}))
	return out
}

// TestKindsOfPlatformAreNeverMixed: an image that a real enclave sealed is refused under simulation and the reverse, even
// where the keys would fit, for the header says which it is. The error gives the reason.
func TestKindsOfPlatformAreNeverMixed(t *testing.T) {
	simulated := platform(t)
	hard := hardware{simulated}
	for _, tc := range []struct {
		name        string
		maker, user enclave.Platform
		says        string
	}{
		{"real image in a simulated enclave", hard, simulated, `sealed by platform "sgx", this is "simulation"`},
		{"simulated image in a real enclave", simulated, hard, `sealed by platform "simulation", this is "sgx"`},
	} {
		for _, policy := range []enclave.Policy{enclave.Product, enclave.Unique} {
			t.Run(tc.name+"/"+policy.String(), func(t *testing.T) {
				dir := t.TempDir()
				require.NoError(t, startWith(t, tc.maker, policy, "sefs", "dir="+dir, 0))
				before := files(t, dir)
				for typ, data := range map[string]string{
					"sefs": "dir=" + dir, "unionfs": "lowerdir=" + dir + ",upperdir=" + t.TempDir(),
				} {
					for _, flags := range []uintptr{0, unix.MS_RDONLY} {
						err := startWith(t, tc.user, policy, typ, data, flags)
						require.ErrorIs(t, err, unix.EACCES)
						require.ErrorContains(t, err, tc.says)
					}
				}
				require.Equal(t, before, files(t, dir), "a refused mount changes nothing")
				require.NoError(t, startWith(t, tc.maker, policy, "sefs", "dir="+dir, 0))
			})
		}
	}
}

// TestKeyInformationCannotBeChanged: with any byte of it changed the image is refused.
func TestKeyInformationCannotBeChanged(t *testing.T) {
	honest := platform(t)
	_, info, err := honest.SealKey(enclave.Product)
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, startWith(t, honest, enclave.Product, "sefs", "dir="+dir, 0))
	changes := map[string]func([]byte) []byte{
		"cut off": func(b []byte) []byte { return b[:len(b)-1] },
		"longer":  func(b []byte) []byte { return append(b, 0) },
		"none":    func([]byte) []byte { return nil },
	}
	for i := range info {
		changes[fmt.Sprintf("byte %d", i)] = func(b []byte) []byte {
			b[i] ^= 1
			return b
		}
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			err := startWith(t, changed{honest, change}, enclave.Product, "sefs", "dir="+dir, 0)
			require.ErrorIs(t, err, unix.EACCES)
		})
	}
}

// TestSealedHeaderCannotBeChanged flips a bit of each byte that describes how the image is sealed.
func TestSealedHeaderCannotBeChanged(t *testing.T) {
	dir, p := t.TempDir(), platform(t)
	require.NoError(t, startWith(t, p, enclave.Product, "sefs", "dir="+dir, 0))
	good := files(t, dir)
	var header string
	for name, data := range good {
		if bytes.Contains([]byte(data), []byte("simulation")) {
			require.Empty(t, header, "one file tells the platform")
			header = name
		}
	}
	require.NotEmpty(t, header, "the image records the kind of platform")
	at := bytes.Index([]byte(good[header]), []byte("simulation"))
	file := filepath.Join(dir, header)
	for i := max(0, at-64); i < min(at+192, len(good[header])); i++ {
		data := []byte(good[header])
		data[i] ^= 1
		require.NoError(t, os.WriteFile(file, data, 0o600))
		err := startWith(t, p, enclave.Product, "sefs", "dir="+dir, unix.MS_RDONLY)
		require.ErrorIs(t, err, unix.EACCES, "byte %d", i)
	}
	require.NoError(t, os.WriteFile(file, []byte(good[header]), 0o600))
	require.True(t, maps.Equal(good, files(t, dir)))
	require.NoError(t, startWith(t, p, enclave.Product, "sefs", "dir="+dir, 0))
}

// TestPolicyOfStart: the policy says which enclaves can open what was made, and is kept in the image.
func TestPolicyOfStart(t *testing.T) {
	enclaveWith := func(change func(*sim.Config)) enclave.Platform {
		c := sim.Config{MachineSecret: bytes.Repeat([]byte{1}, 32), ProductID: 2, SecurityVersion: 3}
		if change != nil {
			change(&c)
		}
		p, err := sim.New(c)
		require.NoError(t, err)
		return p
	}
	for _, tc := range []struct {
		name            string
		user            enclave.Platform
		product, unique bool
		says            string
	}{
		{"same", enclaveWith(nil), true, true, ""},
		{"upgrade", enclaveWith(func(c *sim.Config) { c.SecurityVersion++ }), true, true, ""},
		{"downgrade", enclaveWith(func(c *sim.Config) { c.SecurityVersion-- }), false, false, "security version"},
		{"other program", enclaveWith(func(c *sim.Config) { c.Measurement[0]++ }), true, false, "another program"},
		{"other product", enclaveWith(func(c *sim.Config) { c.ProductID++ }), false, false, "product"},
		{"other signer", enclaveWith(func(c *sim.Config) { c.Signer[0]++ }), false, false, "another signer"},
		{"other machine", enclaveWith(func(c *sim.Config) { c.MachineSecret[0]++ }), false, false, "another machine"},
		{"for debugging", enclaveWith(func(c *sim.Config) { c.Debug = true }), false, false, "sealed to"},
	} {
		for policy, opens := range map[enclave.Policy]bool{enclave.Product: tc.product, enclave.Unique: tc.unique} {
			t.Run(tc.name+"/"+policy.String(), func(t *testing.T) {
				dir := t.TempDir()
				require.NoError(t, startWith(t, enclaveWith(nil), policy, "sefs", "dir="+dir, 0))
				// The policy of the one who opens it does not matter.
				err := startWith(t, tc.user, enclave.Product, "sefs", "dir="+dir, 0)
				if opens {
					require.NoError(t, err)
					return
				}
				require.ErrorIs(t, err, unix.EACCES)
				require.ErrorContains(t, err, tc.says)
			})
		}
	}
}
