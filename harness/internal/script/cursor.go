package script

import (
	"fmt"
	"strings"
)

// Error is a line of a script that cannot be read, or not be run.
type Error struct {
	Pos  Pos
	Line string // the whole line
	Msg  string
}

// Error returns the place and the reason, and below them the line with a
// caret under the offending byte.
func (e *Error) Error() string {
	return fmt.Sprintf("%s: %s\n%s", e.Pos, e.Msg, excerpt(e.Line, e.Pos.Col))
}

// cursor walks over one line. Its methods stop at the first error, which
// stays in err.
type cursor struct {
	s    string
	i    int
	pos  Pos // of the line; Col is computed
	err  *Error
	deep int // nesting of values
	cols Columns
}

func (c *cursor) fail(at int, format string, args ...any) {
	if c.err != nil {
		return
	}
	p := c.pos
	p.Col = at + 1
	c.err = &Error{Pos: p, Line: c.s, Msg: fmt.Sprintf(format, args...)}
	c.i = len(c.s)
}

func (c *cursor) rest() string { return c.s[c.i:] }

func (c *cursor) end() bool {
	c.space()
	return c.i >= len(c.s)
}

// peek returns the next byte, 0 at the end.
func (c *cursor) peek() byte {
	if c.i < len(c.s) {
		return c.s[c.i]
	}
	return 0
}

// space skips blanks and /* comments */.
func (c *cursor) space() {
	for c.i < len(c.s) {
		switch {
		case c.s[c.i] == ' ' || c.s[c.i] == '\t':
			c.i++
		case strings.HasPrefix(c.rest(), "/*"):
			n := strings.Index(c.s[c.i+2:], "*/")
			if n < 0 {
				c.fail(c.i, "comment without an end")
				return
			}
			c.i += n + 4
		default:
			return
		}
	}
}

// place notes that an argument of the line begins behind the blanks here.
func (c *cursor) place() {
	c.space()
	c.cols.Args = append(c.cols.Args, c.i+1)
}

// accept skips blanks and then lit, if it comes next.
func (c *cursor) accept(lit string) bool {
	c.space()
	if !strings.HasPrefix(c.rest(), lit) {
		return false
	}
	c.i += len(lit)
	return true
}

func (c *cursor) expect(lit, where string) {
	if !c.accept(lit) {
		c.fail(c.i, "%q expected %s", lit, where)
	}
}

// span consumes and returns the longest run of bytes that ok accepts.
func (c *cursor) span(ok func(byte) bool) string {
	from := c.i
	for c.i < len(c.s) && ok(c.s[c.i]) {
		c.i++
	}
	return c.s[from:c.i]
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }
func isLetter(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || b == '_'
}
func isWord(b byte) bool { return isLetter(b) || isDigit(b) }
