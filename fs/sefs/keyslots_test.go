package sefs_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/enclave"
	"cloister/enclave/sim"
	"cloister/fs/sefs"
	"cloister/mountopt"
)

// A lock is one way to open an image, with what opens it.
type lock struct {
	name string
	add  sefs.NewKey
	open func() sefs.OpenConfig
}

// locks returns a lock of every kind.
func locks(t *testing.T) []lock {
	given, err := mountopt.ParseKey(otherKey)
	require.NoError(t, err)
	home := machine(t, 1, 1, nil)
	wrapped := func(mask byte) (wrap func([]byte) ([]byte, error), open func() sefs.OpenConfig) {
		var kept []byte // a tool would get it from KeySlot.Wrapped
		wrap = func(key []byte) ([]byte, error) {
			kept = bytes.Clone(key)
			return bytes.Repeat([]byte{mask}, 1700), nil
		}
		return wrap, func() sefs.OpenConfig {
			key, err := mountopt.ParseKey(hex.EncodeToString(kept))
			require.NoError(t, err)
			return sefs.OpenConfig{Key: key}
		}
	}
	passWrap, passOpen := wrapped(0x5a)
	ageWrap, ageOpen := wrapped(0xa5)
	sealed := func(p enclave.Platform) func() sefs.OpenConfig {
		return func() sefs.OpenConfig { return sefs.OpenConfig{Platform: p} }
	}
	return []lock{
		{"given", sefs.NewKey{Kind: sefs.KeyGiven, Key: given, Label: "spare"}, func() sefs.OpenConfig { return sefs.OpenConfig{Key: given} }},
		{"sealed", sefs.NewKey{Kind: sefs.KeySealed, Platform: home}, sealed(home)},
		{"sealed to one program", sefs.NewKey{Kind: sefs.KeySealed, Platform: machine(t, 2, 2, nil), Policy: enclave.Unique}, sealed(machine(t, 2, 2, nil))},
		{"passphrase", sefs.NewKey{Kind: sefs.KeyPassphrase, Wrap: passWrap}, passOpen},
		{"age", sefs.NewKey{Kind: sefs.KeyAge, Wrap: ageWrap}, ageOpen},
	}
}

func imageWithFile(t *testing.T) (dir string, first sefs.OpenConfig) {
	dir = t.TempDir()
	key, err := mountopt.ParseKey(keyText)
	require.NoError(t, err)
	first = sefs.OpenConfig{Key: key}
	f, err := sefs.Make(t.Context(), dir, sefs.MakeConfig{OpenConfig: first})
	require.NoError(t, err)
	x := &tree{t: t, fs: f}
	require.NoError(t, x.create("file", 0o644, "content"))
	umount(t, f)
	return dir, first
}

// opensWith reports whether an image opens, and that what it holds is there.
func opensWith(t *testing.T, dir string, cfg sefs.OpenConfig) bool {
	cfg.Access = sefs.ReadOnly
	f, err := sefs.Open(t.Context(), dir, cfg)
	if err != nil {
		require.ErrorIs(t, err, unix.EACCES)
		return false
	}
	defer umount(t, f)
	require.Contains(t, (&tree{t: t, fs: f}).dump(), "/file")
	return true
}

// TestKeySlots adds a slot of every kind and removes them in several orders. What
// remains opens the image, what was removed does not.
func TestKeySlots(t *testing.T) {
	for _, order := range [][]int{{0, 1, 2, 3, 4}, {4, 3, 2, 1, 0}, {2, 0, 4, 1, 3}} {
		dir, first := imageWithFile(t)
		all := locks(t)
		keys, err := sefs.OpenKeys(dir, sefs.KeysConfig{Key: first.Key})
		require.NoError(t, err)
		for i, l := range all {
			n, err := keys.Add(l.add)
			require.NoError(t, err, l.name)
			require.Equal(t, i+1, n)
		}
		slots := keys.Slots()
		require.Len(t, slots, 6)
		require.Equal(t, "spare", slots[1].Label)
		require.Equal(t, "unique", slots[3].Policy)
		require.Len(t, slots[4].Wrapped, 1700)
		require.NoError(t, keys.Close())
		info, err := sefs.Inspect(dir)
		require.NoError(t, err)
		require.Equal(t, slots, info.Slots)
		require.True(t, info.Given && info.Sealed)

		there := map[int]bool{0: true, 1: true, 2: true, 3: true, 4: true}
		for _, gone := range order {
			for i, l := range all {
				require.Equal(t, there[i], opensWith(t, dir, l.open()), "%s, order %v, before removing %d", l.name, order, gone)
			}
			keys, err := sefs.OpenKeys(dir, sefs.KeysConfig{Key: all[gone].open().Key, Platform: all[gone].open().Platform})
			require.NoError(t, err)
			require.Equal(t, gone+1, keys.OpenedBy())
			require.NoError(t, keys.Remove(gone+1))
			require.NoError(t, keys.Close())
			there[gone] = false
		}
		require.True(t, opensWith(t, dir, first))
	}
}

