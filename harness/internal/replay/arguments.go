package replay

import (
	"strings"

	"golang.org/x/sys/unix"

	"cloister/harness/internal/script"
)

// argument is one argument after decoding.
type argument struct {
	v   script.Value
	num int64  // fd, int
	str string // path, text
	bad bool   // path, text: NULL or an address that cannot be read
}

// maxBuffer bounds the bytes of one buffer of a script.
const maxBuffer = 16 << 20

// decode fills args as the words of kinds say; a word that ends in "?" may be
// missing.
//
//	fd    a descriptor, or AT_FDCWD
//	int   a number or flags
//	path  a path, which the kernel copies from the caller
//	text  another string of that kind
//	raw   anything; the maker looks at it
func (c *call) decode(kinds string) {
	c.at = -1
	words := strings.Fields(kinds)
	least := len(words) - strings.Count(kinds, "?")
	if n := len(c.src.Args); n < least || n > len(words) {
		c.cannot("%s has %d arguments, here are %d", c.src.Name, len(words), n)
		return
	}
	c.args = make([]argument, len(words))
	c.shown = append([]script.Value(nil), c.src.Args...)
	raw := -1
	for i, word := range words {
		c.at = i
		a := &c.args[i]
		a.v = script.Null{}
		if i >= len(c.src.Args) {
			continue
		}
		a.v = unwrap(c.src.Args[i])
		switch strings.TrimSuffix(word, "?") {
		case "fd":
			a.num = c.number(a.v)
			d := c.proc.fds.get(int(int32(a.num)))
			a.num = int64(d.num)
			c.foreign = c.foreign || d.foreign
		case "int":
			a.num = c.number(a.v)
		case "path", "text":
			a.str, a.bad = c.text(a.v)
		case "raw":
			if raw < 0 {
				raw = i
			}
		}
	}
	c.at = raw // the maker looks at that one
}

// unwrap removes the name of an argument and what the call made of it.
func unwrap(v script.Value) script.Value {
	switch x := v.(type) {
	case script.Named:
		return unwrap(x.Value)
	case script.Becomes:
		return unwrap(x.Before)
	}
	return v
}

// number evaluates a number or flags.
func (c *call) number(v script.Value) int64 {
	n, why := evaluate(v)
	if why != "" {
		c.cannotAt(c.within(unknownName(v)), "%s", why)
	}
	return int64(n)
}

// within returns the column of a name in the argument that is looked at.
func (c *call) within(name string) int {
	col := c.line.Columns.Arg(c.at)
	if col == 0 || name == "" {
		return col
	}
	return col + max(strings.Index(c.line.Text[col-1:], name), 0)
}

// unknownName returns the first of flags that has no value, "" if there is none.
func unknownName(v script.Value) string {
	switch x := v.(type) {
	case script.Const:
		if _, ok := constants[x.Name]; !ok {
			return x.Name
		}
	case script.Or:
		for _, p := range x.Parts {
			if name := unknownName(p); name != "" {
				return name
			}
		}
	}
	return ""
}

// evaluate returns the value of a number, a constant, flags or makedev(); why
// says what is wrong with others.
func evaluate(v script.Value) (n uint64, why string) {
	switch x := v.(type) {
	case script.Int:
		return x.Val, ""
	case script.Null:
		return 0, ""
	case script.Const:
		n, ok := constants[x.Name]
		if !ok {
			return 0, "unknown name " + x.Name
		}
		return n, ""
	case script.Or:
		for _, p := range x.Parts {
			m, why := evaluate(p)
			if why != "" {
				return 0, why
			}
			n |= m
		}
		return n, ""
	case script.Func:
		if x.Name != "makedev" || len(x.Args) != 2 {
			return 0, "unknown macro " + x.Name
		}
		major, why := evaluate(x.Args[0])
		if why != "" {
			return 0, why
		}
		minor, why := evaluate(x.Args[1])
		return unix.Mkdev(uint32(major), uint32(minor)), why
	}
	return 0, "a number or flags expected, not " + script.Format(v)
}

// text returns a string argument; bad says that the kernel could not read it.
func (c *call) text(v script.Value) (s string, bad bool) {
	switch x := v.(type) {
	case script.String:
		if x.Cut {
			c.cannot("the string was cut off: record again with strace -s 9999999")
		}
		s, _ = c.run.vars.expand(x)
		return s, false
	case script.Null, script.Int:
		return "", true
	}
	c.cannot("a string expected, not %s", script.Format(v))
	return "", false
}

// data returns the first n bytes of a buffer that the caller hands in; bad
// says that the kernel could not read it.
func (c *call) data(v script.Value, n int64) (p []byte, bad bool) {
	s, bad := c.text(v)
	switch {
	case bad:
		return nil, n != 0
	case n < 0 || n > int64(len(s)):
		c.cannot("%d bytes are to be written, the string has %d", n, len(s))
		return nil, false
	}
	return []byte(s[:n]), false
}

// buffer returns a buffer of n bytes for an out-parameter; bad says that the
// kernel could not write to it: NULL, or an address where EFAULT is expected.
func (c *call) buffer(i int, n int64) (p []byte, bad bool) {
	if n > maxBuffer {
		c.cannot("at most %d bytes in one buffer", maxBuffer)
		n = 0
	}
	return make([]byte, max(n, 0)), c.unwritable(i)
}

func (c *call) unwritable(i int) bool {
	switch c.args[i].v.(type) {
	case script.Null:
		return true
	case script.Int:
		r := c.src.Result
		return r.Kind == script.Fails && r.Errno == "EFAULT"
	}
	return false
}
