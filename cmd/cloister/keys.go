package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"cloister/enclave"
	"cloister/enclave/sim"
	"cloister/mountopt"

	"github.com/spf13/cobra"
)

// keyFlags are the flags that say who opens an image.
type keyFlags struct {
	second bool // for the second image of a command: the flags' names end in 2

	imageKey, signKey, signTool, machineSecret string

	keyFD  int      // 0: none
	keyCmd []string // a program and its arguments

	macText string
	mac     *mountopt.MAC // that the image must have; nil: any. check sets it

	checked, locked bool // headers were looked at; one of the images has a key
}

// registerMAC adds --mac, which says which image is meant.
func (k *keyFlags) registerMAC(cmd *cobra.Command) {
	cmd.Flags().StringVar(&k.macText, k.name("mac"), "", "root MAC that the image must have, `HEX` as build and info print it")
}

func (k *keyFlags) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&k.imageKey, k.name("image-key"), "", "`FILE` with the image's key; - for standard input. Without any key the image is sealed to the enclave")
	f.IntVar(&k.keyFD, k.name("key-fd"), 0, "file descriptor `N` to read the image's key from")
	f.StringArrayVar(&k.keyCmd, k.name("key-cmd"), nil, "`CMD` that writes the image's key to its output; run without a shell. Given once it is split at blanks; given again, each is one word")
	f.StringVar(&k.signKey, k.name("sign-key"), "", "`FILE` with the enclave's signing key (PEM): who signed decides who opens a sealed image")
	f.StringVar(&k.machineSecret, k.name("machine-secret"), "", "`FILE` with the secret of the simulated machine (default: cloister/machine below $XDG_STATE_HOME or ~/.local/state)")
}

// registerSignTool adds --sign-tool, which older scripts pass.
func (k *keyFlags) registerSignTool(cmd *cobra.Command) {
	cmd.Flags().StringVar(&k.signTool, "sign-tool", "", "accepted and not used: only the signing key decides")
}

// name is the name of a flag.
func (k *keyFlags) name(flag string) string {
	if k.second {
		return flag + "2"
	}
	return flag
}

// used reports whether any of the flags is there.
func (k *keyFlags) used(cmd *cobra.Command) bool {
	for _, flag := range []string{"image-key", "key-fd", "key-cmd", "sign-key", "machine-secret"} {
		if cmd.Flags().Changed(k.name(flag)) {
			return true
		}
	}
	return false
}

// given reports whether a key is given, and the image not sealed.
func (k *keyFlags) given() bool { return k.imageKey != "" || k.keyFD > 0 || len(k.keyCmd) > 0 }

// stdin reports whether the key comes from standard input.
func (k *keyFlags) stdin() bool { return k.imageKey == "-" }

// check refuses flags given with an empty value, and more than one key.
func (k *keyFlags) check(cmd *cobra.Command) error {
	for _, name := range []string{k.name("image-key"), k.name("sign-key"), "sign-tool", k.name("machine-secret")} {
		if f := cmd.Flags().Lookup(name); f != nil && f.Changed && f.Value.String() == "" {
			return usage("--" + name + " is empty")
		}
	}
	if f := cmd.Flags().Lookup(k.name("mac")); f != nil && f.Changed {
		mac, err := mountopt.ParseMAC(k.macText)
		if err != nil {
			return usage("--" + k.name("mac") + " takes 64 hex digits")
		}
		k.mac = &mac
	}
	if cmd.Flags().Changed(k.name("key-fd")) && k.keyFD < 3 {
		return usage("--" + k.name("key-fd") + " is a number from 3; for standard input there is --image-key -")
	}
	sources := 0
	for _, name := range []string{"image-key", "key-fd", "key-cmd"} {
		if cmd.Flags().Changed(k.name(name)) {
			sources++
		}
	}
	if sources > 1 {
		return usage(fmt.Sprintf("only one of --%s, --%s and --%s can be given", k.name("image-key"), k.name("key-fd"), k.name("key-cmd")))
	}
	return nil
}

// load reads the key and sets up the simulated enclave. The caller wipes the key.
func (k *keyFlags) load(cmd *cobra.Command, std streams) (key mountopt.Key, platform enclave.Platform, err error) {
	if err := k.check(cmd); err != nil {
		return key, nil, err
	}
	if k.checked && !k.locked {
		if k.given() {
			return key, nil, &failure{code: exitKey, reason: "the image is integrity-only and has no key", next: "leave the key out"}
		}
		return key, nil, nil
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

func (k *keyFlags) loadImageKey(ctx context.Context, std streams) (mountopt.Key, error) {
	if !k.given() {
		return mountopt.Key{}, nil
	}
	from := keySource{file: k.imageKey, fd: k.keyFD, cmd: k.keyCmd}
	return from.load(ctx, std, "--"+k.name("image-key"), "--"+k.name("key-fd"), "--"+k.name("key-cmd"))
}

// keySource says where a key comes from: one of the three.
type keySource struct {
	file string // "-": standard input
	fd   int
	cmd  []string
}

// load reads the key. The options are what errors call the three.
func (s keySource) load(ctx context.Context, std streams, fileOption, fdOption, cmdOption string) (key mountopt.Key, err error) {
	thing := fileOption + " " + s.file
	switch {
	case s.fd > 0:
		thing = fmt.Sprintf("%s %d", fdOption, s.fd)
		key, err = keyFromFD(ctx, s.fd)
	case len(s.cmd) > 0:
		thing = cmdOption
		key, err = keyFromCommand(ctx, s.cmd, std.err)
	case s.file == "-":
		thing = fileOption + " from standard input"
		key, err = readKey(ctx, std.in)
	default:
		f, openErr := os.Open(s.file)
		if openErr != nil {
			return key, fail(exitUsage, thing, openErr, "")
		}
		defer f.Close()
		warnReadable(std, s.file, f)
		key, err = readKey(ctx, f)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		err = fail(exitUsage, thing, err, "make one with cloister gen-image-key")
	}
	return key, err
}

// readKey reads a key until a signal ends the wait: a terminal or a pipe may not give one.
func readKey(ctx context.Context, r io.Reader) (mountopt.Key, error) {
	return await(ctx, func() (mountopt.Key, error) { return mountopt.LoadKey(r) })
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
	thing := "--" + k.name("sign-key") + " " + k.signKey
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
