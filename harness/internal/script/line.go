package script

import "fmt"

// Pos is a place in a script; Line and Col count from 1, Col in bytes.
type Pos struct {
	File      string
	Line, Col int
}

// String returns file:line:col.
func (p Pos) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col) }

// File is a parsed script.
type File struct {
	Name     string
	Lines    []*Line
	Sections []Section
}

// Section is one txtar file behind the script.
type Section struct {
	Name string // slash-separated, relative, without ".."
	Data []byte
	Line int
}

// Line is one statement with what stands before it.
type Line struct {
	Pos      Pos
	Comments []string // the lines above that hold a comment, from its #, or nothing
	Conds    []Cond
	Task     int // the number of the task; 0: not given
	Stmt     Stmt
	Text     string  // as it was written; the two halves of a call in one
	Columns  Columns // in Text
}

// Columns says where the parts of a call or a host: line stand in the text of
// their Line. They count from 1, in bytes; 0: the part is not there.
type Columns struct {
	Args   []int
	Result int
}

// Arg returns the column of argument i, 0 if it is not there.
func (c Columns) Arg(i int) int {
	if i < 0 || i >= len(c.Args) {
		return 0
	}
	return c.Args[i]
}

// At returns the place of column col of the line's text; 0 stands for the
// beginning of the statement.
func (l *Line) At(col int) Pos {
	p := l.Pos
	if col != 0 {
		p.Col = col
	}
	return p
}

// Wrong returns the error that msg describes at column col, which counts as in
// At.
func (l *Line) Wrong(col int, msg string) *Error {
	return &Error{Pos: l.At(col), Line: l.Text, Msg: msg}
}

// Cond is [name] or [!name] before a line.
type Cond struct {
	Name string
	Not  bool
}

// Stmt is what a line does: *Call, *Exited, *Signal, *Host, *Enclave, *Skip.
type Stmt interface {
	stmt()
	append(b []byte) []byte
}

// Call is one system call.
type Call struct {
	Name string
	Args []Value
	// Opaque is the text of the arguments of ioctl and of calls that have
	// nothing to do with files; Args is then nil.
	Opaque string
	Result Result
}

// ResultKind says which form a Result has.
type ResultKind int

// The forms of a result.
const (
	Succeeds ResultKind = iota // none written: the call must succeed
	Returns                    // = 6
	Fails                      // = -1 EBUSY
	Any                        // = ?
)

// Result is what a script expects of a call.
type Result struct {
	Kind  ResultKind
	Value Int    // for Returns
	Errno string // for Fails, as unix.ErrnoName has it
	Text  string // what stood in brackets behind it
}

// Exited is "+++ exited with 0 +++" or "+++ killed by SIGKILL +++".
type Exited struct{ Text string }

// Signal is "--- SIGCHLD {...} ---"; it changes nothing.
type Signal struct{ Text string }

// Host is a line of the untrusted host: host: verb words = want.
type Host struct {
	Verb string
	Args []String
	Want Value // nil: none given
}

// Enclave is a line of the platform: enclave: verb argument.
type Enclave struct {
	Verb string
	Arg  string // "" if the verb has none
}

// Skip is skip "reason": the rest of the script is not run.
type Skip struct{ Reason string }

func (*Call) stmt()    {}
func (*Exited) stmt()  {}
func (*Signal) stmt()  {}
func (*Host) stmt()    {}
func (*Enclave) stmt() {}
func (*Skip) stmt()    {}
