// Package libosrun runs scripts on the library OS, in this process, in a
// simulated enclave.
package libosrun

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"cloister/enclave/sim"
	"cloister/harness/internal/replay"
	"cloister/libos"
	"cloister/syscall"
)

// System is a library OS that is started, stopped and killed as a script
// says. The zero value is ready.
type System struct {
	// Root is the type of the root file system, which is empty at each start: ramfs, sefs or unionfs; "": ramfs.
	Root string

	os     *libos.LibOS
	images string // a directory of the host with the images of the root; "": there are none
}

// Roots are the values of System.Root.
var Roots = []string{"ramfs", "sefs", "unionfs"}

// Start boots a library OS with the platform that id describes.
func (s *System) Start(ctx context.Context, id replay.Identity) (replay.Task, error) {
	cfg, err := config(id)
	if err != nil {
		return nil, err
	}
	if err := s.makeRoot(&cfg); err != nil {
		return nil, err
	}
	if s.os, err = libos.Start(ctx, cfg); err != nil {
		s.removeRoot()
		return nil, err
	}
	return task{s.os.NewTask()}, nil
}

// makeRoot makes the directories for the images of the root.
func (s *System) makeRoot(cfg *libos.Config) error {
	var dirs []string
	switch s.Root {
	case "", "ramfs":
		return nil
	case "sefs":
		dirs = []string{"image"}
	case "unionfs":
		dirs = []string{"lower", "upper"}
	default:
		return fmt.Errorf("libosrun: no root of type %q", s.Root)
	}
	top, err := os.MkdirTemp("", "harness-root-")
	if err != nil {
		return err
	}
	s.images = top
	cfg.Root = s.Root
	for i, name := range dirs {
		dirs[i] = filepath.Join(top, name)
		if err := os.Mkdir(dirs[i], 0o700); err != nil {
			s.removeRoot()
			return err
		}
	}
	if cfg.RootData = "dir=" + dirs[0]; len(dirs) == 2 {
		cfg.RootData = "lowerdir=" + dirs[0] + ",upperdir=" + dirs[1]
	}
	return nil
}

func (s *System) removeRoot() {
	if s.images != "" {
		_ = os.RemoveAll(s.images) // in the directory for temporary files
		s.images = ""
	}
}

// Boot starts a library OS in a simulated enclave with the identity id.
func Boot(ctx context.Context, id replay.Identity) (*libos.LibOS, error) {
	cfg, err := config(id)
	if err != nil {
		return nil, err
	}
	return libos.Start(ctx, cfg)
}

func config(id replay.Identity) (libos.Config, error) {
	platform, err := sim.New(sim.Config{
		MachineSecret:   secret(id.Machine),
		Signer:          [32]byte(secret(id.Signer)),
		ProductID:       id.Product,
		SecurityVersion: id.Version,
	})
	return libos.Config{Platform: platform}, err
}

// secret returns 32 bytes that differ for different names. Nothing is secret
// about them: names stand in scripts.
func secret(name string) []byte {
	b := make([]byte, replay.MaxName)
	copy(b, name)
	return b
}

// Stop unmounts everything and writes it out.
func (s *System) Stop(ctx context.Context) error {
	err := s.os.Close(ctx)
	if err == nil {
		s.removeRoot()
	}
	return err
}

// Kill drops what is not written.
func (s *System) Kill() {
	s.os.Kill()
	s.removeRoot()
}

// task makes a syscall.Task a replay.Task.
type task struct{ *syscall.Task }

// Fork is fork(2).
func (t task) Fork() (replay.Task, error) { return task{t.Task.Fork()}, nil }
