package mountopt

import "strings"

// A Spec is the table of options that a file-system type takes. It
// corresponds to an array of struct fs_parameter_spec. A Spec is not changed
// after its first use.
type Spec []Option

// An Option declares one option: its name, the form of its value and whether
// it may be missing.
type Option struct {
	name     string
	kind     kind
	required bool
	sep      byte     // of a list
	words    []string // of a word
	max      uint64   // of a number
}

type kind int

const (
	kindString kind = iota
	kindList
	kindOctal
	kindUint
	kindSize
	kindCount
	kindWord
	kindFlag
	kindSecret
	kindMAC
	kindMACs
)

// MaxMode is the largest value of an Octal option: all permission bits with
// the set-user-ID, set-group-ID and sticky bits.
const MaxMode = 0o7777

// String declares an option whose value is any non-empty text, such as a path.
// Read it with Values.Text.
func String(name string) Option { return Option{name: name, kind: kindString} }

// List declares an option whose value is one or more non-empty texts with sep
// between them. Read it with Values.List. sep must be a byte that the grammar
// has no other use for; List panics if it is not.
func List(name string, sep byte) Option {
	if strings.IndexByte(",\\=\x00", sep) >= 0 {
		panic("mountopt: bad list separator for option " + name)
	}
	return Option{name: name, kind: kindList, sep: sep}
}

// Octal declares an option whose value is a file mode in octal digits, at most
// MaxMode. Read it with Values.Number.
func Octal(name string) Option { return Option{name: name, kind: kindOctal, max: MaxMode} }

// Uint declares an option whose value is a decimal number, at most max. Read it
// with Values.Number.
func Uint(name string, max uint64) Option { return Option{name: name, kind: kindUint, max: max} }

// Size declares an option whose value is a number of bytes, decimal, optionally
// followed by k, m, g or t in either case for powers of 1024; it fits into an
// int64. A share of the memory (50%), which tmpfs(5) takes, is refused: how much
// memory an enclave has is not known. Read it with Values.Number.
func Size(name string) Option { return Option{name: name, kind: kindSize, max: 1<<63 - 1} }

// Count declares an option whose value is a number of things, at most max, in the
// form of a Size. Read it with Values.Number.
func Count(name string, max uint64) Option { return Option{name: name, kind: kindCount, max: max} }

// Word declares an option whose value is one of words. Read it with
// Values.Text.
func Word(name string, words ...string) Option {
	return Option{name: name, kind: kindWord, words: words}
}

// Flag declares an option without a value. Read it with Values.Has.
func Flag(name string) Option { return Option{name: name, kind: kindFlag} }

// Secret declares an option whose value is a Key in the form that ParseKey
// takes. Read it with Values.Key. It is left out when Values are printed.
func Secret(name string) Option { return Option{name: name, kind: kindSecret} }

// RootMAC declares an option whose value is a MAC in the form that ParseMAC
// takes. Read it with Values.MAC.
func RootMAC(name string) Option { return Option{name: name, kind: kindMAC} }

// RootMACs declares an option whose value is one or more MACs, or "-" for none, with ':'
// between them. Read it with Values.MACs.
func RootMACs(name string) Option { return Option{name: name, kind: kindMACs} }

// Required returns o as an option that must be given.
func (o Option) Required() Option {
	o.required = true
	return o
}

// names returns the names of the options.
func (s Spec) names() []string {
	names := make([]string, len(s))
	for i, o := range s {
		names[i] = o.name
	}
	return names
}

// index returns the place of the option called name, or -1.
func (s Spec) index(name string) int {
	for i := range s {
		if s[i].name == name {
			return i
		}
	}
	return -1
}
