// Command cloister builds, inspects and mounts encrypted images.
//
// docs/cli.md describes the commands and, as a contract, their exit codes.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"github.com/spf13/cobra"
)

func main() {
	os.Exit(run(os.Args[1:], streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}))
}

// streams are what a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// run executes one command line and returns the exit code.
func run(args []string, std streams) (code int) {
	defer func() {
		if v := recover(); v != nil {
			fmt.Fprintf(std.err, "cloister: internal error: %v; please report it\n%s", v, debug.Stack())
			code = exitInternal
		}
	}()
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	root := newRoot(std)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	f := asFailure(err)
	if !f.quiet {
		fmt.Fprintln(std.err, f.line(cmd))
	}
	return f.codeFor(cmd)
}

func newRoot(std streams) *cobra.Command {
	root := &cobra.Command{
		Use:   "cloister",
		Short: "Build, inspect and mount encrypted images",
		Long: "cloister works on the encrypted images that programs in an enclave mount.\n" +
			"The commands run without SGX; images sealed to an enclave open in the simulated one only.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       version(),
	}
	root.SetIn(std.in)
	root.SetOut(std.out)
	root.SetErr(std.err)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err.Error()) })
	root.AddCommand(
		newGenImageKey(std),
		newMkfs(std),
		newBuild(std),
		newLs(std),
		newTree(std),
		newCat(std),
		newExtract(std),
		newImport(std),
		newDiff(std),
		newScrub(std),
		newFsck(std),
		newCompact(std),
		newInfo(std),
		newKey(std),
		newMount(std),
		&cobra.Command{
			Use:   "version",
			Short: "Print the version",
			Args:  exactArgs(),
			RunE: func(*cobra.Command, []string) error {
				return output(fmt.Fprintf(std.out, "cloister %s\n", version()))
			},
		},
	)
	for _, cmd := range root.Commands() {
		cmd.RunE = classified(cmd.RunE)
	}
	return root
}

// classified makes an error that a command did not expect an internal one. What cobra
// finds wrong before any command runs stays a usage error.
func classified(runE func(*cobra.Command, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		err := runE(cmd, args)
		if _, ok := errors.AsType[*failure](err); err == nil || ok || errors.Is(err, context.Canceled) {
			return err
		}
		return fail(exitInternal, "internal error", err, "please report it")
	}
}

// version is the module's version, or the revision it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return info.Main.Version
}
