package replay

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"cloister/harness/internal/script"
	"cloister/vfs"
)

// A call is one system call of a script while it is made. The maker in the
// table reads its arguments from here and reports here what came out.
type call struct {
	run  *runner
	proc *process
	Task
	src *script.Call

	args []argument
	// shown is what -v and a failure print: the arguments of the script, with
	// what really came out in the place of out-parameters.
	shown []script.Value

	problem string // the line cannot be run
	foreign bool   // it acts on a pipe, socket or standard stream
	missing bool   // the system does not offer it in this form
	wanted  string // the out-parameter that differs: what the script gives
	got     string
}

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
	words := strings.Fields(kinds)
	least := len(words) - strings.Count(kinds, "?")
	if n := len(c.src.Args); n < least || n > len(words) {
		c.cannot("%s has %d arguments, here are %d", c.src.Name, len(words), n)
		return
	}
	c.args = make([]argument, len(words))
	c.shown = append([]script.Value(nil), c.src.Args...)
	for i, word := range words {
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
		}
	}
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

func (c *call) cannot(format string, args ...any) {
	if c.problem == "" {
		c.problem = fmt.Sprintf(format, args...)
	}
}

// number evaluates a number or flags.
func (c *call) number(v script.Value) int64 {
	n, err := evaluate(v)
	if err != "" {
		c.cannot("%s", err)
	}
	return int64(n)
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

// came reports what out-parameter i holds after the call and compares it with
// what the script gives.
func (c *call) came(i int, actual script.Value) {
	expected := c.src.Args[i]
	if b, ok := expected.(script.Becomes); ok {
		expected = b.After
	}
	plain := actual
	actual = c.run.vars.conceal(actual)
	switch expected.(type) {
	case script.Rest:
		c.shown[i] = actual
		return
	case script.Int, script.Null, script.Const: // an address: strace could not or would not read it
		return
	}
	same, why := c.run.match(expected, plain)
	if why != "" {
		c.cannot("%s", why)
		return
	}
	if same {
		return // the script's own words, variables unexpanded
	}
	c.shown[i] = actual
	if c.wanted == "" {
		c.wanted = fmt.Sprintf("argument %d: %s", i+1, script.Format(expected))
		c.got = fmt.Sprintf("argument %d: %s", i+1, script.Format(actual))
	}
}

// errno returns the errno of err, 0 for nil.
func errno(err error) unix.Errno {
	if err == nil {
		return 0
	}
	return vfs.Errno(err)
}

// make runs the call by its entry in the table. Strings that the kernel
// cannot read are passed as "", which Linux refuses at the very place where
// it reads them (fs/namei.c: getname), and the answer is made EFAULT.
func (c *call) make(e *entry) (n int64, err error) {
	c.decode(e.args)
	if c.problem != "" || c.foreign {
		return 0, nil
	}
	n, err = e.make(c)
	if errno(err) == unix.ENOENT {
		for _, a := range c.args {
			if a.bad && a.str == "" {
				return n, unix.EFAULT
			}
		}
	}
	return n, err
}

// judge compares the answer of the system with what the script expects and
// returns the result to show. A descriptor that the system returned gets the
// script's number.
func (c *call) judge(e *entry, n int64, err error) (shown script.Result, fail *Failure) {
	want := c.src.Result
	shown = script.Result{Kind: script.Returns, Value: script.Decimal(n)}
	if err != nil {
		eno := errno(err)
		shown = script.Result{Kind: script.Fails, Errno: script.ErrnoName(eno), Text: eno.Error()}
	} else if e.fd {
		shown.Value = script.Decimal(int64(c.newFD(int(n), want)))
	} else if e.show != nil {
		shown.Value = e.show(n)
	}
	same := false
	switch want.Kind {
	case script.Any:
		same = true
	case script.Succeeds:
		same = err == nil
	case script.Fails:
		same = err != nil && want.Errno == shown.Errno
	case script.Returns:
		same = err == nil && (e.fd || int64(want.Value.Val) == n || e.same != nil && e.same(int64(want.Value.Val), n))
		if same {
			shown.Value, shown.Text = want.Value, want.Text
		}
	}
	switch {
	case !same:
		got := shown
		if err != nil {
			got.Text = c.run.vars.hide(err.Error())
		}
		wanted := strings.TrimSpace(want.String())
		if wanted == "" {
			wanted = "success"
		}
		fail = &Failure{Wanted: wanted, Got: strings.TrimSpace(got.String())}
	case c.wanted != "":
		fail = &Failure{Wanted: c.wanted, Got: c.got}
	}
	return shown, fail
}

// newFD gives the descriptor num, which the system returned, the number that
// the script has for it.
func (c *call) newFD(num int, want script.Result) int {
	if n, ok := c.proc.fds.holder(num); ok && want.Kind != script.Returns {
		return n // dup2 to itself
	}
	n := c.proc.fds.unused()
	if want.Kind == script.Returns {
		n = int(int32(want.Value.Val))
	}
	if old, open := c.proc.fds.bind(n, descriptor{num: num}); open {
		// The kernel gave the number out again, so it had been closed by
		// something that the trace does not show.
		c.Task.Close(old)
	}
	return n
}
