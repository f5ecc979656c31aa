package mountopt

import (
	"slices"
	"strconv"
	"strings"
)

// Values are the options of one mount, as Spec.Parse read them. The zero Values
// have no Spec and answer no getter.
//
// The getters panic when asked for an option that the Spec does not have, or has
// in another form: that is a mistake in the driver.
type Values struct {
	spec Spec
	vals []value // in the order of spec
}

type value struct {
	set  bool
	text string
	list []string
	num  uint64
	key  Key
	mac  MAC
	macs []*MAC
}

// Has tells whether the option was given.
func (v Values) Has(name string) bool {
	i := v.spec.index(name)
	if i < 0 {
		panic("mountopt: no option " + name)
	}
	return v.vals[i].set
}

// Text returns the value of a String or Word option, "" if it was not given.
func (v Values) Text(name string) string { return v.get(name, kindString, kindWord).text }

// List returns the elements of a List option, nil if it was not given. The
// caller owns the slice.
func (v Values) List(name string) []string { return slices.Clone(v.get(name, kindList).list) }

// Number returns the value of an Octal, Uint, Size or Count option, 0 if it was
// not given.
func (v Values) Number(name string) uint64 {
	return v.get(name, kindOctal, kindUint, kindSize, kindCount).num
}

// Key returns the value of a Secret option, the zero Key if it was not given.
// All copies of Values share the key: wiping it wipes it for all.
func (v Values) Key(name string) Key { return v.get(name, kindSecret).key }

// MAC returns the value of a RootMAC option, zero if it was not given.
func (v Values) MAC(name string) MAC { return v.get(name, kindMAC).mac }

// MACs returns the elements of a RootMACs option, nil for "-"; nil if it was not given. The
// caller owns the slice.
func (v Values) MACs(name string) []*MAC { return slices.Clone(v.get(name, kindMACs).macs) }

func (v Values) get(name string, kinds ...kind) *value {
	i := v.spec.index(name)
	if i < 0 || !slices.Contains(kinds, v.spec[i].kind) {
		panic("mountopt: no option " + name + " of this form")
	}
	return &v.vals[i]
}

// String prints the options that were given as option text, in the order of the
// Spec, without the secrets. Parsing the text gives the same Values, secrets
// aside.
func (v Values) String() string {
	var b strings.Builder
	for i, o := range v.spec {
		val := &v.vals[i]
		if !val.set || o.kind == kindSecret {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(o.name)
		if o.kind != kindFlag {
			b.WriteByte('=')
		}
		switch o.kind {
		case kindString, kindWord:
			escapeValue(&b, val.text, ',')
		case kindList:
			for j, elem := range val.list {
				if j > 0 {
					b.WriteByte(o.sep)
				}
				escapeValue(&b, elem, o.sep)
			}
		case kindMAC:
			b.WriteString(val.mac.String())
		case kindMACs:
			for j, mac := range val.macs {
				if j > 0 {
					b.WriteByte(':')
				}
				if mac == nil {
					b.WriteString(noMAC)
				} else {
					b.WriteString(mac.String())
				}
			}
		case kindOctal:
			b.WriteString(strconv.FormatUint(val.num, 8))
		case kindUint, kindSize, kindCount:
			b.WriteString(strconv.FormatUint(val.num, 10))
		}
	}
	return b.String()
}

// escapeValue writes s with a backslash before each comma, backslash and sep.
func escapeValue(b *strings.Builder, s string, sep byte) {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c == ',' || c == '\\' || c == sep {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
}
