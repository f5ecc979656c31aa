package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"cloister/mountopt"

	"golang.org/x/sys/unix"
)

// keyFromFD reads a key from an open file descriptor, which it closes.
func keyFromFD(ctx context.Context, fd int) (key mountopt.Key, err error) {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
		return key, err
	}
	f := os.NewFile(uintptr(fd), "key")
	defer f.Close()
	return readKey(ctx, f)
}

// keyFromCommand runs a program, without a shell, and reads a key from its output. One word is split at
// blanks.
func keyFromCommand(ctx context.Context, words []string, errOut io.Writer) (key mountopt.Key, err error) {
	if len(words) == 1 {
		words = strings.Fields(words[0])
	}
	if len(words) == 0 || words[0] == "" {
		return key, errors.New("no program is named")
	}
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Stderr = errOut
	cmd.WaitDelay = time.Second // what the program has started may hold the pipes open
	out, err := cmd.StdoutPipe()
	if err != nil {
		return key, err
	}
	if err := cmd.Start(); err != nil {
		return key, reasonOf(err)
	}
	key, readErr := mountopt.LoadKey(out)
	_ = out.Close() // a program that goes on writing ends
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case err != nil && readErr == nil, err != nil && isExit(err):
		err = fmt.Errorf("%s: %w", words[0], err)
	default:
		err = readErr
	}
	if err != nil {
		key.Wipe()
		return mountopt.Key{}, err
	}
	return key, nil
}

// reasonOf drops what exec adds to an errno.
func reasonOf(err error) error {
	if e, ok := errors.AsType[*exec.Error](err); ok {
		return fmt.Errorf("%s: %w", e.Name, e.Err)
	}
	return err
}

// isExit reports whether a program has ended with a code of its own, which tells more than
// what it has written. A signal may be our closing of its output.
func isExit(err error) bool {
	e, ok := errors.AsType[*exec.ExitError](err)
	return ok && e.ExitCode() > 0
}
