package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"cloister/mountopt"

	"filippo.io/age"
	"golang.org/x/term"
)

// Passphrase and age slots hold the slot's key as a binary age file, which the
// engine does not look into. For a passphrase, age uses scrypt: a function that needs
// much memory slows an attacker more than it slows the user, but has no place inside an
// enclave. So the tool runs it, outside.
//
// The cost n of a passphrase is log2 of scrypt's N: a try takes 2^n KiB of memory.
const (
	minScryptWork     = 15 // 32 MiB
	defaultScryptWork = 18 // 256 MiB
	maxScryptWork     = 20 // 1 GiB: what a header may make the tool spend, too
)

const (
	maxPassphrase = 1024     // bytes
	maxAgeFile    = 64 << 10 // bytes of a file with identities or recipients
	slotKeySize   = 32       // bytes
)

// ageWrap returns what wraps a slot's key for recipients.
func ageWrap(recipients ...age.Recipient) func(key []byte) ([]byte, error) {
	return func(key []byte) ([]byte, error) {
		var out bytes.Buffer
		w, err := age.Encrypt(&out, recipients...)
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(key); err != nil {
			return nil, err
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
		return out.Bytes(), nil
	}
}

// errOtherSlot means that a slot is locked for somebody else.
var errOtherSlot = errors.New("locked with another passphrase or for another identity")

// ageUnwrap returns the key that ageWrap has wrapped.
func ageUnwrap(wrapped []byte, identities ...age.Identity) (key mountopt.Key, err error) {
	r, err := age.Decrypt(bytes.NewReader(wrapped), identities...)
	if _, other := errors.AsType[*age.NoIdentityMatchError](err); other {
		return key, errOtherSlot
	}
	var raw [slotKeySize + 1]byte
	defer clear(raw[:])
	n := 0
	if err == nil {
		n, err = io.ReadFull(r, raw[:])
	}
	if n != slotKeySize || !errors.Is(err, io.ErrUnexpectedEOF) {
		return key, errors.New("the slot was damaged or tampered with")
	}
	text := hex.AppendEncode(nil, raw[:n])
	defer clear(text)
	return mountopt.LoadKey(bytes.NewReader(text))
}

// passphraseRecipient is who knows a passphrase, which costs work to try.
func passphraseRecipient(passphrase []byte, work int) (age.Recipient, error) {
	r, err := age.NewScryptRecipient(string(passphrase))
	if err != nil {
		return nil, err
	}
	r.SetWorkFactor(work)
	return r, nil
}

func passphraseIdentity(passphrase []byte) (age.Identity, error) {
	i, err := age.NewScryptIdentity(string(passphrase))
	if err != nil {
		return nil, err
	}
	i.SetMaxWorkFactor(maxScryptWork)
	return i, nil
}

// asking says whether a passphrase is new, and so has to be typed twice.
type asking int

const (
	knownPassphrase asking = iota
	newPassphrase
)

// readPassphrase reads a passphrase from a file or, for "-", from standard input: from
// the keyboard where that is a terminal, else the first line.
func readPassphrase(ctx context.Context, std streams, option, file string, ask asking) ([]byte, error) {
	thing := option + " " + file
	if file == "-" {
		thing = option
		if typed(std) {
			text, err := typePassphrase(ctx, std, std.in.(*os.File), ask)
			if err != nil && !errors.Is(err, context.Canceled) {
				err = fail(exitUsage, thing, err, "")
			}
			return text, err
		}
	}
	in := std.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fail(exitUsage, thing, err, "")
		}
		defer f.Close()
		warnReadable(std, file, f)
		in = f
	}
	text, err := await(ctx, func() ([]byte, error) { return firstLine(in) })
	if err == nil {
		err = checkPassphrase(text)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		return nil, fail(exitUsage, thing, err, "")
	}
	return text, err
}

// typed reports whether somebody sits at standard input.
func typed(std streams) bool {
	f, ok := std.in.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// await runs fn until a signal ends the wait; the command ends then, and fn with it.
func await[T any](ctx context.Context, fn func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := fn()
		done <- result{value, err}
	}()
	select {
	case got := <-done:
		return got.value, got.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// firstLine reads up to the end of the first line and no more than a passphrase has.
func firstLine(r io.Reader) ([]byte, error) {
	line, err := bufio.NewReaderSize(io.LimitReader(r, maxPassphrase+2), maxPassphrase+2).ReadBytes('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r")), nil
}

func checkPassphrase(text []byte) error {
	switch {
	case len(text) == 0:
		return errors.New("the passphrase is empty")
	case len(text) > maxPassphrase:
		return fmt.Errorf("a passphrase has at most %d bytes", maxPassphrase)
	}
	return nil
}

// typePassphrase asks at the keyboard, without an echo.
func typePassphrase(ctx context.Context, std streams, tty *os.File, ask asking) ([]byte, error) {
	fd := int(tty.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	prompt := func(text string) ([]byte, error) {
		fmt.Fprint(std.err, text)
		got, err := await(ctx, func() ([]byte, error) { return term.ReadPassword(fd) })
		fmt.Fprintln(std.err)
		if ctx.Err() != nil {
			_ = term.Restore(fd, before) // the echo must come back
		}
		return got, err
	}
	first := "Passphrase: "
	if ask == newPassphrase {
		first = "New passphrase: "
	}
	text, err := prompt(first)
	if err == nil {
		err = checkPassphrase(text)
	}
	if err != nil || ask == knownPassphrase {
		return text, err
	}
	again, err := prompt("Again: ")
	defer clear(again)
	if err == nil && !bytes.Equal(text, again) {
		clear(text)
		err = errors.New("the passphrases differ")
	}
	return text, err
}

// readAgeFile reads a file with identities or recipients, "-" being standard input,
// and has parse read it.
func readAgeFile[T any](ctx context.Context, std streams, option, file string, parse func(io.Reader) ([]T, error)) ([]T, error) {
	thing := option + " " + file
	in := std.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fail(exitUsage, thing, err, "")
		}
		defer f.Close()
		in = f
	}
	return await(ctx, func() ([]T, error) {
		text, err := io.ReadAll(io.LimitReader(in, maxAgeFile+1))
		defer clear(text)
		if err != nil {
			return nil, fail(exitUsage, thing, err, "")
		}
		all, err := parse(bytes.NewReader(text))
		if err != nil || len(text) > maxAgeFile {
			// The parser's error may quote the file, which may be secret.
			return nil, fail(exitUsage, thing, errors.New("is no list of native age keys"), "make one with age-keygen")
		}
		return all, nil
	})
}
