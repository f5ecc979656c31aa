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

// Failure is the first answer that was not as expected, in the script's
// notation.
type Failure struct {
	Pos         script.Pos
	Call        string
	Wanted, Got string
}

// String returns the failure on four lines.
func (f *Failure) String() string {
	return fmt.Sprintf("%s:%d: %s\n    wanted: %s\n    got:    %s", f.Pos.File, f.Pos.Line, f.Call, f.Wanted, f.Got)
}

// A ScriptError is a line that can be read but not run.
type ScriptError struct {
	Pos script.Pos
	Msg string
}

// Error returns file:line:col and the reason.
func (e *ScriptError) Error() string { return e.Pos.String() + ": " + e.Msg }
