package script

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// Print returns f in canonical form.
func Print(f *File) []byte {
	var b []byte
	for _, l := range f.Lines {
		for _, c := range l.Comments {
			b = append(b, c...)
			b = append(b, '\n')
		}
		b = append(b, l.String()...)
		b = append(b, '\n')
	}
	for _, s := range f.Sections {
		b = append(b, "-- "+s.Name+" --\n"...)
		b = append(b, s.Data...)
	}
	return b
}

// String returns l in canonical form, without a line end.
func (l *Line) String() string {
	var b []byte
	for _, c := range l.Conds {
		b = append(b, '[')
		if c.Not {
			b = append(b, '!')
		}
		b = append(b, c.Name+"] "...)
	}
	if l.Task != 0 {
		b = append(b, "[pid "+strconv.Itoa(l.Task)+"] "...)
	}
	return string(l.Stmt.append(b))
}

// Format returns v in canonical form.
func Format(v Value) string { return string(v.append(nil)) }

// String returns the result as it stands behind the closing bracket of a
// call: " = 0", or "" if none is written.
func (r Result) String() string {
	var b []byte
	switch r.Kind {
	case Returns:
		b = r.Value.append([]byte(" = "))
	case Fails:
		b = append([]byte(" = -1 "), r.Errno...)
	case Any:
		b = []byte(" = ?")
	case Succeeds:
		return ""
	}
	if r.Text != "" {
		b = append(b, " ("+r.Text+")"...)
	}
	return string(b)
}

func (c *Call) append(b []byte) []byte {
	b = append(b, c.Name...)
	b = append(b, '(')
	b = append(b, c.Opaque...)
	b = appendList(b, c.Args, false)
	b = append(b, ')')
	return append(b, c.Result.String()...)
}

func (e *Exited) append(b []byte) []byte { return append(b, "+++ "+e.Text+" +++"...) }
func (s *Signal) append(b []byte) []byte { return append(b, "--- "+s.Text+" ---"...) }
func (s *Skip) append(b []byte) []byte   { return appendQuoted(append(b, "skip "...), Text(s.Reason)) }

func (h *Host) append(b []byte) []byte {
	b = append(b, "host: "+h.Verb...)
	for _, a := range h.Args {
		b = append(b, ' ')
		if isBare(a) {
			b = append(b, a.Text...)
		} else {
			b = appendQuoted(b, a)
		}
	}
	if h.Want != nil {
		b = h.Want.append(append(b, " = "...))
	}
	return b
}

func (e *Enclave) append(b []byte) []byte {
	b = append(b, "enclave: "+e.Verb...)
	if e.Arg != "" {
		b = append(b, " "+e.Arg...)
	}
	return b
}

func (v Int) append(b []byte) []byte {
	n := v.Val
	if v.Neg {
		b = append(b, '-')
		n = -n
	}
	switch {
	case v.Base == 16:
		return strconv.AppendUint(append(b, "0x"...), n, 16)
	case v.Base == 8 && n != 0:
		return strconv.AppendUint(append(b, '0'), n, 8)
	}
	return strconv.AppendUint(b, n, 10)
}

func (v Const) append(b []byte) []byte { return append(b, v.Name...) }
func (Null) append(b []byte) []byte    { return append(b, "NULL"...) }
func (Rest) append(b []byte) []byte    { return append(b, "..."...) }

func (v Or) append(b []byte) []byte {
	for i, p := range v.Parts {
		if i > 0 {
			b = append(b, '|')
		}
		b = p.append(b)
	}
	return b
}

func (v String) append(b []byte) []byte {
	b = appendQuoted(b, v)
	if v.Cut {
		b = append(b, "..."...)
	}
	return b
}

func (v Struct) append(b []byte) []byte {
	b = append(b, '{')
	for i, f := range v.Fields {
		if i > 0 {
			b = append(b, ", "...)
		}
		if f.Name != "" {
			b = append(b, f.Name+"="...)
		}
		b = f.Value.append(b)
	}
	return append(appendMore(b, v.More, len(v.Fields)), '}')
}

func (v Array) append(b []byte) []byte {
	b = append(b, '[')
	b = appendList(b, v.Elems, v.More)
	return append(b, ']')
}

func (v Func) append(b []byte) []byte {
	b = append(b, v.Name+"("...)
	return append(appendList(b, v.Args, false), ')')
}

func (v Named) append(b []byte) []byte { return v.Value.append(append(b, v.Name+"="...)) }
func (v Becomes) append(b []byte) []byte {
	return v.After.append(append(v.Before.append(b), " => "...))
}

func appendList(b []byte, list []Value, more bool) []byte {
	for i, v := range list {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = v.append(b)
	}
	return appendMore(b, more, len(list))
}

func appendMore(b []byte, more bool, before int) []byte {
	if !more {
		return b
	}
	if before > 0 {
		b = append(b, ", "...)
	}
	return append(b, "..."...)
}

// appendQuoted writes v as a C string. Octal escapes have three digits, so
// that a digit behind one cannot be taken for a part of it.
func appendQuoted(b []byte, v String) []byte {
	b = append(b, '"')
	for i := range len(v.Text) {
		c := v.Text[i]
		if j := strings.IndexByte(escapeBytes, c); j >= 0 {
			b = append(b, '\\', escapeNames[j])
			continue
		}
		if c < ' ' || c > '~' || c == '$' && slices.Contains(v.Lit, i) {
			b = append(b, '\\', '0'+c>>6, '0'+c>>3&7, '0'+c&7)
			continue
		}
		b = append(b, c)
	}
	return append(b, '"')
}

// The escapes that have a letter: escapeNames[i] stands for escapeBytes[i].
const (
	escapeBytes = "\n\t\r\v\f\"\\"
	escapeNames = "ntrvf\"\\"
)

// isBare reports whether a can stand in a host: line without quotes.
func isBare(a String) bool {
	if a.Text == "" || a.Lit != nil || a.Text == "=" {
		return false
	}
	return !bytes.ContainsFunc([]byte(a.Text), func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '#' || r == '\\' })
}

// FormatCall returns c in canonical form, with its result.
func FormatCall(c *Call) string { return string(c.append(nil)) }
