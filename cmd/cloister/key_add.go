package main

import (
	"fmt"
	"io"
	"strings"

	"cloister/enclave"
	"cloister/fs/sefs"

	"filippo.io/age"
	"github.com/spf13/cobra"
)

// newKeyFlags say how a slot is to be opened from now on.
type newKeyFlags struct {
	key, passphrase, recipientsFile, policy, label string

	keyFD      int // 0: none
	cost       int // of the passphrase
	keyCmd     []string
	recipients []string
	sealed     bool
	renewed    int // the slot that is to be locked anew
}

func (n *newKeyFlags) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&n.key, "new-key", "", "`FILE` with a key, as gen-image-key writes it; - for standard input")
	f.IntVar(&n.keyFD, "new-key-fd", 0, "file descriptor `N` to read a key from")
	f.StringArrayVar(&n.keyCmd, "new-key-cmd", nil, "`CMD` that writes a key to its output, as --key-cmd")
	f.StringVar(&n.passphrase, "new-passphrase", "", "`FILE` with a passphrase; - for standard input, or the keyboard")
	f.IntVar(&n.cost, "passphrase-cost", defaultScryptWork, "with --new-passphrase: `N` from 15 to 20; a try takes 2^N KiB of memory")
	f.StringArrayVar(&n.recipients, "new-recipient", nil, "age public key `age1…`; several make one slot that each of them opens")
	f.StringVar(&n.recipientsFile, "new-recipients-file", "", "`FILE` with age public keys")
	f.BoolVar(&n.sealed, "new-sealed", false, "seal to the enclave of --sign-key on this (simulated) machine")
	f.StringVar(&n.policy, "policy", enclave.Product.String(), "with --new-sealed: product (all programs of the signer) or unique (only this one)")
	f.StringVar(&n.label, "label", "", "what to call the slot, at most 32 bytes, in clear in the header")
}

// given returns how many ways were asked for.
func (n *newKeyFlags) given() (count int) {
	for _, is := range []bool{n.key != "", n.keyFD > 0, len(n.keyCmd) > 0, n.passphrase != "", len(n.recipients) > 0 || n.recipientsFile != "", n.sealed} {
		if is {
			count++
		}
	}
	return count
}

// check refuses what cannot be meant.
func (n *newKeyFlags) check(cmd *cobra.Command, std streams, keys *openKeyFlags) error {
	for _, name := range []string{"new-key", "new-passphrase", "new-recipients-file"} {
		if f := cmd.Flags().Lookup(name); f.Changed && f.Value.String() == "" {
			return usage("--" + name + " is empty")
		}
	}
	if cmd.Flags().Changed("new-key-fd") && n.keyFD < 3 {
		return usage("--new-key-fd is a number from 3; for standard input there is --new-key -")
	}
	if n.given() > 1 {
		return usage("only one of --new-key, --new-key-fd, --new-key-cmd, --new-passphrase, --new-recipient and --new-sealed can be given")
	}
	if cmd.Flags().Changed("policy") && !n.sealed {
		return usage("--policy goes with --new-sealed")
	}
	if cmd.Flags().Changed("passphrase-cost") && n.passphrase == "" {
		return usage("--passphrase-cost goes with --new-passphrase")
	}
	if n.cost < minScryptWork || n.cost > maxScryptWork {
		return usage(fmt.Sprintf("--passphrase-cost is a number from %d to %d", minScryptWork, maxScryptWork))
	}
	stdin := 0
	files := []string{n.key, n.recipientsFile, keys.imageKey, keys.identity}
	if !typed(std) {
		files = append(files, n.passphrase, keys.passphrase)
	}
	for _, file := range files {
		if file == "-" {
			stdin++
		}
	}
	if stdin > 1 {
		return usage("only one secret can come from standard input")
	}
	return nil
}

// load reads the new secret. What done wipes is needed until the slot is made.
func (n *newKeyFlags) load(cmd *cobra.Command, std streams, keys *openKeyFlags) (k sefs.NewKey, done func(), err error) {
	k.Label, done = n.label, func() {}
	switch {
	case n.key != "", n.keyFD > 0, len(n.keyCmd) > 0:
		k.Kind = sefs.KeyGiven
		from := keySource{file: n.key, fd: n.keyFD, cmd: n.keyCmd}
		k.Key, err = from.load(cmd.Context(), std, "--new-key", "--new-key-fd", "--new-key-cmd")
		return k, k.Key.Wipe, err
	case n.passphrase != "":
		text, err := readPassphrase(cmd.Context(), std, "--new-passphrase", n.passphrase, newPassphrase)
		if err != nil {
			return k, done, err
		}
		defer clear(text)
		r, err := passphraseRecipient(text, n.cost)
		if err != nil {
			return k, done, err
		}
		k.Kind, k.Wrap = sefs.KeyPassphrase, ageWrap(r)
		return k, done, nil
	case n.sealed:
		k.Kind = sefs.KeySealed
		if k.Policy, err = enclave.ParsePolicy(n.policy); err != nil {
			return k, done, usage("--policy is product or unique")
		}
		k.Platform, err = keys.platform(std, true)
		return k, done, err
	}
	recipients, err := n.loadRecipients(cmd, std)
	k.Kind, k.Wrap = sefs.KeyAge, ageWrap(recipients...)
	return k, done, err
}

