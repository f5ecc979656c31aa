package mountopt

import (
	"errors"
	"fmt"
	"io"
	"log/slog"

	"golang.org/x/sys/unix"
)

// Lengths of keys in bytes, and of their longest text.
const (
	keySize128 = 16
	keySize256 = 32
	maxKeyText = 3*keySize256 - 1
)

// maxKeyFile bounds what LoadKey reads: the longest key and room for line ends.
const maxKeyFile = maxKeyText + 33

const redacted = "[redacted]"

const badKey = "is not a key: 16 or 32 bytes in hex, two digits each, all or none of them joined by dashes"

// A Key is a secret of 16 or 32 bytes that does not show itself: every way of
// printing, logging or marshalling it gives "[redacted]". Copies share the
// bytes. The zero Key holds none.
type Key struct {
	// fmt asks no methods of an unexported field, so a Key in one is formatted
	// by reflection. fmt follows one pointer to a struct (for a verb that does not
	// fit), never two: it prints an address instead of the bytes.
	secret **secret
}

type secret struct {
	bytes [keySize256]byte
	size  int
}

// ParseKey reads a key of 16 or 32 bytes from its text: two hex digits for each
// byte, upper or lower case, joined by dashes
// (c7-32-b3-ed-44-df-ec-7b-25-2d-9a-32-38-8d-58-61) or not joined at all.
//
// The text stays in memory for as long as the caller's string does; LoadKey
// leaves no copy.
//
// Errors: EINVAL for any other text. The error does not hold the text.
func ParseKey(text string) (Key, error) { return parseKey(text) }

// LoadKey reads a key from a key file: one line with the text that ParseKey
// takes. CR and LF at the end are dropped. Whatever was read is wiped.
//
// Errors: EINVAL if r holds anything else; EIO or the reader's own errno if it
// cannot be read. No error holds what was read.
func LoadKey(r io.Reader) (Key, error) {
	buf := make([]byte, maxKeyFile+1)
	defer clear(buf)
	n, err := io.ReadFull(r, buf)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return Key{}, fmt.Errorf("mountopt: read key file: %w", errnoOf(err))
	}
	text := buf[:n]
	for len(text) > 0 && (text[len(text)-1] == '\n' || text[len(text)-1] == '\r') {
		text = text[:len(text)-1]
	}
	if n > maxKeyFile {
		return Key{}, fmt.Errorf("mountopt: key file is too long for one key: %w", unix.EINVAL)
	}
	return parseKey(text)
}

// errnoOf returns the errno in err's chain, else EIO.
func errnoOf(err error) unix.Errno {
	if errno, ok := errors.AsType[unix.Errno](err); ok && errno != 0 {
		return errno
	}
	return unix.EIO
}

func parseKey[T string | []byte](text T) (Key, error) {
	size, step := 0, 2
	switch len(text) {
	case 2 * keySize128:
		size = keySize128
	case 2 * keySize256:
		size = keySize256
	case 3*keySize128 - 1:
		size, step = keySize128, 3
	case 3*keySize256 - 1:
		size, step = keySize256, 3
	default:
		return Key{}, errBadKey()
	}
	s := &secret{size: size}
	for i := range size {
		at := i * step
		hi, lo := hexDigit(text[at]), hexDigit(text[at+1])
		if hi|lo > 0xf || step == 3 && i > 0 && text[at-1] != '-' {
			clear(s.bytes[:])
			return Key{}, errBadKey()
		}
		s.bytes[i] = hi<<4 | lo
	}
	return Key{secret: &s}, nil
}

func errBadKey() error { return fmt.Errorf("mountopt: text %s: %w", badKey, unix.EINVAL) }

// hexDigit returns the value of a hex digit, or 0xff.
func hexDigit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 0xff
}

// Bytes returns the key itself, not a copy: 16 or 32 bytes that must not be
// changed and are zero after Wipe. It returns nil if k holds no key.
func (k Key) Bytes() []byte {
	if k.IsZero() {
		return nil
	}
	s := *k.secret
	return s.bytes[:s.size:s.size]
}

// IsZero tells whether k holds no key: it is the zero Key, or it was wiped. A
// key whose bytes are all zero is a key.
func (k Key) IsZero() bool { return k.secret == nil || (*k.secret).size == 0 }

// Wipe overwrites the bytes of k and of all its copies, which hold no key
// afterwards. Nobody else may be using the key.
func (k Key) Wipe() {
	if k.secret != nil {
		s := *k.secret
		clear(s.bytes[:])
		s.size = 0
	}
}

// String implements fmt.Stringer without showing the key.
func (k Key) String() string { return redacted }

// GoString implements fmt.GoStringer without showing the key.
func (k Key) GoString() string { return redacted }

// Format implements fmt.Formatter for all verbs without showing the key.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText implements encoding.TextMarshaler without showing the key.
func (k Key) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON implements json.Marshaler without showing the key.
func (k Key) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// LogValue implements slog.LogValuer without showing the key.
func (k Key) LogValue() slog.Value { return slog.StringValue(redacted) }
