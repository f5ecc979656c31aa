package script

import (
	"bytes"
	"strconv"
	"strings"
)

// Parse reads a script; name is used in places and messages. The error is an
// *Error.
func Parse(name string, src []byte) (*File, error) {
	p := parser{file: &File{Name: name}, open: map[openCall]*Line{}}
	no := 0
	for len(src) > 0 {
		raw, rest, _ := bytes.Cut(src, []byte("\n"))
		no++
		line := strings.TrimSuffix(string(raw), "\r")
		pos := Pos{File: name, Line: no, Col: 1}
		if _, ok := sectionName(line); ok {
			if err := p.sections(pos, src); err != nil {
				return nil, err
			}
			break
		}
		if err := p.line(pos, line); err != nil {
			return nil, err
		}
		src = rest
	}
	p.dropOpen()
	return p.file, nil
}

type parser struct {
	file *File
	// comments are those since the last line.
	comments []string
	// open holds the first halves of calls that wait for "<... resumed>".
	open map[openCall]*Line
}

type openCall struct {
	task int
	name string
}

// half is the first part of a call: "read(3, <unfinished ...>".
type half struct{ text string }

func (*half) stmt()                  {}
func (*half) append(b []byte) []byte { return b }

// line reads one line of the script proper.
func (p *parser) line(pos Pos, s string) error {
	c := &cursor{s: s, pos: pos}
	if c.end() || c.peek() == '#' {
		p.comments = append(p.comments, strings.TrimRight(c.rest(), " \t\r"))
		return asError(c)
	}
	l := &Line{Pos: pos, Comments: p.comments}
	p.comments = nil
	l.Conds, l.Task = c.prefix()
	c.space()
	l.Pos.Col = c.i + 1
	l.Text = s
	if c.err != nil {
		return c.err
	}
	if strings.HasPrefix(c.rest(), "<... ") {
		return p.resumed(c, l)
	}
	if text, ok := strings.CutSuffix(strings.TrimRight(c.rest(), " \t"), "<unfinished ...>"); ok {
		return p.unfinished(c, l, text)
	}
	l.Stmt = c.stmt()
	if c.err == nil && !c.end() && c.peek() != '#' {
		c.fail(c.i, "unexpected text behind the line")
	}
	if c.err != nil {
		return c.err
	}
	l.Columns = c.cols
	p.file.Lines = append(p.file.Lines, l)
	return nil
}

func asError(c *cursor) error {
	if c.err != nil {
		return c.err
	}
	return nil
}

// prefix reads [conditions], [pid 7] or a leading 7, and skips the times of
// strace -t, -tt and -r.
func (c *cursor) prefix() (conds []Cond, task int) {
	for c.accept("[") {
		if strings.HasPrefix(c.rest(), "pid ") {
			c.i += len("pid ")
			task = c.task()
			c.expect("]", "behind the task")
			continue
		}
		cond := Cond{Not: c.accept("!")}
		at := c.i
		cond.Name = c.span(isWord)
		if cond.Name == "" {
			c.fail(at, "name of a condition expected")
		}
		c.expect("]", "behind the condition")
		conds = append(conds, cond)
	}
	c.space()
	if isDigit(c.peek()) && !c.clock() {
		task = c.task()
		c.space()
	}
	c.clock()
	return conds, task
}

func (c *cursor) task() int {
	c.space()
	at := c.i
	n, err := strconv.ParseInt(c.span(isDigit), 10, 32)
	if err != nil || n == 0 {
		c.fail(at, "number of a task expected")
	}
	return int(n)
}

// clock skips 12:34:56.789012, 1700000000.123456 and +0.000012.
func (c *cursor) clock() bool {
	from := c.i
	text := c.span(func(b byte) bool { return isDigit(b) || b == ':' || b == '.' })
	if strings.ContainsAny(text, ":.") && isDigit(text[0]) && (c.peek() == ' ' || c.peek() == '\t') {
		c.space()
		return true
	}
	c.i = from
	return false
}

// unfinished keeps the first half of a call until the second one comes.
func (p *parser) unfinished(c *cursor, l *Line, text string) error {
	at := c.i
	name := c.span(isWord)
	if name == "" || c.peek() != '(' {
		c.fail(at, "call expected")
		return c.err
	}
	key := openCall{l.Task, name}
	if p.open[key] != nil {
		c.fail(at, "%s of this task is unfinished already", name)
		return c.err
	}
	l.Stmt = &half{text: strings.TrimRight(text, " \t")}
	p.open[key] = l
	// A new task may speak before its maker's call is resumed, so calls that
	// make tasks take effect where they begin, others where they end.
	if makesTask(name) {
		p.file.Lines = append(p.file.Lines, l)
	}
	return nil
}

// resumed joins the two halves of a call and reads the whole.
func (p *parser) resumed(c *cursor, l *Line) error {
	c.i += len("<... ")
	at := c.i
	name := c.span(isWord)
	first := p.open[openCall{l.Task, name}]
	if first == nil {
		c.fail(at, "no unfinished %s of this task", name)
		return c.err
	}
	delete(p.open, openCall{l.Task, name})
	c.expect("resumed>", "behind the call")
	if c.err != nil {
		return c.err
	}
	tail := strings.TrimLeft(c.rest(), " \t")
	joined := &cursor{s: first.Stmt.(*half).text + " " + tail, pos: l.Pos}
	stmt := joined.stmt()
	if joined.err == nil && !joined.end() && joined.peek() != '#' {
		joined.fail(joined.i, "unexpected text behind the line")
	}
	if joined.err != nil {
		return joined.err
	}
	whole := l
	if makesTask(name) {
		whole = first
	} else {
		p.file.Lines = append(p.file.Lines, l)
	}
	whole.Stmt = stmt
	whole.Text, whole.Columns, whole.Pos.Col = joined.s, joined.cols, 1
	return nil
}

func makesTask(name string) bool {
	switch name {
	case "clone", "clone3", "fork", "vfork":
		return true
	}
	return false
}

// dropOpen removes calls that never came back: their task was killed in them.
func (p *parser) dropOpen() {
	kept := p.file.Lines[:0]
	for _, l := range p.file.Lines {
		if _, open := l.Stmt.(*half); !open {
			kept = append(kept, l)
		}
	}
	p.file.Lines = kept
}
