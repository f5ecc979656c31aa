package mountopt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// MaxConfig is the largest start-up configuration in bytes.
const MaxConfig = 1 << 20

// ConfigFile is where the start-up configuration lies inside an enclave: a file
// that enclave.json embeds, so that it is measured with the program.
const ConfigFile = "/etc/cloister/mounts.json"

// A Mount is one mount of the start-up configuration: the arguments of a
// mount(2). Data may hold a key, so printing, logging and marshalling a Mount
// leave it out.
type Mount struct {
	Source string  // as mount(2)'s; "none" if the entry has none
	Target string  // absolute and clean
	Type   string  // file-system type
	Flags  uintptr // MS_* bits
	Data   string  `json:"-"` // option text, as Spec.Parse takes it
}

// String describes m in the words of mount(8), without its options.
func (m Mount) String() string {
	return fmt.Sprintf("%s on %s type %s (%s)", m.Source, m.Target, m.Type, FormatFlags(m.Flags))
}

// Format implements fmt.Formatter: every verb prints String.
func (m Mount) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, m.String()) }

// LogValue implements slog.LogValuer.
func (m Mount) LogValue() slog.Value { return slog.StringValue(m.String()) }

// LoadConfig reads the start-up mounts, to be mounted in the order given:
//
//	{"mounts": [
//		{"type": "hostfs", "target": "/host", "flags": "ro,nosuid", "data": "dir=/host"},
//		{"type": "unionfs", "target": "/data", "data": "lowerdir=/image,upperdir=/data"}
//	]}
//
// All values are strings; type and target are mandatory; flags are the words of
// ParseFlags. Decoding is strict: unknown, repeated and misspelt names (in case,
// too), values that are not strings, text after the end and invalid UTF-8 are
// refused. So are the root as a target, and an entry that would hide an earlier
// one, because its target is the same or lies above it.
//
// Errors: EINVAL, in an error that names the entry (the first is 0) and, when
// it is known, its target; EIO or the reader's own errno if r cannot be read.
// No error holds option text.
func LoadConfig(r io.Reader) ([]Mount, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxConfig+1))
	if err != nil {
		return nil, fmt.Errorf("mountopt: read start-up mounts: %w", errnoOf(err))
	}
	d := &configDecoder{dec: json.NewDecoder(bytes.NewReader(data))}
	switch {
	case len(data) > MaxConfig:
		err = fmt.Errorf("more than %d bytes", MaxConfig)
	case !utf8.Valid(data):
		err = errors.New("invalid UTF-8")
	default:
		err = d.decode()
	}
	if err != nil {
		return nil, fmt.Errorf("mountopt: start-up mounts: %w: %w", err, unix.EINVAL)
	}
	return d.mounts, nil
}

// A configDecoder reads the configuration token by token, because the
// unmarshaller of encoding/json takes repeated names and any case. Its errors
// carry no errno.
type configDecoder struct {
	dec    *json.Decoder
	mounts []Mount
}

func (d *configDecoder) decode() error {
	seen := false
	err := d.object(func(name string) error {
		if name != "mounts" {
			return unknownName(name, "mounts")
		}
		seen = true
		return d.array()
	})
	if err != nil {
		return err
	}
	if _, err := d.dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("text after the end")
	}
	if !seen {
		return errors.New(`"mounts" is missing`)
	}
	return nil
}

// array reads the list of entries.
func (d *configDecoder) array() error {
	if err := d.delim('['); err != nil {
		return err
	}
	for d.dec.More() {
		m, err := d.entry()
		if err == nil {
			err = m.checkOrder(d.mounts)
		}
		if err != nil {
			entry := fmt.Sprintf("entry %d", len(d.mounts))
			if m.Target != "" {
				entry += fmt.Sprintf(" (target %q)", m.Target)
			}
			return fmt.Errorf("%s: %w", entry, err)
		}
		d.mounts = append(d.mounts, m)
	}
	return d.delim(']')
}

