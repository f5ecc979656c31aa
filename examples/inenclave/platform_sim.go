//go:build !ego

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"cloister/enclave"
	"cloister/enclave/sim"
)

// newPlatform returns a simulated platform, and says so: its keys come from a
// file of the user's and protect nothing from the host.
func newPlatform(out io.Writer) (enclave.Platform, error) {
	file := os.Getenv("INENCLAVE_MACHINE")
	if file == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, err
		}
		file = filepath.Join(home, ".local", "state", "cloister", "machine")
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, err
	}
	secret, err := sim.LoadMachine(file)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "NOTICE: simulated enclave; its keys come from %s and protect nothing from the host\n", file)
	return sim.New(sim.Config{MachineSecret: secret, ProductID: 1, SecurityVersion: 1})
}