func (n *newKeyFlags) loadRecipients(cmd *cobra.Command, std streams) (all []age.Recipient, err error) {
	if n.recipientsFile != "" {
		if all, err = readAgeFile(cmd.Context(), std, "--new-recipients-file", n.recipientsFile, age.ParseRecipients); err != nil {
			return nil, err
		}
	}
	for _, text := range n.recipients {
		one, err := age.ParseRecipients(strings.NewReader(text))
		if err != nil || len(one) != 1 {
			return nil, fail(exitUsage, "--new-recipient", fmt.Errorf("%.40q is no age public key", text), "make one with age-keygen")
		}
		all = append(all, one...)
	}
	return all, nil
}

func newKeyAdd(std streams) *cobra.Command {
	var keys openKeyFlags
	var fresh newKeyFlags
	cmd := &cobra.Command{
		Use:   "add IMG",
		Short: "Add a key slot to an image",
		Long: "Add another way to open an image, which is opened with one that it has. It prints the number of the new slot.\n" +
			"Exactly one of --new-key, --new-passphrase, --new-recipient (or a file of them) and --new-sealed says what it is.",
		Example: "  cloister key add app.img --image-key app.key --new-recipient age1… --label backup\n" +
			"  cloister key add app.img --image-key app.key --new-passphrase -",
		Args: exactArgs("IMG"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := fresh.check(cmd, std, &keys); err != nil {
				return err
			}
			if fresh.given() == 0 {
				return usage("one of --new-key, --new-passphrase, --new-recipient and --new-sealed is needed")
			}
			return changeKey(cmd, std, args[0], &keys, &fresh, func(k *sefs.Keys, n sefs.NewKey) (string, error) {
				slot, err := k.Add(n)
				return fmt.Sprintf("added slot %d to %s\n", slot, args[0]), err
			})
		},
	}
	keys.register(cmd)
	fresh.register(cmd)
	return cmd
}

func newKeyRotate(std streams) *cobra.Command {
	var keys openKeyFlags
	var fresh newKeyFlags
	cmd := &cobra.Command{
		Use:   "rotate IMG SLOT",
		Short: "Give a key slot of an image another key",
		Long: "Lock a slot anew: with the key, passphrase or recipients given. Without any, a sealed slot is sealed to the present\n" +
			"security version, so that older enclaves open it no more. The slot keeps its number, and its label unless\n" +
			"--label is given.",
		Example: "  cloister key rotate app.img 0 --image-key old.key --new-key new.key",
		Args:    exactArgs("IMG", "SLOT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			slot, err := slotNumber(args[1])
			if err != nil {
				return err
			}
			if err := fresh.check(cmd, std, &keys); err != nil {
				return err
			}
			fresh.renewed = slot
			return changeKey(cmd, std, args[0], &keys, &fresh, func(k *sefs.Keys, n sefs.NewKey) (string, error) {
				for _, s := range k.Slots() {
					if s.Number == slot && !cmd.Flags().Changed("label") {
						n.Label = s.Label
					}
				}
				return fmt.Sprintf("locked slot %d of %s anew\n", slot, args[0]), k.Replace(slot, n)
			})
		},
	}
	keys.register(cmd)
	fresh.register(cmd)
	return cmd
}

// asSealed makes n seal its slot as it is sealed now, by what the authenticated header says.
func (n *newKeyFlags) asSealed(slots []sefs.KeySlot) error {
	for _, s := range slots {
		if s.Number == n.renewed && s.Kind == sefs.KeySealed {
			n.sealed, n.policy = true, s.Policy
			return nil
		}
	}
	return usage(fmt.Sprintf("slot %d is not sealed: say what opens it from now on with --new-key, --new-passphrase or --new-recipient", n.renewed))
}

// changeKey opens an image, reads the new secret and makes the change.
func changeKey(cmd *cobra.Command, std streams, image string, keys *openKeyFlags, fresh *newKeyFlags,
	change func(*sefs.Keys, sefs.NewKey) (said string, err error)) error {
	opened, err := keys.open(cmd, std, image)
	if err != nil {
		return err
	}
	defer opened.Close()
	if fresh.given() == 0 {
		if err := fresh.asSealed(opened.Slots()); err != nil {
			return err
		}
	}
	n, done, err := fresh.load(cmd, std, keys)
	defer func() { done() }()
	if err != nil {
		return err
	}
	said, err := change(opened, n)
	if err != nil {
		return keyFailure(image, err)
	}
	return output(io.WriteString(std.out, said))
}
