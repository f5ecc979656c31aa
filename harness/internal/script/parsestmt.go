package script

import (
	"strings"

	"golang.org/x/sys/unix"
)

func (c *cursor) stmt() Stmt {
	c.space()
	switch s := c.rest(); {
	case strings.HasPrefix(s, "host:"):
		c.i += len("host:")
		return c.host()
	case strings.HasPrefix(s, "enclave:"):
		c.i += len("enclave:")
		return c.enclave()
	case strings.HasPrefix(s, "--- "):
		return &Signal{Text: c.fenced("---")}
	case strings.HasPrefix(s, "+++ "):
		return &Exited{Text: c.fenced("+++")}
	case strings.HasPrefix(s, "skip ") || s == "skip":
		c.i += len("skip")
		c.space()
		if c.peek() != '"' {
			c.fail(c.i, "reason in quotes expected")
			return nil
		}
		return &Skip{Reason: c.quoted().Text}
	}
	return c.call()
}

// fenced reads what stands between two marks on one line.
func (c *cursor) fenced(mark string) string {
	c.i += len(mark)
	text, ok := strings.CutSuffix(strings.TrimRight(c.rest(), " \t"), mark)
	if !ok {
		c.fail(c.i, "%q expected at the end of the line", mark)
	}
	c.i = len(c.s)
	return strings.Trim(text, " \t")
}

func (c *cursor) call() Stmt {
	at := c.i
	call := &Call{Name: c.span(isWord)}
	if call.Name == "" || isDigit(call.Name[0]) || c.peek() != '(' {
		c.fail(at, "system call, host:, enclave: or skip expected")
		return nil
	}
	c.i++
	if call.Name == "ioctl" {
		call.Args = c.ioctl()
	}
	if keepsText(call.Name) && call.Args == nil {
		call.Opaque = c.opaque()
	} else if call.Args == nil {
		var more bool
		call.Args, more = c.list(")")
		if more {
			c.fail(c.i, "... cannot stand here")
		}
	}
	call.Result = c.result()
	return call
}

// ioctl reads the arguments of ioctl(2), whose structures have forms of their own:
// what cannot be read gives nil, and is kept as text. Where strace knows several
// names for one request, "BTRFS_IOC_CLONE or FICLONE", the last one stays.
func (c *cursor) ioctl() []Value {
	try := *c
	try.place()
	fd := try.value()
	try.expect(",", "behind the descriptor")
	try.place()
	for {
		at := try.i
		try.space()
		name := try.span(isWord)
		if name == "" || !strings.HasPrefix(try.rest(), " or ") {
			try.i = at
			break
		}
		try.i += len(" or ")
	}
	request := try.value()
	args := []Value{fd, request}
	if try.accept(",") {
		rest, more := try.list(")")
		if more {
			return nil
		}
		args = append(args, rest...)
	} else {
		try.expect(")", "behind the arguments")
	}
	if try.err != nil {
		return nil
	}
	*c = try
	return args
}

// opaque skips arguments that nobody looks at, up to the bracket that closes
// the call.
func (c *cursor) opaque() string {
	from, depth := c.i, 0
	for c.i < len(c.s) {
		switch c.s[c.i] {
		case '"':
			c.quoted()
			continue
		case '(', '{', '[':
			depth++
		case ')', '}', ']':
			if depth == 0 && c.s[c.i] == ')' {
				c.i++
				return strings.Trim(c.s[from:c.i-1], " \t")
			}
			depth--
		}
		c.i++
	}
	c.fail(from, "call without a closing bracket")
	return ""
}

// result reads what follows the closing bracket of a call.
func (c *cursor) result() (r Result) {
	if c.end() || !c.accept("=") {
		return r
	}
	c.space()
	at := c.i
	c.cols.Result = at + 1
	switch {
	case c.accept("?"):
		r.Kind = Any
		c.space()
		c.span(isWord) // ERESTARTSYS and the like
	case isDigit(c.peek()) || c.peek() == '-':
		r.Kind = Returns
		r.Value = c.number()
		c.space()
		if name := c.span(isWord); name != "" {
			r.Kind, r.Errno = Fails, errnoName(name)
			if r.Errno == "" {
				c.fail(c.i-len(name), "unknown errno %s", name)
			}
			if int64(r.Value.Val) != -1 {
				c.fail(at, "-1 stands before an errno")
			}
			r.Value = Int{}
		} else if int64(r.Value.Val) == -1 && c.err == nil {
			c.fail(at, "-1 needs the name of the errno")
		}
	default:
		c.fail(at, "result expected: a number, -1 ENAME or ?")
	}
	if c.accept("(") {
		n := strings.LastIndexByte(c.rest(), ')')
		if n < 0 {
			c.fail(c.i, "bracket without an end")
			return r
		}
		r.Text = strings.Trim(c.s[c.i:c.i+n], " \t")
		c.i += n + 1
	}
	if c.accept("<") { // strace -T
		c.i--
		c.annotation()
	}
	return r
}

// errnoName returns the canonical name of an errno, "" if there is none.
func errnoName(name string) string {
	switch name { // second names of one number
	case "EWOULDBLOCK":
		return "EAGAIN"
	case "EDEADLOCK":
		return "EDEADLK"
	case "ENOTSUP":
		return "EOPNOTSUPP"
	}
	for e := unix.Errno(1); e < 134; e++ {
		if ErrnoName(e) == name {
			return name
		}
	}
	return ""
}

// ErrnoName returns the name of e as strace prints it.
func ErrnoName(e unix.Errno) string {
	if e == unix.ENOTSUP {
		return "EOPNOTSUPP"
	}
	return unix.ErrnoName(e)
}

// ErrnoText returns what strerror(3) says of e.
func ErrnoText(e unix.Errno) string {
	text := e.Error() // the same, but for the first letter
	return strings.ToUpper(text[:1]) + text[1:]
}

func (c *cursor) host() Stmt {
	c.space()
	at := c.i
	h := &Host{Verb: c.verb()}
	if h.Verb == "" {
		c.fail(at, "what the host does is expected")
	}
	for !c.end() && c.peek() != '#' {
		if c.rest() == "=" || strings.HasPrefix(c.rest(), "= ") {
			c.i++
			c.space()
			c.cols.Result = c.i + 1
			h.Want = c.value()
			break
		}
		c.place()
		if c.peek() == '"' {
			at := c.i
			v := c.quoted()
			if v.Cut {
				c.fail(at, "the whole string is needed")
			}
			h.Args = append(h.Args, v)
			continue
		}
		word := c.span(func(b byte) bool { return b > ' ' && b <= '~' && b != '"' && b != '#' && b != '\\' })
		if word == "" {
			c.fail(c.i, "put quotes around this")
			break
		}
		h.Args = append(h.Args, String{Text: word})
	}
	return h
}

func (c *cursor) verb() string {
	return c.span(func(b byte) bool { return isWord(b) || b == '-' })
}

func (c *cursor) enclave() Stmt {
	c.space()
	at := c.i
	e := &Enclave{Verb: c.verb()}
	if e.Verb == "" {
		c.fail(at, "what happens to the enclave is expected")
	}
	c.space()
	e.Arg = c.span(func(b byte) bool { return isWord(b) || b == '-' || b == '.' })
	return e
}