// entry reads one entry. What it returns with an error is what it knew by then.
func (d *configDecoder) entry() (Mount, error) {
	m, flags := Mount{Source: "none"}, ""
	err := d.object(func(name string) error {
		var field *string
		switch name {
		case "source":
			field = &m.Source
		case "target":
			field = &m.Target
		case "type":
			field = &m.Type
		case "flags":
			field = &flags
		case "data":
			field = &m.Data
		default:
			return unknownName(name, "source", "target", "type", "flags", "data")
		}
		text, err := d.text()
		if err != nil {
			return fmt.Errorf("%q %w", name, err)
		}
		*field = text
		return nil
	})
	if err != nil {
		return m, err
	}
	m.Flags, err = ParseFlags(flags)
	if err != nil {
		return m, fmt.Errorf("bad flags %.80q", flags)
	}
	return m, m.check()
}

// unknownName is the error for a name that is none of those that are known.
func unknownName(name string, known ...string) error {
	if near := nearest(name, known); near != "" {
		return fmt.Errorf("unknown name %.80q, did you mean %q?", name, near)
	}
	return fmt.Errorf("unknown name %.80q", name)
}

// check checks the entry by itself.
func (m *Mount) check() error {
	switch {
	case m.Type == "":
		return errors.New(`"type" is missing`)
	case m.Target == "":
		return errors.New(`"target" is missing`)
	case !path.IsAbs(m.Target) || path.Clean(m.Target) != m.Target:
		return errors.New(`"target" is not an absolute path in its shortest form`)
	case m.Target == "/":
		return errors.New(`"target" is the root, which cannot be mounted over`)
	case len(m.Target) >= unix.PathMax || len(m.Source) >= unix.PathMax || len(m.Type) >= unix.PathMax:
		return fmt.Errorf("a path or type is longer than %d bytes", unix.PathMax-1)
	case len(m.Data) > MaxData:
		return fmt.Errorf(`"data" is longer than %d bytes`, MaxData)
	}
	return nil
}

// checkOrder checks that m hides none of the mounts before it.
func (m *Mount) checkOrder(earlier []Mount) error {
	for i, e := range earlier {
		if e.Target == m.Target || strings.HasPrefix(e.Target, m.Target+"/") {
			return fmt.Errorf("hides entry %d (target %q)", i, e.Target)
		}
	}
	return nil
}

// object reads an object and calls member, which reads the value, for each name.
func (d *configDecoder) object(member func(name string) error) error {
	if err := d.delim('{'); err != nil {
		return err
	}
	var names []string
	for d.dec.More() {
		name, err := d.text()
		if err != nil {
			return fmt.Errorf("a name %w", err)
		}
		for _, n := range names {
			if n == name {
				return fmt.Errorf("%q is given twice", name)
			}
		}
		if err := member(name); err != nil {
			return err
		}
		names = append(names, name)
	}
	return d.delim('}')
}

// delim reads the delimiter want.
func (d *configDecoder) delim(want json.Delim) error {
	tok, err := d.dec.Token()
	if err != nil {
		return d.syntax()
	}
	if tok != want {
		return fmt.Errorf("%q expected before byte %d", want.String(), d.dec.InputOffset())
	}
	return nil
}

// text reads a string that is fit for a system call.
func (d *configDecoder) text() (string, error) {
	tok, err := d.dec.Token()
	if err != nil {
		return "", d.syntax()
	}
	s, ok := tok.(string)
	switch {
	case !ok:
		return "", errors.New("is not a string")
	case strings.IndexByte(s, 0) >= 0:
		return "", errors.New("holds a NUL")
	case strings.ContainsRune(s, utf8.RuneError):
		// The decoder puts U+FFFD where an escape is no character.
		return "", errors.New("holds a character that does not exist")
	}
	return s, nil
}

// syntax replaces an error of the decoder, which may quote the input.
func (d *configDecoder) syntax() error {
	return fmt.Errorf("not JSON at byte %d", d.dec.InputOffset())
}
