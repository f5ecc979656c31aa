package replay

import (
	"cmp"
	"slices"
	"strings"

	"cloister/harness/internal/script"
)

// vars are the variables of a script, longest name first.
type vars []variable

type variable struct{ name, value string }

func newVars(m map[string]string) vars {
	var v vars
	for name, value := range m {
		v = append(v, variable{name, value})
	}
	slices.SortFunc(v, func(a, b variable) int {
		return cmp.Or(cmp.Compare(len(b.name), len(a.name)), strings.Compare(a.name, b.name))
	})
	return v
}

// expand puts values in the place of $NAME. A dollar sign before anything
// else stands for itself; unset is the first name in capitals that has no
// value.
func (v vars) expand(s script.String) (text, unset string) {
	if strings.IndexByte(s.Text, '$') < 0 {
		return s.Text, ""
	}
	var b strings.Builder
	for i := 0; i < len(s.Text); i++ {
		if s.Text[i] != '$' || slices.Contains(s.Lit, i) {
			b.WriteByte(s.Text[i])
			continue
		}
		name := varName(s.Text[i+1:])
		// $HOSTILE is not $HOST and "ILE": the whole word is the name.
		j := slices.IndexFunc(v, func(x variable) bool { return x.name == name })
		if name == "" || j < 0 {
			if unset == "" {
				unset = name
			}
			b.WriteByte('$')
			continue
		}
		b.WriteString(v[j].value)
		i += len(name)
	}
	return b.String(), unset
}

// varName returns the name in capitals, digits and underlines that s begins
// with.
func varName(s string) string {
	n := 0
	for n < len(s) && (s[n] == '_' || 'A' <= s[n] && s[n] <= 'Z' || n > 0 && '0' <= s[n] && s[n] <= '9') {
		n++
	}
	return s[:n]
}

// shortest is the length from which on the value of a variable is looked for
// in output; shorter ones stand there by chance.
const shortest = 4

// hide puts names in the place of values in a text for people: no key is
// printed that a variable holds, and no path of this run.
func (v vars) hide(text string) string {
	for _, x := range v {
		if len(x.value) >= shortest {
			text = strings.ReplaceAll(text, x.value, "$"+x.name)
		}
	}
	return text
}

// conceal does to the strings in a value what hide does to a text. In a script
// the result means the same, unless letters follow that make the name a longer one.
func (v vars) conceal(val script.Value) script.Value {
	switch x := val.(type) {
	case script.String:
		for _, w := range v {
			if at := strings.Index(x.Text, w.value); len(w.value) >= shortest && at >= 0 {
				before := script.Text(x.Text[:at])
				behind, _ := v.conceal(script.Text(x.Text[at+len(w.value):])).(script.String)
				out := script.String{Text: before.Text + "$" + w.name + behind.Text, Lit: before.Lit}
				for _, i := range behind.Lit {
					out.Lit = append(out.Lit, at+1+len(w.name)+i)
				}
				return out
			}
		}
	case script.Array:
		elems := make([]script.Value, len(x.Elems))
		for i, e := range x.Elems {
			elems[i] = v.conceal(e)
		}
		x.Elems = elems
		return x
	case script.Struct:
		fields := make([]script.Field, len(x.Fields))
		for i, f := range x.Fields {
			fields[i] = script.Field{Name: f.Name, Value: v.conceal(f.Value)}
		}
		x.Fields = fields
		return x
	}
	return val
}
