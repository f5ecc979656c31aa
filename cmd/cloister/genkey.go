package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

const keySize = 16 // bytes

func newGenImageKey(std streams) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "gen-image-key FILE",
		Short: "Write a random 128-bit image key to FILE",
		Long: "Write a random key of 128 bits to FILE, as 16 hex bytes joined by dashes, readable by its owner only.\n" +
			"An existing file is left alone unless --force is given: without its key an image is lost.",
		Example: "  cloister gen-image-key app.key",
		Args:    exactArgs("FILE"),
		RunE:    func(_ *cobra.Command, args []string) error { return genImageKey(std, args[0], force) },
	}
	cmd.Flags().BoolVar(&force, "force", false, "replace FILE if it exists")
	return cmd
}

func genImageKey(std streams, file string, force bool) error {
	text, err := randomKeyText()
	if err != nil {
		return fail(exitHost, file, err, "")
	}
	defer clear(text)
	err = writeSecret(file, text, existing(force))
	switch {
	case errors.Is(err, fs.ErrExist):
		return fail(exitHost, file, unix.EEXIST, "an image may need it; use --force to replace it")
	case err != nil:
		return fail(exitHost, file, err, "")
	}
	return output(fmt.Fprintf(std.out, "wrote a new image key to %s\n", file))
}

// randomKeyText returns a fresh key in the form c7-32-...-61 with a newline.
func randomKeyText() ([]byte, error) {
	var key [keySize]byte
	defer clear(key[:])
	for got := 0; got < len(key); {
		n, err := unix.Getrandom(key[got:], 0)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return nil, err
		}
		got += max(n, 0)
	}
	const digits = "0123456789abcdef"
	text := make([]byte, 0, 3*keySize)
	for i, b := range key {
		if i > 0 {
			text = append(text, '-')
		}
		text = append(text, digits[b>>4], digits[b&0xf])
	}
	return append(text, '\n'), nil
}

// writeSecret writes a file of mode 0600 that appears complete and durable or not at
// all.
//
// Errors: fs.ErrExist for an existing file that is kept.
func writeSecret(file string, text []byte, old existing) error {
	f, err := createFile(file)
	if err != nil {
		return err
	}
	defer f.discard()
	if _, err := f.Write(text); err != nil {
		return err
	}
	return f.commit(old)
}
