package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"

	"cloister/enclave"
	"cloister/fs/sefs"
	"cloister/mountopt"

	"filippo.io/age"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// openKeyFlags say what opens an image, by any kind of slot.
type openKeyFlags struct {
	keyFlags
	passphrase, identity string
}

func (k *openKeyFlags) register(cmd *cobra.Command) {
	k.keyFlags.register(cmd)
	k.registerOwn(cmd)
}

// registerOwn adds the flags that only key commands have.
func (k *openKeyFlags) registerOwn(cmd *cobra.Command) {
	cmd.Flags().StringVar(&k.passphrase, "passphrase", "", "`FILE` with the passphrase of a slot; - for standard input, or the keyboard")
	cmd.Flags().StringVar(&k.identity, "identity", "", "`FILE` with age identities, for a slot made with recipients; - for standard input")
}

// load reads what opens the image. The caller wipes the key.
func (k *openKeyFlags) load(cmd *cobra.Command, std streams, image string) (key mountopt.Key, p enclave.Platform, err error) {
	for _, name := range []string{"passphrase", "identity"} {
		if f := cmd.Flags().Lookup(name); f.Changed && f.Value.String() == "" {
			return key, nil, usage("--" + name + " is empty")
		}
	}
	if k.passphrase == "" && k.identity == "" {
		return k.keyFlags.load(cmd, std)
	}
	if k.passphrase != "" && k.identity != "" || k.given() {
		return key, nil, usage("only one of --image-key, --key-fd, --key-cmd, --passphrase and --identity can be given")
	}
	key, err = k.unwrap(cmd, std, image)
	return key, nil, err
}

// unwrap finds the slot that the passphrase or the identities open.
func (k *openKeyFlags) unwrap(cmd *cobra.Command, std streams, image string) (key mountopt.Key, err error) {
	info, err := sefs.Inspect(image)
	if err != nil {
		return key, keyFailure(image, err)
	}
	kind, identities := sefs.KeyAge, []age.Identity(nil)
	if k.passphrase != "" {
		kind = sefs.KeyPassphrase
	}
	var slots []sefs.KeySlot
	for _, s := range info.Slots {
		if s.Kind == kind {
			slots = append(slots, s)
		}
	}
	if len(slots) == 0 {
		return key, fail(exitKey, image, fmt.Errorf("it has no slot of kind %v", kind), "see cloister key list")
	}
	if k.passphrase != "" {
		text, err := readPassphrase(cmd.Context(), std, "--passphrase", k.passphrase, knownPassphrase)
		if err != nil {
			return key, err
		}
		defer clear(text)
		id, err := passphraseIdentity(text)
		if err != nil {
			return key, err
		}
		identities = []age.Identity{id}
	} else if identities, err = readAgeFile(cmd.Context(), std, "--identity", k.identity, age.ParseIdentities); err != nil {
		return key, err
	}
	for _, s := range slots {
		if cmd.Context().Err() != nil {
			return key, cmd.Context().Err()
		}
		key, err = ageUnwrap(s.Wrapped, identities...)
		if err == nil {
			return key, nil
		}
		if !errors.Is(err, errOtherSlot) {
			return key, fail(exitKey, image, fmt.Errorf("slot %d: %w", s.Number, err), "")
		}
	}
	return key, fail(exitKey, image, fmt.Errorf("%w in all slots of kind %v", errOtherSlot, kind), "")
}

// open opens the key slots of an image for changes.
func (k *openKeyFlags) open(cmd *cobra.Command, std streams, image string) (*sefs.Keys, error) {
	if err := isDir(image); err != nil {
		return nil, err
	}
	key, platform, err := k.load(cmd, std, image)
	if err != nil {
		return nil, err
	}
	defer key.Wipe()
	opened, err := sefs.OpenKeys(image, sefs.KeysConfig{Key: key, Platform: platform})
	if err != nil {
		return nil, keyFailure(image, err)
	}
	return opened, nil
}

func newKeyUnlock(std streams) *cobra.Command {
	var keys openKeyFlags
	cmd := &cobra.Command{
		Use:   "unlock IMG",
		Short: "Write the key of a passphrase or age slot to standard output",
		Long: "Open a slot with a passphrase or an age identity and write its key to standard output, in the form that\n" +
			"--image-key and the mount option key= take. It is as secret as the passphrase, and refused to a terminal.",
		Example: "  cloister key unlock app.img --identity me.txt | cloister ls --image-key - app.img",
		Args:    exactArgs("IMG"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := isDir(args[0]); err != nil {
				return err
			}
			if keys.passphrase == "" && keys.identity == "" {
				return usage("--passphrase or --identity is needed")
			}
			if f, ok := std.out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
				return fail(exitHost, "standard output", errors.New("is a terminal, where a key has no place"), "send it to a pipe or a file")
			}
			key, _, err := keys.load(cmd, std, args[0])
			if err != nil {
				return err
			}
			defer key.Wipe()
			text := append(hex.AppendEncode(nil, key.Bytes()), '\n')
			defer clear(text)
			return output(bytesTo(std, text))
		},
	}
	keys.registerOwn(cmd)
	return cmd
}

// bytesTo writes a secret without a copy of it.
func bytesTo(std streams, text []byte) (int, error) {
	n, err := bytes.NewReader(text).WriteTo(std.out)
	return int(n), err
}
