package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"cloister/fs/sefs"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// Exit codes. They are a contract: docs/cli.md.
const (
	exitOK          = 0
	exitUsage       = 1
	exitDiffer      = 1   // diff: the images differ; its usage errors are exitHost, as diff(1) has it
	exitHost        = 2   // a file of the host cannot be read or written
	exitPath        = 5   // a file of the image cannot be read
	exitImage       = 6   // the image is missing, is none, or is damaged
	exitMountPoint  = 10  // the mount point cannot be used
	exitInUse       = 11  // the image is in use
	exitKey         = 12  // the key, signer or machine is not the image's
	exitPolicy      = 13  // the image's key policy keeps tools out
	exitFUSE        = 19  // FUSE is not available
	exitInternal    = 70  // a bug
	exitInterrupted = 130 // ended by SIGINT or SIGTERM before it was done
)

// failure is an error with an exit code; it prints as one line.
type failure struct {
	code   int
	thing  string // what it is about: a path or an option
	reason string
	next   string // what the user can do; "" if there is nothing to say
	err    error  // for errors.Is; may be nil
	quiet  bool   // the code says it all
}

// usageCode marks a command in which exitUsage means something else: its usage errors are
// exitHost.
const usageCode = "usage"

func (f *failure) Error() string {
	var b strings.Builder
	if f.thing != "" {
		b.WriteString(f.thing + ": ")
	}
	b.WriteString(f.reason)
	if f.next != "" {
		b.WriteString("; " + f.next)
	}
	return b.String()
}

func (f *failure) Unwrap() error { return f.err }

// line is the message for the user: "cloister: <command>: <thing>: <reason>; <next step>".
func (f *failure) line(cmd *cobra.Command) string {
	prefix := "cloister: "
	if cmd != nil && cmd.HasParent() {
		prefix += cmd.Name() + ": "
	}
	return prefix + strings.ReplaceAll(f.Error(), "\n", " ")
}

// fail makes a failure from an error.
func fail(code int, thing string, err error, next string) error {
	return &failure{code: code, thing: thing, reason: reason(err), next: next, err: err}
}

// usage is a failure of the command line itself.
func usage(text string) error {
	return &failure{code: exitUsage, reason: text, next: "see --help"}
}

// reason drops the path from errors of package os: the failure names the thing
// itself.
func reason(err error) string {
	switch e := err.(type) {
	case *fs.PathError:
		return e.Err.Error()
	case *os.LinkError:
		return e.Err.Error()
	}
	return err.Error()
}

// asFailure classifies what a command returned. Errors of cobra itself, which come before
// any command runs, are usage errors.
func asFailure(err error) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	if errors.Is(err, context.Canceled) {
		return &failure{code: exitInterrupted, reason: "interrupted", err: err}
	}
	return &failure{code: exitUsage, reason: err.Error(), next: "see --help", err: err}
}

// codeFor is the exit code of the failure in a command.
func (f *failure) codeFor(cmd *cobra.Command) int {
	if !f.quiet && cmd != nil && cmd.Annotations[usageCode] == fsckCodes {
		return fsckCode(f.code)
	}
	if f.code == exitUsage && !f.quiet && cmd != nil && cmd.Annotations[usageCode] != "" {
		return exitHost
	}
	return f.code
}

// interrupted reports whether ctx was ended by a signal.
func interrupted(ctx context.Context) bool { return ctx.Err() != nil }

// imageFailure classifies an error of opening or reading an image.
func imageFailure(image string, err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, unix.EBUSY):
		return fail(exitInUse, image, err, "end the command that uses it")
	case isRootMAC(err):
		return fail(exitKey, image, err, "it is not the image that --mac names, or not in that state")
	case errors.Is(err, unix.EACCES):
		return fail(exitKey, image, err, "give the keys that it was built with (--image-key, --sign-key), on the same machine")
	case errors.Is(err, unix.EROFS):
		return fail(exitImage, image, err, "use --read-only")
	}
	return fail(exitImage, image, err, "")
}

// isRootMAC reports whether an image is refused because of its root MAC.
func isRootMAC(err error) bool {
	e, ok := errors.AsType[*sefs.KeyError](err)
	return ok && e.Problem == sefs.KeyRoot
}

// output is the error of writing to standard output.
func output(_ int, err error) error {
	if err != nil {
		return fail(exitHost, "standard output", err, "")
	}
	return nil
}

// exactArgs wants the named arguments, no more and no less.
func exactArgs(names ...string) cobra.PositionalArgs { return rangeArgs(len(names), names...) }

// rangeArgs wants at least least of the named arguments, and no others.
func rangeArgs(least int, names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < least {
			return usage("missing argument " + names[len(args)])
		}
		if len(args) > len(names) {
			return usage(fmt.Sprintf("unexpected argument %q", args[len(names)]))
		}
		for i, arg := range args {
			if arg == "" {
				return usage("empty argument " + names[i])
			}
		}
		return nil
	}
}
