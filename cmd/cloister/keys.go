package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"cloister/enclave"
	"cloister/enclave/sim"
	"cloister/mountopt"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// keyFlags are the flags that say who opens an image.
type keyFlags struct {
	imageKey, signKey, signTool, machineSecret string
}

func (k *keyFlags) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&k.imageKey, "image-key", "", "`FILE` with the image's key; - for standard input. Without it the image is sealed to the enclave")
	f.StringVar(&k.signKey, "sign-key", "", "`FILE` with the enclave's signing key (PEM): who signed decides who opens a sealed image")
	f.StringVar(&k.machineSecret, "machine-secret", "", "`FILE` with the secret of the simulated machine (default: cloister/machine below $XDG_STATE_HOME or ~/.local/state)")
}

// registerSignTool adds --sign-tool, which older scripts pass.
func (k *keyFlags) registerSignTool(cmd *cobra.Command) {
	cmd.Flags().StringVar(&k.signTool, "sign-tool", "", "accepted and not used: only the signing key decides")
}

// check refuses flags given with an empty value.
func (k *keyFlags) check(cmd *cobra.Command) error {
	for _, name := range []string{"image-key", "sign-key", "sign-tool", "machine-secret"} {
		if f := cmd.Flags().Lookup(name); f != nil && f.Changed && f.Value.String() == "" {
			return usage("--" + name + " is empty")
		}
	}
	return nil
}

// load reads the key and sets up the simulated enclave. The caller wipes the key.
func (k *keyFlags) load(cmd *cobra.Command, std streams) (key mountopt.Key, platform enclave.Platform, err error) {
	if err := k.check(cmd); err != nil {
		return key, nil, err
	}
	if k.signTool != "" {
		if _, err := os.Stat(k.signTool); err != nil {
			return key, nil, fail(exitUsage, "--sign-tool "+k.signTool, err, "")
		}
		fmt.Fprintln(std.err, "cloister: note: --sign-tool is not needed: the image depends on the signing key, whatever tool signs with it")
	}
	if key, err = k.loadImageKey(cmd.Context(), std); err != nil {
		return key, nil, err
	}
	if platform, err = k.platform(std, key.IsZero()); err != nil {
		key.Wipe()
		return mountopt.Key{}, nil, err
	}
	return key, platform, nil
}

func (k *keyFlags) loadImageKey(ctx context.Context, std streams) (key mountopt.Key, err error) {
	thing := "--image-key " + k.imageKey
	switch k.imageKey {
	case "":
		return key, nil
	case "-":
		thing = "--image-key from standard input"
		key, err = readKey(ctx, std.in)
	default:
		f, openErr := os.Open(k.imageKey)
		if openErr != nil {
			return key, fail(exitUsage, thing, openErr, "")
		}
		defer f.Close()
		warnReadable(std, k.imageKey, f)
		key, err = readKey(ctx, f)
	}
	switch {
	case errors.Is(err, context.Canceled):
		return key, err
	case err != nil:
		return key, fail(exitUsage, thing, err, "make one with cloister gen-image-key")
	}
	return key, nil
}

// readKey reads a key until a signal ends the wait: a terminal or a pipe may not give one.
func readKey(ctx context.Context, r io.Reader) (mountopt.Key, error) {
	type result struct {
		key mountopt.Key
		err error
	}
	done := make(chan result, 1)
	go func() {
		key, err := mountopt.LoadKey(r)
		done <- result{key, err}
	}()
	select {
	case got := <-done:
		return got.key, got.err
	case <-ctx.Done():
		return mountopt.Key{}, ctx.Err() // the command ends, and the reader with it
	}
}

// warnReadable warns of a secret file that others than its owner may read.
func warnReadable(std streams, path string, f *os.File) {
	if st, err := f.Stat(); err == nil && st.Mode().IsRegular() && st.Mode().Perm()&0o077 != 0 {
		fmt.Fprintf(std.err, "cloister: warning: %s: others may read it (mode %04o); chmod 600 it\n", path, st.Mode().Perm())
	}
}

// platform makes the simulated enclave. The machine secret is made on first use
// where the image is sealed; with a key given it is not needed, and nothing is written.
func (k *keyFlags) platform(std streams, sealed bool) (enclave.Platform, error) {
	var cfg sim.Config
	if k.signKey != "" {
		signer, err := k.signer(std)
		if err != nil {
			return nil, err
		}
		cfg.Signer = signer
	}
	if !sealed {
		return nil, nil
	}
	file := k.machineSecret
	if file == "" {
		var err error
		if file, err = defaultMachine(); err != nil {
			return nil, err
		}
	}
	secret, err := sim.LoadMachine(file)
	if err != nil {
		return nil, fail(exitHost, file, err, "")
	}
	defer clear(secret)
	cfg.MachineSecret = secret
	p, err := sim.New(cfg)
	if err != nil {
		return nil, fail(exitInternal, file, err, "")
	}
	return p, nil
}

func (k *keyFlags) signer(std streams) (id [32]byte, err error) {
	thing := "--sign-key " + k.signKey
	f, err := os.Open(k.signKey)
	if err != nil {
		return id, fail(exitUsage, thing, err, "")
	}
	defer f.Close()
	const most = 64 << 10
	pem, err := io.ReadAll(io.LimitReader(f, most+1))
	defer clear(pem)
	if err != nil {
		return id, fail(exitUsage, thing, err, "")
	}
	if id, err = sim.SignerOf(pem); err != nil {
		return id, fail(exitUsage, thing, err, "make one with openssl genrsa -3 3072")
	}
	return id, nil
}

// defaultMachine returns the machine file of this user and makes its directory.
func defaultMachine() (string, error) {
	dir := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(dir) { // the XDG specification ignores relative paths
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fail(exitHost, "machine secret", err, "name a file with --machine-secret")
		}
		dir = filepath.Join(home, ".local", "state")
	}
	dir = filepath.Join(dir, "cloister")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fail(exitHost, dir, err, "name a file with --machine-secret")
	}
	return filepath.Join(dir, "machine"), nil
}

const keySize = 16 // bytes

func newGenImageKey(std streams) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "gen-image-key FILE",
		Short: "Write a random 128-bit image key to FILE",
		Long: "Write a random key of 128 bits to FILE, as 16 hex bytes joined by dashes, readable by its owner only.\n" +
			"An existing file is left alone unless --force is given: without its key an image is lost.",
		Args: exactArgs("FILE"),
		RunE: func(_ *cobra.Command, args []string) error { return genImageKey(std, args[0], force) },
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
	err = writeSecret(file, text, force)
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
// all. Without force an existing file is fs.ErrExist.
func writeSecret(file string, text []byte, force bool) (err error) {
	dir := filepath.Dir(file)
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(file)+".*") // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // gone already after a rename
	_, err = tmp.Write(text)
	if err == nil {
		err = tmp.Sync()
	}
	if e := tmp.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	if force {
		err = os.Rename(tmp.Name(), file)
	} else {
		err = os.Link(tmp.Name(), file) // unlike rename(2), never replaces a file
	}
	if err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
