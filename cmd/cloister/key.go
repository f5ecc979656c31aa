package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"cloister/fs/sefs"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func newKey(std streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "List, add, remove and renew the keys of an image",
		Long: "An image has up to eight key slots. Each holds the image's secret, locked in one way: with a key, by the\n" +
			"enclave platform, with a passphrase, or for age recipients. Any of them opens the image.\n\n" +
			"Changes touch only the header of the image, which must not be in use, and are complete or not made at all.\n" +
			"A removed key opens the image no more, unless somebody puts an older copy of the header back: if a key\n" +
			"has become known, copy the content to a new image.",
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage(fmt.Sprintf("unknown command %q", args[0]))
			}
			return usage("missing command: list, add, rotate, remove or unlock")
		},
	}
	cmd.AddCommand(newKeyList(std), newKeyAdd(std), newKeyRotate(std), newKeyRemove(std), newKeyUnlock(std))
	for _, c := range cmd.Commands() {
		c.RunE = classified(c.RunE)
	}
	return cmd
}

// keySlotInfo is a slot as key list prints it. Its JSON names are a contract.
type keySlotInfo struct {
	Slot     int       `json:"slot"`
	Kind     string    `json:"kind"` // given, sealed, passphrase, age
	Label    string    `json:"label,omitempty"`
	Created  time.Time `json:"created"`
	Platform string    `json:"platform,omitempty"`         // sealed
	Policy   string    `json:"policy,omitempty"`           // sealed
	Version  *uint16   `json:"security_version,omitempty"` // sealed
}

type keyList struct {
	Image      string        `json:"image"`
	UUID       string        `json:"uuid"`
	Generation uint64        `json:"generation"` // of the header
	Verified   bool          `json:"verified"`   // always false: no key is used
	Slots      []keySlotInfo `json:"slots"`
}

func newKeyList(std streams) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list IMG",
		Short:   "List the key slots of an image",
		Long:    "List the key slots of an image as its header says. No key is needed, and so nothing is authenticated.",
		Example: "  cloister key list app.img",
		Args:    exactArgs("IMG"),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := isDir(args[0]); err != nil {
				return err
			}
			info, err := sefs.Inspect(args[0])
			if err != nil {
				return keyFailure(args[0], err)
			}
			list := listKeys(args[0], info)
			switch {
			case asJSON:
			case info.Integrity:
				return output(fmt.Fprintf(std.out, "%s has no keys: it is integrity-only\n", args[0]))
			default:
				return output(0, list.print(std.out))
			}
			return printJSON(std, list)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func listKeys(image string, info sefs.Info) *keyList {
	list := &keyList{Image: image, UUID: info.UUID, Generation: info.Generation, Slots: []keySlotInfo{}}
	for _, s := range info.Slots {
		k := keySlotInfo{Slot: s.Number, Kind: s.Kind.String(), Label: s.Label, Created: s.Created, Platform: s.Platform, Policy: s.Policy}
		if s.Kind == sefs.KeySealed {
			k.Version = &s.Version
		}
		list.Slots = append(list.Slots, k)
	}
	return list
}

func (l *keyList) print(w io.Writer) error {
	for _, s := range l.Slots {
		line := fmt.Sprintf("%d  %-10s  %s", s.Slot, s.Kind, s.Created.Format("2006-01-02 15:04:05"))
		if s.Version != nil {
			line += fmt.Sprintf("  platform %q, policy %q, security version %d", s.Platform, s.Policy, *s.Version)
		}
		if s.Label != "" {
			line += fmt.Sprintf("  %q", s.Label)
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

func newKeyRemove(std streams) *cobra.Command {
	var keys openKeyFlags
	var force bool
	cmd := &cobra.Command{
		Use:   "remove IMG SLOT",
		Short: "Remove a key slot from an image",
		Long: "Remove a key slot. The image is opened with another slot, which shows that it stays usable; --force allows to\n" +
			"remove the very slot that opened it. The last slot cannot be removed.",
		Example: "  cloister key remove app.img 1 --image-key app.key",
		Args:    exactArgs("IMG", "SLOT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			slot, err := slotNumber(args[1])
			if err != nil {
				return err
			}
			opened, err := keys.open(cmd, std, args[0])
			if err != nil {
				return err
			}
			defer opened.Close()
			if slot == opened.OpenedBy() && !force {
				return fail(exitUsage, args[0], fmt.Errorf("slot %d is the one that was opened", slot),
					"give another slot's key, or --force")
			}
			if err := opened.Remove(slot); err != nil {
				return keyFailure(args[0], err)
			}
			return output(fmt.Fprintf(std.out, "removed slot %d of %s\n", slot, args[0]))
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "remove the slot even if it is the one that opened the image")
	keys.register(cmd)
	return cmd
}

func slotNumber(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 8)
	if err != nil || n >= uint64(sefs.MaxKeySlots) {
		return 0, usage(fmt.Sprintf("SLOT is a number from 0 to %d", sefs.MaxKeySlots-1))
	}
	return int(n), nil
}

// keyFailure classifies an error of opening or changing key slots.
func keyFailure(image string, err error) error {
	if _, ok := errors.AsType[*failure](err); ok {
		return err
	}
	if e, ok := errors.AsType[*sefs.KeyError](err); ok {
		switch e.Problem {
		case sefs.KeyTampered:
			return fail(exitKey, image, err, "restore the file SEFS from a backup")
		case sefs.KeyPlatform, sefs.KeyPolicy:
			return fail(exitPolicy, image, err, "use it in that enclave")
		case sefs.KeyMissing:
			return fail(exitKey, image, err, "give what opens it: --image-key, --passphrase, --identity or --sign-key")
		}
	}
	switch {
	case errors.Is(err, unix.ENOENT):
		return fail(exitUsage, image, err, "see cloister key list")
	case errors.Is(err, unix.EEXIST), errors.Is(err, unix.EPERM):
		return fail(exitUsage, image, err, "")
	}
	return imageFailure(image, err)
}
