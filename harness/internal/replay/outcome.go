package replay

import (
	"fmt"

	"cloister/harness/internal/script"
)

// Outcome is what became of a script.
type Outcome struct {
	Calls       int // made and compared
	Skipped     int // calls that have nothing to do with files
	Marked      int // lines whose conditions do not hold: they are for other systems
	Unsupported int // file calls that the system does not offer; only with Config.SkipUnsupported
	SkipReason  string
	Failure     *Failure // nil: every answer was as expected
}

// Failure is the first answer that was not as expected.
type Failure struct {
	Pos         script.Pos // of what differs: an argument, the result
	Line        string     // as it stands in the script
	Msg         string     // what differs
	Call        string     // in canonical form, without its result
	Wanted, Got string     // in the script's notation
}

// String returns the place and what differs, the line with a caret under it,
// what was wanted and what came.
func (f *Failure) String() string {
	place := script.Error{Pos: f.Pos, Line: f.Line, Msg: f.Msg}
	return fmt.Sprintf("%s\n    wanted: %s\n    got:    %s", place.Error(), f.Wanted, f.Got)
}

// Differs returns the failure of line l at column col of its text; 0 stands for
// the beginning of the statement.
func Differs(l *script.Line, col int, msg, wanted, got string) *Failure {
	plain := *l
	plain.Conds, plain.Task = nil, 0
	if c, ok := l.Stmt.(*script.Call); ok {
		bare := *c
		bare.Result = script.Result{}
		plain.Stmt = &bare
	}
	return &Failure{Pos: l.At(col), Line: l.Text, Msg: msg, Call: plain.String(), Wanted: wanted, Got: got}
}
