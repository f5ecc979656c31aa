package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// terminal returns both ends of a new pseudo-terminal: the keyboard with the screen, and what
// a command reads from.
func terminal(t *testing.T) (keyboard, tty *os.File) {
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo-terminals here: ", err)
	}
	t.Cleanup(func() { keyboard.Close() })
	fd := int(keyboard.Fd())
	require.NoError(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	require.NoError(t, err)
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { tty.Close() })
	return keyboard, tty
}

// echoes reports whether a terminal shows what is typed.
func echoes(t *testing.T, tty *os.File) bool {
	st, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	require.NoError(t, err)
	return st.Lflag&unix.ECHO != 0
}

// asker is the standard error of a command: it types an answer when it is asked.
type asker struct {
	bytes.Buffer
	t       *testing.T
	keys    io.Writer
	answers []string
	tty     *os.File
}

func (a *asker) Write(p []byte) (int, error) {
	if bytes.HasSuffix(p, []byte(": ")) && len(a.answers) > 0 {
		_, err := io.WriteString(a.keys, a.answers[0]+"\n")
		require.NoError(a.t, err)
		a.answers = a.answers[1:]
	}
	return a.Buffer.Write(p)
}

func TestTypedPassphrase(t *testing.T) {
	e := keyEnv(t)
	typing := func(answers []string, args ...string) (int, string) {
		keyboard, tty := terminal(t)
		errOut := &asker{t: t, keys: keyboard, answers: answers, tty: tty}
		var out bytes.Buffer
		code := run(args, streams{in: tty, out: &out, err: errOut})
		require.True(t, echoes(t, tty), "the echo is back")
		require.Empty(t, errOut.answers, "questions")
		return code, out.String() + errOut.String()
	}
	add := []string{"key", "add", e.image, "--image-key", e.key, "--new-passphrase", "-", "--passphrase-cost", "15"}
	code, said := typing([]string{"correct horse", "corect horse"}, add...)
	require.Equal(t, exitUsage, code, said)
	require.Contains(t, said, "the passphrases differ")
	code, said = typing([]string{""}, add...)
	require.Equal(t, exitUsage, code, said)
	require.Contains(t, said, "empty")
	code, said = typing([]string{"correct horse", "correct horse"}, add...)
	require.Equal(t, exitOK, code, said)
	require.NotContains(t, said, "horse")

	code, said = typing([]string{"wrong"}, "key", "unlock", e.image, "--passphrase", "-")
	require.Equal(t, exitKey, code, said)
	require.Contains(t, said, "another passphrase")
	code, said = typing([]string{"correct horse"}, "key", "remove", e.image, "0", "--passphrase", "-")
	require.Equal(t, exitOK, code, said)
}
