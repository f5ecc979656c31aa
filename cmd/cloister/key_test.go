package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cloister/fs/sefs"
	"cloister/mountopt"

	"filippo.io/age"
	"github.com/stretchr/testify/require"
)

func (e *env) file(name, text string) string {
	path := filepath.Join(e.dir, name)
	require.NoError(e.t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// keyEnv is an image with one file, opened by e.key.
func keyEnv(t *testing.T) *env {
	e := newEnv(t)
	require.NoError(t, os.Mkdir(e.source, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(e.source, "f"), []byte("content"), 0o644))
	e.build()
	return e
}

func (e *env) slots() (kinds map[int]string) {
	var list keyList
	require.NoError(e.t, json.Unmarshal([]byte(must(e.t, "key", "list", "--json", e.image)), &list))
	kinds = make(map[int]string)
	for _, s := range list.Slots {
		kinds[s.Slot] = s.Kind
	}
	return kinds
}

// reads checks that the image opens with a key text.
func (e *env) reads(key string) {
	e.t.Helper()
	r := cloisterIn(e.t, key, "cat", "--image-key", "-", e.image, "/f")
	require.Equal(e.t, exitOK, r.code, r.err)
	require.Equal(e.t, "content", r.out)
}

// TestKeyCommand takes one image through slots of every kind.
func TestKeyCommand(t *testing.T) {
	e := keyEnv(t)
	identity, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	hybrid, err := age.GenerateHybridIdentity()
	require.NoError(t, err)
	id := e.file("id", "# a comment\n"+identity.String()+"\n")
	hybridID := e.file("hybrid", hybrid.String()+"\n")
	pass := e.file("pass", "correct horse\n")
	second := filepath.Join(e.dir, "second")
	must(t, "gen-image-key", second)
	add := func(args ...string) string {
		return must(t, append([]string{"key", "add", e.image, "--image-key", e.key}, args...)...)
	}

	require.Contains(t, add("--new-key-cmd", "cat "+second, "--label", "spare"), "added slot 1")
	require.Contains(t, add("--new-passphrase", pass, "--passphrase-cost", "15"), "added slot 2")
	require.Contains(t, add("--new-recipient", identity.Recipient().String()), "added slot 3")
	require.Contains(t, add("--new-sealed", "--machine-secret", e.machine), "added slot 4")
	recipients := e.file("recipients", hybrid.Recipient().String()+"\n")
	require.Contains(t, add("--new-recipients-file", recipients), "added slot 5")
	require.Equal(t, map[int]string{0: "given", 1: "given", 2: "passphrase", 3: "age", 4: "sealed", 5: "age"}, e.slots())
	listed := must(t, "key", "list", e.image)
	require.Contains(t, listed, `"spare"`)
	require.Contains(t, listed, `platform "simulation", policy "product"`)
	info := must(t, "info", "--image-key", e.key, e.image)
	require.Contains(t, info, "6 slots: given, given, passphrase, age, sealed, age")
	require.Contains(t, info, "an older copy of the whole image is not noticed")

	for _, how := range [][]string{{"--passphrase", pass}, {"--identity", id}, {"--identity", hybridID}} {
		e.reads(must(t, append([]string{"key", "unlock", e.image}, how...)...))
	}
	require.Equal(t, "content", must(t, "cat", "--machine-secret", e.machine, e.image, "/f"))

	// What opens the image changes it: here a slot of each kind removes another.
	refused(t, exitUsage, "key", "remove", e.image, "3", "--identity", id)
	must(t, "key", "remove", e.image, "1", "--key-cmd", "cat "+e.key)
	require.Contains(t, refused(t, exitKey, "cat", "--image-key", second, e.image, "/f"), "wrong key")
	must(t, "key", "remove", e.image, "0", "--identity", id)
	refused(t, exitKey, "cat", "--image-key", e.key, e.image, "/f")
	must(t, "key", "remove", e.image, "2", "--machine-secret", e.machine)
	must(t, "key", "remove", e.image, "3", "--identity", hybridID)
	must(t, "key", "rotate", e.image, "5", "--machine-secret", e.machine, "--new-key", second)
	must(t, "key", "rotate", e.image, "4", "--machine-secret", e.machine)
	must(t, "key", "remove", e.image, "4", "--machine-secret", e.machine, "--force")
	require.Equal(t, map[int]string{5: "given"}, e.slots())
	require.Contains(t, refused(t, exitUsage, "key", "remove", e.image, "5", "--image-key", second, "--force"), "last one")
	require.Equal(t, "content", must(t, "cat", "--image-key", second, e.image, "/f"))
}

func TestKeyCommandErrors(t *testing.T) {
	e := keyEnv(t)
	other, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	id := e.file("id", other.String())
	stranger, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	must(t, "key", "add", e.image, "--image-key", e.key, "--new-recipient", stranger.Recipient().String())
	wrong := filepath.Join(e.dir, "wrong")
	must(t, "gen-image-key", wrong)
	before := digest(t, e.image)
	for _, c := range []struct {
		code int
		args string
		says string
	}{
		{exitUsage, "", "missing command"},
		{exitUsage, "turn", `unknown command "turn"`},
		{exitUsage, "list", "missing argument IMG"},
		{exitImage, "list NOPE", "no image"},
		{exitUsage, "add IMG --image-key KEY", "is needed"},
		{exitUsage, "add IMG --image-key KEY --new-sealed --new-key WRONG", "only one of"},
		{exitUsage, "add IMG --image-key KEY --new-key KEY", "opens slot 0 already"},
		{exitUsage, "add IMG --image-key KEY --new-key NOPE", "no such file"},
		{exitUsage, "add IMG --image-key KEY --new-recipient age1x", "no age public key"},
		{exitUsage, "add IMG --image-key KEY --new-recipients-file KEY", "no list of native age keys"},
		{exitUsage, "add IMG --image-key KEY --new-passphrase EMPTY", "empty"},
		{exitUsage, "add IMG --image-key - --new-key -", "standard input"},
		{exitUsage, "add IMG --image-key KEY --new-key WRONG --policy unique", "--policy goes with"},
		{exitUsage, "add IMG --image-key KEY --new-passphrase KEY --passphrase-cost 21", "from 15 to 20"},
		{exitUsage, "add IMG --image-key KEY --new-key WRONG --passphrase-cost 15", "goes with"},
		{exitKey, "add IMG --image-key WRONG --new-key WRONG", "wrong key"},
		{exitKey, "add IMG --passphrase KEY --new-key WRONG", "no slot of kind passphrase"},
		{exitKey, "add IMG --identity ID --new-key WRONG", "another identity"},
		{exitUsage, "add IMG --identity KEY --new-key WRONG", "no list of native age keys"},
		{exitUsage, "rotate IMG 0 --image-key KEY", "not sealed"},
		{exitUsage, "rotate IMG 5 --image-key KEY --new-key WRONG", "no key slot 5"},
		{exitUsage, "remove IMG 8 --image-key KEY", "SLOT is a number"},
		{exitUsage, "remove IMG x --image-key KEY", "SLOT is a number"},
		{exitUsage, "remove IMG 3 --image-key KEY", "no key slot 3"},
		{exitUsage, "remove IMG 0 --image-key KEY", "the one that was opened"},
		{exitKey, "remove IMG 1 --image-key WRONG", "wrong key"},
		{exitUsage, "unlock IMG", "--passphrase or --identity is needed"},
	} {
		empty := e.file("empty", "\n")
		line := strings.NewReplacer("IMG", e.image, "KEY", e.key, "WRONG", wrong, "NOPE", e.dir+"/nope", "ID", id, "EMPTY", empty)
		args := []string{"key"}
		for _, a := range strings.Fields(c.args) {
			if !strings.HasPrefix(a, "-") {
				a = line.Replace(a)
			}
			args = append(args, a)
		}
		said := refused(t, c.code, args...)
		require.Contains(t, said, c.says, c.args)
		require.NotContains(t, said, other.String(), c.args)
	}
	require.Equal(t, before, digest(t, e.image), "what is refused changes nothing")
}

// TestKeyInUse shows that an image that is open keeps its slots.
func TestKeyInUse(t *testing.T) {
	e := keyEnv(t)
	f, err := os.Open(e.key)
	require.NoError(t, err)
	defer f.Close()
	key, err := mountopt.LoadKey(f)
	require.NoError(t, err)
	held, err := sefs.Open(t.Context(), e.image, sefs.OpenConfig{Key: key})
	require.NoError(t, err)
	defer held.Abandon()
	require.Contains(t, refused(t, exitInUse, "key", "remove", e.image, "0", "--image-key", e.key), "in use")
}
