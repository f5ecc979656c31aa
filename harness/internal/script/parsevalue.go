package script

import (
	"strconv"
	"strings"
)

// maxNesting bounds the depth of structures and arrays in one argument.
const maxNesting = 32

// value reads one argument.
func (c *cursor) value() Value {
	if c.deep++; c.deep > maxNesting {
		c.fail(c.i, "nested too deeply")
		return Null{}
	}
	defer func() { c.deep-- }()

	c.space()
	at := c.i
	v := c.prim()
	if c.accept("|") {
		or := Or{Parts: []Value{c.flag(at, v)}}
		for {
			c.space()
			at := c.i
			or.Parts = append(or.Parts, c.flag(at, c.prim()))
			if c.err != nil || !c.accept("|") {
				break
			}
		}
		v = or
	}
	if c.err == nil && c.accept("=>") {
		if _, twice := v.(Becomes); twice {
			c.fail(c.i, "a value changes once")
		}
		after := c.value()
		if _, twice := after.(Becomes); twice {
			c.fail(c.i, "a value changes once")
		}
		v = Becomes{Before: v, After: after}
	}
	return v
}

// flag checks that v, which stands at byte at, can be joined by "|".
func (c *cursor) flag(at int, v Value) Value {
	switch v.(type) {
	case Int, Const:
	default:
		c.fail(at, "only names and numbers are joined by |")
	}
	return v
}

func (c *cursor) prim() Value {
	c.space()
	switch b := c.peek(); {
	case c.i >= len(c.s):
		c.fail(c.i, "a value expected")
	case strings.HasPrefix(c.rest(), "..."):
		c.i += 3
		return Rest{}
	case b == '"':
		return c.quoted()
	case isDigit(b) || b == '-':
		return c.number()
	case b == '{':
		return c.structure()
	case b == '[':
		c.i++
		elems, more := c.list("]")
		return Array{Elems: elems, More: more}
	case isLetter(b):
		return c.named()
	default:
		c.fail(c.i, "unexpected %q", b)
	}
	return Null{}
}

// named reads a constant, NULL, name=value or name(arguments).
func (c *cursor) named() Value {
	name := c.span(isWord)
	switch {
	case name == "NULL":
		return Null{}
	case c.peek() == '(':
		c.i++
		args, more := c.list(")")
		if more {
			c.fail(c.i, "... cannot stand in %s()", name)
		}
		return Func{Name: name, Args: args}
	case c.peek() == '=' && !strings.HasPrefix(c.rest(), "=>"):
		c.i++
		return Named{Name: name, Value: c.unnamed()}
	}
	c.annotation()
	return Const{Name: name}
}

// unnamed reads a value that may not have a name of its own.
func (c *cursor) unnamed() Value {
	at := c.i
	v := c.value()
	switch v.(type) {
	case Named, Becomes:
		c.fail(at, "a plain value expected")
	}
	return v
}

// list reads values up to the closing bracket. A "..." at the end of an
// array is reported by more.
func (c *cursor) list(closing string) (list []Value, more bool) {
	if c.accept(closing) {
		return nil, false
	}
	for c.err == nil {
		if c.deep == 0 {
			c.place()
		}
		at := c.i
		v := c.value()
		if _, rest := v.(Rest); rest && closing == "]" {
			if !c.accept(closing) {
				c.fail(at, "... must come last")
			}
			return list, true
		}
		list = append(list, v)
		if c.accept(closing) {
			return list, false
		}
		c.expect(",", "or "+strconv.Quote(closing))
	}
	return list, false
}

func (c *cursor) structure() Value {
	c.i++ // {
	var s Struct
	if c.accept("}") {
		return s
	}
	for c.err == nil {
		c.space()
		at := c.i
		switch v := c.value().(type) {
		case Rest:
			s.More = true
			if !c.accept("}") {
				c.fail(at, "... must come last")
			}
			return s
		case Named:
			s.Fields = append(s.Fields, Field(v))
		case Becomes:
			c.fail(at, "=> cannot stand in a structure")
		default:
			s.Fields = append(s.Fields, Field{Value: v})
		}
		if c.accept("}") {
			return s
		}
		c.expect(",", "or \"}\"")
	}
	return s
}

// number reads 12, -1, 0644 or 0x1f, and skips what strace -y writes behind a
// descriptor: 3</etc/passwd>.
func (c *cursor) number() Int {
	at := c.i
	v := Int{Base: 10}
	if c.peek() == '-' {
		v.Neg = true
		c.i++
	}
	digits := c.span(isWord)
	text := digits
	switch {
	case strings.HasPrefix(digits, "0x"):
		v.Base, text = 16, digits[2:]
	case len(digits) > 1 && digits[0] == '0':
		v.Base = 8
	}
	n, err := strconv.ParseUint(text, v.Base, 64)
	if err != nil {
		c.fail(at, "%q is not a number", c.s[at:c.i])
		return v
	}
	if n == 0 && v.Base == 8 {
		v.Base = 10
	}
	v.Val = n
	if v.Neg {
		if n > 1<<63 {
			c.fail(at, "%s does not fit 64 bits", c.s[at:c.i])
		}
		v.Val = -n
		v.Neg = n != 0
	}
	c.annotation()
	return v
}

// annotation skips <...> directly behind a descriptor.
func (c *cursor) annotation() {
	if c.peek() != '<' {
		return
	}
	n := strings.IndexByte(c.rest(), '>')
	if n < 0 {
		c.fail(c.i, "\"<\" without \">\"")
		return
	}
	c.i += n + 1
}

// quoted reads a C string.
func (c *cursor) quoted() String {
	from := c.i
	c.i++
	var v String
	var b []byte
	for {
		if c.i >= len(c.s) {
			c.fail(from, "string without an end")
			return v
		}
		switch ch := c.s[c.i]; ch {
		case '"':
			c.i++
			v.Text = string(b)
			if strings.HasPrefix(c.rest(), "...") {
				c.i += 3
				v.Cut = true
			}
			return v
		case '\\':
			e := c.escape()
			if e == '$' {
				v.Lit = append(v.Lit, len(b))
			}
			b = append(b, e)
		default:
			b = append(b, ch)
			c.i++
		}
	}
}

// escape reads one escape of a C string: a letter, one to three octal digits,
// or x and one or two hexadecimal ones.
func (c *cursor) escape() byte {
	at := c.i
	c.i++
	b := c.peek()
	if j := strings.IndexByte(escapeNames+"abe'?$", b); j >= 0 && b != 0 {
		c.i++
		return (escapeBytes + "\a\b\x1b'?$")[j]
	}
	base, most := 8, 3
	if b == 'x' {
		c.i++
		base, most = 16, 2
	}
	from := c.i
	for c.i < len(c.s) && c.i-from < most && isWord(c.s[c.i]) {
		if _, err := strconv.ParseUint(c.s[c.i:c.i+1], base, 8); err != nil {
			break
		}
		c.i++
	}
	n, err := strconv.ParseUint(c.s[from:c.i], base, 8)
	if err != nil {
		c.fail(at, "unknown escape in a string")
		return 0
	}
	return byte(n)
}