// TestReplaceSlot gives every kind of slot every kind of new key.
func TestReplaceSlot(t *testing.T) {
	for from := range locks(t) {
		for to := range locks(t) {
			dir, first := imageWithFile(t)
			all := locks(t)
			keys, err := sefs.OpenKeys(dir, sefs.KeysConfig{Key: first.Key})
			require.NoError(t, err)
			n, err := keys.Add(all[from].add)
			require.NoError(t, err)
			old := all[from].open()
			fresh := all[to]
			if from == to {
				fresh = locks(t)[to]
			}
			require.NoError(t, keys.Replace(n, fresh.add))
			require.NoError(t, keys.Close())
			require.True(t, opensWith(t, dir, fresh.open()), "%s to %s", all[from].name, fresh.name)
			require.True(t, opensWith(t, dir, first))
			same := from == to && from <= 2 // the same key, or the same enclave
			require.Equal(t, same, opensWith(t, dir, old), "old key, %s to %s", all[from].name, fresh.name)
		}
	}
}

func TestNewKeyErrors(t *testing.T) {
	dir, first := imageWithFile(t)
	before := content(t, dir)
	keys, err := sefs.OpenKeys(dir, sefs.KeysConfig{Key: first.Key})
	require.NoError(t, err)
	fails := errors.New("no terminal")
	for name, c := range map[string]struct {
		add  sefs.NewKey
		want error
	}{
		"no kind":       {sefs.NewKey{}, unix.EINVAL},
		"no key":        {sefs.NewKey{Kind: sefs.KeyGiven}, unix.EINVAL},
		"same key":      {sefs.NewKey{Kind: sefs.KeyGiven, Key: first.Key}, unix.EEXIST},
		"no enclave":    {sefs.NewKey{Kind: sefs.KeySealed}, unix.EACCES},
		"no wrap":       {sefs.NewKey{Kind: sefs.KeyAge}, unix.EINVAL},
		"wrap fails":    {sefs.NewKey{Kind: sefs.KeyAge, Wrap: func([]byte) ([]byte, error) { return nil, fails }}, fails},
		"wrap too long": {sefs.NewKey{Kind: sefs.KeyAge, Wrap: func([]byte) ([]byte, error) { return make([]byte, 1729), nil }}, unix.EINVAL},
		"long label":    {sefs.NewKey{Kind: sefs.KeyGiven, Key: locks(t)[0].add.Key, Label: strings.Repeat("x", 33)}, unix.EINVAL},
		"odd label":     {sefs.NewKey{Kind: sefs.KeyGiven, Key: locks(t)[0].add.Key, Label: "a\x1b[2J"}, unix.EINVAL},
	} {
		_, err := keys.Add(c.add)
		require.ErrorIs(t, err, c.want, name)
		if c.want != unix.EEXIST {
			require.ErrorIs(t, keys.Replace(0, c.add), c.want, name)
		}
	}
	require.NoError(t, keys.Close())
	require.Equal(t, before, content(t, dir), "what is refused changes nothing")
}

