package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cloister/harness/internal/fuserun"
	"cloister/harness/internal/kernelrun"
	"cloister/harness/internal/libosrun"
	"cloister/harness/internal/replay"
	"cloister/internal/fuseserver"
)

// Exit statuses, a contract.
const (
	exitPassed = 0 // every script passed or was skipped
	exitFailed = 1 // some answer was not as expected
	exitBroken = 2 // a script cannot be read or run, or the command line is wrong
)

// execute is the program without its process: it returns the exit status. The
// end of ctx stops it behind the script that is running.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	status := exitPassed
	root := &cobra.Command{
		Use:               "harness",
		Short:             "Drive system calls from scripts in strace notation and judge the answers",
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.AddCommand(runCommand(stdout, &status))
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintf(stderr, "harness: %v\n", err)
		return exitBroken
	}
	return status
}

// options are the flags of harness run.
type options struct {
	on, root        string
	verbose         bool
	match           string
	timeout         time.Duration
	keep            bool
	set             []string
	json, tap       bool
	junit           string
	skipUnsupported bool
	below           string
}

func runCommand(stdout io.Writer, status *int) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "run [flags] script.txt...",
		Short: "Run scripts; a directory stands for the *.txt files in it",
		Long: `Run scripts in strace notation and compare every answer with the one that the
script expects. A directory stands for the *.txt files in it.

Exit status: 0 all passed, 1 some failed, 2 a script that cannot be read or run.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.below != "" && (!path.IsAbs(o.below) || path.Clean(o.below) == "/") {
				return fmt.Errorf("--below %s: an absolute path other than / expected", o.below)
			}
			if o.timeout <= 0 {
				return fmt.Errorf("--timeout %v: a time above zero expected", o.timeout)
			}
			rep, done, err := o.reporter(stdout)
			if err != nil {
				return err
			}
			*status, err = o.run(cmd.Context(), args, rep, stdout)
			return errors.Join(err, done())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.on, "on", "libos", "where to run: libos, linux (the real kernel), or fuse (the kernel over our FUSE server); the last two need root")
	f.StringVar(&o.root, "root", "ramfs", "`type` of the root file system of the library OS: "+strings.Join(libosrun.Roots, ", "))
	f.BoolVarP(&o.verbose, "verbose", "v", false, "print every call with its answer; the output is a script itself")
	f.StringVar(&o.match, "run", "", "run only scripts whose path matches this `regexp`")
	f.DurationVar(&o.timeout, "timeout", time.Minute, "give up a script after this time")
	f.BoolVar(&o.keep, "keep", false, "leave $HOST behind and print where it is")
	f.StringArrayVar(&o.set, "set", nil, "set a variable, `NAME=value`; may be repeated")
	f.BoolVar(&o.json, "json", false, "print one JSON object a script")
	f.BoolVar(&o.tap, "tap", false, "print TAP version 14")
	f.StringVar(&o.junit, "junit", "", "write JUnit XML to this `file` as well")
	f.BoolVar(&o.skipUnsupported, "skip-unsupported", false, "count file calls that do not exist here instead of failing")
	f.StringVar(&o.below, "below", "", "of a recorded trace, replay only what lies below this `directory`")
	cmd.MarkFlagsMutuallyExclusive("json", "tap", "verbose") // one form on standard output
	return cmd
}

// system returns a fresh System of the kind that --on names, and the
// conditions that hold there.
func (o *options) system() (replay.System, map[string]bool, error) {
	if o.root != "" && o.root != "ramfs" && o.on != "libos" {
		return nil, nil, fmt.Errorf("--root=%s: only with --on=libos", o.root)
	}
	if o.root != "" && !slices.Contains(libosrun.Roots, o.root) {
		return nil, nil, fmt.Errorf("--root=%s: one of %s expected", o.root, strings.Join(libosrun.Roots, ", "))
	}
	conds := map[string]bool{"libos": false, "linux": false, "fuse": false, "root": os.Geteuid() == 0}
	switch o.on {
	case "libos":
		conds["libos"] = true
		return &libosrun.System{Root: o.root}, conds, nil
	case "linux":
		if os.Geteuid() != 0 {
			return nil, nil, errors.New("--on=linux needs root")
		}
		conds["linux"] = true
		return &kernelrun.System{}, conds, nil
	case "fuse":
		if os.Geteuid() != 0 {
			return nil, nil, errors.New("--on=fuse needs root")
		}
		if err := fuseserver.Check(); err != nil {
			return nil, nil, fmt.Errorf("--on=fuse: %w", err)
		}
		conds["fuse"] = true
		return &fuserun.System{}, conds, nil
	}
	return nil, nil, fmt.Errorf("--on=%s: libos, linux or fuse expected", o.on)
}

// variables reads --set.
func (o *options) variables() (map[string]string, error) {
	vars := map[string]string{"KEY": exampleKey}
	for _, s := range o.set {
		name, value, ok := strings.Cut(s, "=")
		if !ok || !variableName.MatchString(name) || name == "HOST" {
			return nil, fmt.Errorf("--set %s: NAME=value expected, NAME in capitals and not HOST", name)
		}
		vars[name] = value
	}
	return vars, nil
}

var variableName = regexp.MustCompile(`^[A-Z_][A-Z0-9_]*$`)

// exampleKey is $KEY unless --set says otherwise. It protects nothing.
const exampleKey = "c7-32-b3-ed-44-df-ec-7b-25-2d-9a-32-38-8d-58-61"

// scripts returns the paths of the scripts that args and --run choose.
func (o *options) scripts(args []string) ([]string, error) {
	match, err := regexp.Compile(o.match)
	if err != nil {
		return nil, fmt.Errorf("--run: %w", err)
	}
	var list []string
	for _, arg := range args {
		paths := []string{arg}
		if info, err := os.Stat(arg); err == nil && info.IsDir() {
			if paths, err = filepath.Glob(filepath.Join(arg, "*.txt")); err != nil {
				return nil, err
			}
		}
		for _, p := range paths {
			if match.MatchString(p) {
				list = append(list, p)
			}
		}
	}
	if len(list) == 0 {
		return nil, errors.New("no script to run")
	}
	return list, nil
}
