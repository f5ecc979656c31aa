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
	line *script.Line
	src  *script.Call

	args []argument
	at   int // the argument that is looked at; negative: the call as a whole
	// shown is what -v and a failure print: the arguments of the script, with
	// what really came out in the place of out-parameters.
	shown []script.Value

	problem *script.Error // the line cannot be run
	foreign bool          // it acts on a pipe, socket or standard stream
	missing bool          // the system does not offer it in this form
	differs *Failure      // the first out-parameter that is not as the script gives it
}

func (c *call) cannot(format string, args ...any) {
	c.cannotAt(c.line.Columns.Arg(c.at), format, args...)
}

func (c *call) cannotAt(col int, format string, args ...any) {
	if c.problem == nil {
		c.problem = c.line.Wrong(col, c.run.vars.hide(c.src.Name+": "+fmt.Sprintf(format, args...)))
	}
}

// differ notes that argument i is not as the script gives it.
func (c *call) differ(i int, wanted, got script.Value) {
	if c.differs == nil {
		c.differs = Differs(c.line, c.line.Columns.Arg(i), fmt.Sprintf("argument %d differs", i+1), script.Format(wanted), script.Format(got))
	}
}

// came reports what out-parameter i holds after the call and compares it with
// what the script gives.
func (c *call) came(i int, actual script.Value) {
	c.at = i
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
	c.differ(i, expected, actual)
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
	if c.problem != nil || c.foreign {
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
		shown = script.Result{Kind: script.Fails, Errno: script.ErrnoName(eno), Text: script.ErrnoText(eno)}
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
		if _, bare := err.(unix.Errno); err != nil && !bare { // a wrapped one has more to tell
			got.Text = c.run.vars.hide(err.Error())
		}
		wanted := strings.TrimSpace(want.String())
		if wanted == "" {
			wanted = "success"
		}
		fail = Differs(c.line, c.line.Columns.Result, "the result differs", wanted, strings.TrimSpace(got.String()))
	default:
		fail = c.differs
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
