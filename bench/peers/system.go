package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// A system is a file system to measure.
type system struct {
	name    string
	command string // that serves it; "": the tmpfs itself
	pkg     string // Debian package with the command; "": it is ours
	encrypt bool

	prepare func(dir string) error            // makes an empty one below dir
	serve   func(dir, target string) []string // the command that serves it in the foreground
}

const password = "peers"

func allSystems(cloister string) []*system {
	in := filepath.Join
	return []*system{
		{name: "tmpfs"},
		{
			name: "cloister", command: cloister, encrypt: true,
			prepare: func(dir string) error {
				return firstErr(
					func() error { return call(cloister, "gen-image-key", in(dir, "key")) },
					func() error { return call(cloister, "mkfs", "--image", in(dir, "data"), "--image-key", in(dir, "key")) },
				)
			},
			serve: func(dir, target string) []string {
				return []string{cloister, "mount", "--image", in(dir, "data"), "--image-key", in(dir, "key"), target}
			},
		},
		{
			name: "gocryptfs", command: "gocryptfs", pkg: "gocryptfs", encrypt: true,
			prepare: func(dir string) error {
				return firstErr(
					func() error { return os.Mkdir(in(dir, "data"), 0o700) },
					func() error { return os.WriteFile(in(dir, "pass"), []byte(password), 0o600) },
					func() error {
						return call("gocryptfs", "-q", "-init", "-scryptn", "10", "-passfile", in(dir, "pass"), in(dir, "data"))
					},
				)
			},
			serve: func(dir, target string) []string {
				return []string{"gocryptfs", "-q", "-fg", "-passfile", in(dir, "pass"), in(dir, "data"), target}
			},
		},
		{
			name: "securefs", command: "securefs", pkg: "securefs", encrypt: true,
			prepare: func(dir string) error {
				return firstErr(
					func() error { return os.Mkdir(in(dir, "data"), 0o700) },
					func() error { return call("securefs", "create", "--pass", password, "-r", "1", in(dir, "data")) },
				)
			},
			serve: func(dir, target string) []string {
				return []string{"securefs", "mount", "--pass", password, in(dir, "data"), target}
			},
		},
		{
			name: "fuse-overlayfs", command: "fuse-overlayfs", pkg: "fuse-overlayfs",
			prepare: func(dir string) error {
				return firstErr(
					func() error { return os.Mkdir(in(dir, "lower"), 0o700) },
					func() error { return os.Mkdir(in(dir, "data"), 0o700) },
					func() error { return os.Mkdir(in(dir, "work"), 0o700) },
				)
			},
			serve: func(dir, target string) []string {
				layers := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", in(dir, "lower"), in(dir, "data"), in(dir, "work"))
				return []string{"fuse-overlayfs", "-f", "-o", layers, target}
			},
		},
	}
}

// missing says what keeps s from being measured; "": nothing.
func (s *system) missing() string {
	if s.command == "" {
		return ""
	}
	if _, err := exec.LookPath(s.command); err == nil {
		return ""
	}
	if s.pkg == "" {
		return fmt.Sprintf("%s: no command %s (make build)", s.name, s.command)
	}
	return fmt.Sprintf("%s (apt-get install %s)", s.name, s.pkg)
}

// A mount is a system in use.
type mount struct {
	target string
	server *exec.Cmd // nil: none
	ended  chan error
}

const patience = 30 * time.Second

// mount serves what prepare has made in dir. For the tmpfs the files are just there.
func (s *system) mount(dir string) (*mount, error) {
	m := &mount{target: filepath.Join(dir, "mnt")}
	if err := os.Mkdir(m.target, 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, err
	}
	if s.serve == nil {
		return m, nil
	}
	before, err := device(m.target)
	if err != nil {
		return nil, err
	}
	args := s.serve(dir, m.target)
	m.server = exec.Command(args[0], args[1:]...)
	m.server.Stderr = os.Stderr
	if err := m.server.Start(); err != nil {
		return nil, err
	}
	m.ended = make(chan error, 1)
	go func() { m.ended <- m.server.Wait() }()
	for deadline := time.Now().Add(patience); ; {
		if now, err := device(m.target); err == nil && now != before {
			return m, nil
		}
		select {
		case err := <-m.ended:
			return nil, fmt.Errorf("the server has ended: %v", err)
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			_ = m.server.Process.Kill()
			return nil, fmt.Errorf("not mounted after %v", patience)
		}
	}
}

func device(path string) (uint64, error) {
	var st unix.Stat_t
	err := unix.Stat(path, &st)
	return st.Dev, err
}

// unmount returns when the server has ended.
func (m *mount) unmount() error {
	if m.server == nil {
		return nil
	}
	if err := unix.Unmount(m.target, 0); err != nil {
		_ = m.server.Process.Kill()
		_ = unix.Unmount(m.target, unix.MNT_DETACH)
		return fmt.Errorf("umount: %w", err)
	}
	select {
	case <-m.ended: // some end with a status that says nothing
		return nil
	case <-time.After(patience):
		_ = m.server.Process.Kill()
		return fmt.Errorf("the server has not ended after %v", patience)
	}
}

// call runs a command that prints nothing of interest.
func call(name string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, args[0], err, out)
	}
	return nil
}

// firstErr makes steps until one fails.
func firstErr(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
