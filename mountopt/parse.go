package mountopt

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// MaxData is the longest option text in bytes. mount(2) itself takes less than
// a page; longer texts come from the start-up configuration.
const MaxData = 64 << 10

// maxShownName is the longest option name that an error repeats. A key that
// lost its "key=" is longer.
const maxShownName = 24

// Parse reads option text. Options that are not given hold their zero value.
//
// Errors: EINVAL, in an error that names the option and says what is wrong
// with it, for anything that the grammar or the Spec does not allow.
func (s Spec) Parse(data string) (Values, error) {
	v := Values{spec: s, vals: make([]value, len(s))}
	if len(data) > MaxData {
		return Values{}, fmt.Errorf("mountopt: option text is longer than %d bytes: %w", MaxData, unix.EINVAL)
	}
	if strings.IndexByte(data, 0) >= 0 {
		return Values{}, fmt.Errorf("mountopt: option text holds a NUL byte: %w", unix.EINVAL)
	}
	for n, rest := 0, data; rest != ""; {
		var item string
		item, rest = cut(rest, ',')
		if item == "" {
			continue
		}
		n++
		if err := v.parseItem(item, n); err != nil {
			v.wipe()
			return Values{}, err
		}
	}
	for i, o := range s {
		if o.required && !v.vals[i].set {
			v.wipe()
			return Values{}, optionError(o.name, "is mandatory and missing")
		}
	}
	return v, nil
}

// wipe wipes the keys that were read before an error.
func (v Values) wipe() {
	for i := range v.vals {
		v.vals[i].key.Wipe()
	}
}

// parseItem reads the n-th item into its place.
func (v Values) parseItem(item string, n int) error {
	name, text, hasValue := strings.Cut(item, "=")
	i := v.spec.index(name)
	if i < 0 {
		return v.spec.unknown(name, n)
	}
	o, val := v.spec[i], &v.vals[i]
	if val.set {
		return optionError(name, "is given twice")
	}
	switch {
	case o.kind == kindFlag && hasValue:
		return optionError(name, "takes no value")
	case o.kind != kindFlag && !hasValue:
		return optionError(name, `needs a value: "`+name+`=..."`)
	case o.kind != kindFlag && text == "":
		return optionError(name, "has an empty value")
	}
	if reason := val.parse(o, text); reason != "" {
		return optionError(name, reason)
	}
	val.set = true
	return nil
}

// parse reads the text of one value and returns what is wrong with it, or "".
func (val *value) parse(o Option, text string) (reason string) {
	var ok bool
	switch o.kind {
	case kindFlag:
		return ""
	case kindList:
		for more := true; more; {
			var raw, elem string
			raw, text, more = cutMore(text, o.sep)
			if elem, ok = unescape(raw, o.sep); !ok {
				return badEscape
			}
			if elem == "" {
				return "has an empty element"
			}
			val.list = append(val.list, elem)
		}
		return ""
	}

	if o.kind == kindMACs {
		return val.parseMACs(text)
	}
	if text, ok = unescape(text, ':'); !ok {
		return badEscape
	}
	switch o.kind {
	case kindString:
		val.text = text
	case kindWord:
		if !slices.Contains(o.words, text) {
			return "must be one of " + strings.Join(o.words, ", ")
		}
		val.text = text
	case kindOctal:
		return val.parseNumber(text, 8, 0, o.max, "must be an octal mode of at most 7777")
	case kindUint:
		return val.parseNumber(text, 10, 0, o.max, "must be a decimal number of at most "+strconv.FormatUint(o.max, 10))
	case kindSize:
		if strings.HasSuffix(text, "%") {
			return "cannot be a share of the memory, for how much there is is not known: give a number of bytes"
		}
		digits, shift := sizeSuffix(text)
		return val.parseNumber(digits, 10, shift, o.max, "must be a number of bytes, with k, m, g or t after it if wanted")
	case kindCount:
		digits, shift := sizeSuffix(text)
		return val.parseNumber(digits, 10, shift, o.max, "must be a number of at most "+strconv.FormatUint(o.max, 10)+", with k, m, g or t after it if wanted")
	case kindSecret:
		key, err := ParseKey(text)
		if err != nil {
			return badKey
		}
		val.key = key
	case kindMAC:
		mac, err := ParseMAC(text)
		if err != nil {
			return badMAC
		}
		val.mac = mac
	}
	return ""
}

const badEscape = `has a backslash that does not stand before ",", ":" or "\"`

// parseNumber reads digits times 1<<shift into val.num.
func (val *value) parseNumber(digits string, base int, shift uint, max uint64, reason string) string {
	// With a base given, ParseUint takes digits only: no sign, no underscore.
	n, err := strconv.ParseUint(digits, base, 64)
	if err != nil || n > max>>shift {
		return reason
	}
	val.num = n << shift
	return ""
}

// sizeSuffix splits a size as lib/cmdline.c: memparse does.
func sizeSuffix(text string) (digits string, shift uint) {
	if text == "" {
		return text, 0
	}
	digits = text[:len(text)-1]
	switch text[len(text)-1] {
	case 'k', 'K':
		return digits, 10
	case 'm', 'M':
		return digits, 20
	case 'g', 'G':
		return digits, 30
	case 't', 'T':
		return digits, 40
	}
	return text, 0
}

// cut splits s around its first sep that has no backslash before it.
func cut(s string, sep byte) (before, after string) {
	before, after, _ = cutMore(s, sep)
	return before, after
}

// cutMore is cut that also says whether there was a sep.
func cutMore(s string, sep byte) (before, after string, found bool) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case sep:
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// unescape takes the backslashes out of s. It reports false for a backslash
// before anything but a comma, a colon, a backslash or sep.
func unescape(s string, sep byte) (string, bool) {
	if strings.IndexByte(s, '\\') < 0 {
		return s, true
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '\\' {
			if i++; i == len(s) {
				return "", false
			}
			if c = s[i]; c != ',' && c != ':' && c != '\\' && c != sep {
				return "", false
			}
		}
		b = append(b, c)
	}
	return string(b), true
}

// optionError is EINVAL that names an option.
func optionError(name, reason string) error {
	return fmt.Errorf("mountopt: option %q %s: %w", name, reason, unix.EINVAL)
}

// unknown is the error for the n-th item, which names no option of s. What
// does not look like a name is not repeated: it may be a piece of a key.
func (s Spec) unknown(name string, n int) error {
	if !showable(name) {
		return fmt.Errorf("mountopt: item %d does not start with the name of an option: %w", n, unix.EINVAL)
	}
	if near := nearest(name, s.names()); near != "" {
		return optionError(name, fmt.Sprintf("is unknown, did you mean %q?", near))
	}
	if len(s) == 0 {
		return optionError(name, "is unknown, there are none")
	}
	return optionError(name, "is unknown, there are "+strings.Join(s.names(), ", "))
}

// showable tells whether name may stand in an error: short, and made as names
// are, blanks before or after it aside.
func showable(name string) bool {
	if len(name) > maxShownName {
		return false
	}
	word := strings.Trim(name, " \t")
	for i := 0; i < len(word); i++ {
		c := word[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || !('0' <= c && c <= '9' || strings.IndexByte("_-+.", c) >= 0)) {
			return false
		}
	}
	return word != ""
}