// TestKeyProblems opens images with what does not fit: the error tells what is
// the matter.
func TestKeyProblems(t *testing.T) {
	home := machine(t, 1, 1, nil)
	key := func(text string) mountopt.Key {
		k, err := mountopt.ParseKey(text)
		require.NoError(t, err)
		return k
	}
	sealed, given := sefs.OpenConfig{Platform: home}, sefs.OpenConfig{Key: key(keyText)}
	with := func(change func(*sim.Config)) sefs.OpenConfig {
		return sefs.OpenConfig{Platform: machine(t, 1, 1, change)}
	}
	flip := func(at int) func([]byte) { return func(b []byte) { b[at] ^= 1 } }
	for _, c := range []struct {
		name   string
		image  sefs.OpenConfig
		policy enclave.Policy
		change func(header []byte)
		open   sefs.OpenConfig
		want   sefs.KeyProblem
	}{
		{"wrong key", given, 0, nil, sefs.OpenConfig{Key: key(otherKey)}, sefs.KeyWrong},
		{"no key", given, 0, nil, sealed, sefs.KeyMissing},
		{"key for sealed", sealed, 0, nil, given, sefs.KeyMissing},
		{"no enclave", sealed, 0, nil, sefs.OpenConfig{}, sefs.KeyPlatform},
		{"other platform", sealed, 0, nil, sefs.OpenConfig{Platform: otherKind{home}}, sefs.KeyPlatform},
		{"other signer", sealed, 0, nil, with(func(c *sim.Config) { c.Signer[5] = 1 }), sefs.KeySigner},
		{"other product", sealed, 0, nil, with(func(c *sim.Config) { c.ProductID++ }), sefs.KeySigner},
		{"other program", sealed, enclave.Unique, nil, with(func(c *sim.Config) { c.Measurement[5] = 1 }), sefs.KeySigner},
		{"debug", sealed, 0, nil, with(func(c *sim.Config) { c.Debug = true }), sefs.KeySigner},
		{"other machine", sealed, 0, nil, with(func(c *sim.Config) { c.MachineSecret[3] = 1 }), sefs.KeyMachine},
		{"older version", sealed, 0, nil, with(func(c *sim.Config) { c.SecurityVersion-- }), sefs.KeyPolicy},
		{"damaged", given, 0, flip(200), given, sefs.KeyTampered},
		{"damaged sealed", sealed, 0, flip(256 + 1945), sealed, sefs.KeyTampered},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			f, err := sefs.Make(t.Context(), dir, sefs.MakeConfig{OpenConfig: c.image, Policy: c.policy})
			require.NoError(t, err)
			umount(t, f)
			if c.change != nil {
				file := filepath.Join(dir, "SEFS")
				b, err := os.ReadFile(file)
				require.NoError(t, err)
				c.change(b)
				require.NoError(t, os.WriteFile(file, b, 0o600))
			}
			before := content(t, dir)
			_, err = sefs.Open(t.Context(), dir, c.open)
			e, ok := errors.AsType[*sefs.KeyError](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, c.want, e.Problem, "%v", err)
			require.ErrorIs(t, err, unix.EACCES)
			require.NotEmpty(t, e.Reason)
			require.Equal(t, before, content(t, dir), "a refused mount changes nothing")
		})
	}
}

// TestSeveralSlotsRefused shows that the error of an image with several slots says
// what is wrong with each, and counts as the most telling of them.
func TestSeveralSlotsRefused(t *testing.T) {
	dir, first := imageWithFile(t)
	keys, err := sefs.OpenKeys(dir, sefs.KeysConfig{Key: first.Key})
	require.NoError(t, err)
	for _, l := range locks(t)[1:4] {
		_, err := keys.Add(l.add)
		require.NoError(t, err)
	}
	require.NoError(t, keys.Close())
	_, err = sefs.Open(t.Context(), dir, sefs.OpenConfig{Platform: machine(t, 3, 1, nil)})
	e, ok := errors.AsType[*sefs.KeyError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, sefs.KeySigner, e.Problem)
	for _, text := range []string{"slot 0 (given): it was made with a key", "slot 1 (sealed): it was sealed by this enclave on another machine", "another signer", "needs a passphrase"} {
		require.ErrorContains(t, err, text)
	}
}

// TestVersionRise shows that an image stays usable after a rise of the security
// version, and that an older enclave opens it until its slot is sealed again.
func TestVersionRise(t *testing.T) {
	dir := t.TempDir()
	older := machine(t, 1, 1, nil)
	newer := machine(t, 1, 1, func(c *sim.Config) { c.SecurityVersion += 2 })
	f, err := sefs.Make(t.Context(), dir, sefs.MakeConfig{OpenConfig: sefs.OpenConfig{Platform: older}})
	require.NoError(t, err)
	require.NoError(t, (&tree{t: t, fs: f}).create("file", 0o644, "content"))
	umount(t, f)
	var said bytes.Buffer
	log := slog.New(slog.NewTextHandler(&said, nil))
	require.True(t, opensWith(t, dir, sefs.OpenConfig{Platform: newer, Log: log}))
	require.Contains(t, said.String(), "sealed=3 present=5")
	require.True(t, opensWith(t, dir, sefs.OpenConfig{Platform: older}), "opening seals nothing again")

	keys, err := sefs.OpenKeys(dir, sefs.KeysConfig{Platform: newer})
	require.NoError(t, err)
	require.EqualValues(t, 3, keys.Slots()[0].Version)
	require.NoError(t, keys.Replace(0, sefs.NewKey{Kind: sefs.KeySealed, Platform: newer}))
	require.EqualValues(t, 5, keys.Slots()[0].Version)
	require.NoError(t, keys.Close())
	said.Reset()
	require.True(t, opensWith(t, dir, sefs.OpenConfig{Platform: newer, Log: log}))
	require.NotContains(t, said.String(), "older security version")
	require.False(t, opensWith(t, dir, sefs.OpenConfig{Platform: older}))
}
