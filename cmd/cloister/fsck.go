package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"cloister/enclave"
	"cloister/fs/sefs"
	"cloister/internal/instance"
	"cloister/internal/treecopy"
	"cloister/mountopt"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// Exit codes of fsck, those of fsck(8).
const (
	fsckCorrected   = 1  // problems were found and mended
	fsckUncorrected = 4  // problems were found and are left; added to fsckCorrected if others were mended
	fsckFailed      = 8  // the image could not be checked
	fsckUsage       = 16 // the command line is wrong
	fsckCancelled   = 32 // ended by a signal
)

// fsckCodes is the value of the annotation usageCode of a command whose exit codes are
// those of fsck(8).
const fsckCodes = "fsck"

// fsckCode translates an exit code of the other commands.
func fsckCode(code int) int {
	switch code {
	case exitUsage:
		return fsckUsage
	case exitInterrupted:
		return fsckCancelled
	case exitInternal:
		return code
	}
	return fsckFailed
}

// fscker holds the flags of one fsck command.
type fscker struct {
	std     streams
	keys    keyFlags
	salvage string
	repair  bool
	asJSON  bool
}

func newFsck(std streams) *cobra.Command {
	f := &fscker{std: std}
	cmd := &cobra.Command{
		Use:   "fsck IMG",
		Short: "Check an image, repair it, and save what can be read",
		Long: "Verify every block of an image, as cloister scrub does, and check that names, links, sizes, attributes and the\n" +
			"record of free space fit together. Without --repair the image is not changed.\n\n" +
			"With --repair, what is wrong is mended without inventing anything: what is behind damaged parts of the tree is cut off,\n" +
			"files without a name go to /lost+found, and blocks that are lost stay unreadable. It is one commit: after an\n" +
			"interruption the image is as before. Save what can be read first; --salvage does it before --repair.\n\n" +
			"With --salvage everything that can be read is copied to DIR, which must be missing or empty, as cloister extract does;\n" +
			"what cannot be read is listed, and is a hole in a file of which other parts can.\n\n" +
			"The exit code is that of fsck(8): 0 clean, 1 all problems were mended, 4 problems are left, 5 some were mended and some are\n" +
			"left, 8 the image could not be checked, 16 the command line is wrong, 32 interrupted.",
		Example: "  cloister fsck --image-key app.key app.img\n" +
			"  cloister fsck --image-key app.key app.img --salvage saved\n" +
			"  cloister fsck --image-key app.key app.img --repair",
		Args:        exactArgs("IMG"),
		Annotations: map[string]string{usageCode: fsckCodes},
		RunE:        f.run,
	}
	cmd.Flags().StringVar(&f.salvage, "salvage", "", "`DIR` to copy what can be read to")
	cmd.Flags().BoolVar(&f.repair, "repair", false, "mend what is wrong")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print the result as one JSON object")
	f.keys.register(cmd)
	f.keys.registerMAC(cmd)
	return cmd
}

func (f *fscker) run(cmd *cobra.Command, args []string) error {
	if cmd.Flags().Changed("salvage") && f.salvage == "" {
		return usage("--salvage is empty")
	}
	image := args[0]
	return f.keys.use(cmd, f.std, image, func(ctx context.Context, key mountopt.Key, p enclave.Platform) error {
		if f.salvage != "" {
			if err := outsideImages(f.salvage, image); err != nil {
				return err
			}
		}
		cfg := sefs.CheckConfig{OpenConfig: sefs.OpenConfig{Key: key, Platform: p, MAC: f.keys.mac, Unpinned: true}, Depth: sefs.CheckTree}
		var saved *salvageResult
		var failed error
		if f.salvage != "" {
			saved, failed = f.save(ctx, image, key, p)
			if failed != nil && f.repair {
				return failed // nothing is changed that was to be saved
			}
		}
		check := checkImage
		if f.repair {
			check = repairImage
		}
		r, err := check(ctx, f.std, image, cfg)
		if err != nil {
			return err
		}
		r.Salvage = saved
		if err := r.show(f.std, f.asJSON); err != nil {
			return err
		}
		if failed != nil {
			return failed
		}
		if saved != nil && !f.asJSON {
			if err := output(fmt.Fprintf(f.std.out, "saved to %s: %s; %s could not be read\n", saved.Dest, &saved.copyResult, counted(int64(len(saved.Unreadable)), "place", "places"))); err != nil {
				return err
			}
		}
		if code := r.fsckCode(); code != exitOK {
			return &failure{code: code, reason: "problems", quiet: true}
		}
		return nil
	})
}

// fsckCode is the exit code that says what was found and what was done.
func (r *checkResult) fsckCode() int {
	switch {
	case r.Clean:
		return exitOK
	case r.Repair == nil || !r.Repair.Changed:
		return fsckUncorrected
	case len(r.Repair.Left) > 0:
		return fsckCorrected + fsckUncorrected
	}
	return fsckCorrected
}

// repairResult is what fsck --repair adds to the result. Its JSON names are a contract.
type repairResult struct {
	Changed     bool           `json:"changed"`
	Changes     []repairChange `json:"changes"`
	Omitted     int64          `json:"omitted"` // changes beyond those listed
	Left        []checkProblem `json:"left"`    // found after the repair
	LeftOmitted int64          `json:"left_omitted"`
}

type repairChange struct {
	Paths []string `json:"paths"`
	Inode uint64   `json:"inode,omitempty"`
	Text  string   `json:"text"`
}

// repairImage is checkImage that mends.
func repairImage(ctx context.Context, std streams, image string, cfg sefs.CheckConfig) (*checkResult, error) {
	start := time.Now()
	bar := checkBar{std: std, image: image}
	cfg.Progress = bar.set
	report, err := sefs.Repair(ctx, image, cfg)
	bar.finish()
	if errors.Is(err, unix.EROFS) {
		return nil, fail(exitImage, image, err, "what cannot be changed cannot be repaired: save its files with --salvage, and build it anew")
	}
	switch {
	case err != nil && report != nil:
		code := exitImage
		if errors.Is(err, context.Canceled) {
			code = exitInterrupted
		}
		return nil, fail(code, image, err, "check it again with cloister fsck")
	case err != nil:
		if f, ok := errors.AsType[*failure](imageFailure(image, err)); ok {
			f.next = cmp.Or(f.next, "the image is as it was")
			return nil, f
		}
		return nil, err
	}
	r := newCheckResult(image, report.Found, start)
	r.Repair = &repairResult{Changed: report.Left != nil, Changes: []repairChange{}, Omitted: report.Omitted, Left: r.Problems, LeftOmitted: r.Omitted}
	if report.Left == nil {
		return r, nil
	}
	r.Repair.Left, r.Repair.LeftOmitted = newProblems(report.Left), report.Left.Omitted
	for _, c := range report.Changes {
		if c.Paths == nil {
			c.Paths = []string{}
		}
		r.Repair.Changes = append(r.Repair.Changes, repairChange{c.Paths, c.Ino, c.Text})
	}
	return r, nil
}

// show prints a line for each change and each problem that is left.
func (r *repairResult) show(std streams, image string) error {
	for _, c := range r.Changes {
		line := checkProblem{Paths: c.Paths, Inode: c.Inode, Text: c.Text}
		if err := output(fmt.Fprintln(std.out, "mended: "+line.line(image))); err != nil {
			return err
		}
	}
	for _, p := range r.Left {
		if err := output(fmt.Fprintln(std.out, "left: "+p.line(image))); err != nil {
			return err
		}
	}
	state := counted(int64(len(r.Changes))+r.Omitted, "change", "changes")
	if !r.Changed {
		state = "nothing was changed"
	}
	return output(fmt.Fprintf(std.out, "%s: %s, %s left\n", image, state, counted(int64(len(r.Left))+r.LeftOmitted, "problem", "problems")))
}

// salvageResult is what fsck --salvage adds to the result. Its JSON names are a contract.
type salvageResult struct {
	Dest string `json:"dest"`
	copyResult
	Unreadable []unreadable `json:"unreadable"`
}

// unreadable is what is missing in the copy.
type unreadable struct {
	Path   string `json:"path"`
	Offset int64  `json:"offset,omitempty"`
	Bytes  int64  `json:"bytes,omitempty"` // of the file; 0: all of it, part of a directory, or attributes
	Text   string `json:"text"`
}

// save copies what can be read.
func (f *fscker) save(ctx context.Context, image string, key mountopt.Key, p enclave.Platform) (*salvageResult, error) {
	flags := imageFlags{keys: f.keys}
	count := newTally(f.std)
	bar := newProgress(f.std, -1, f.salvage)
	result := &salvageResult{Dest: f.salvage, Unreadable: []unreadable{}}
	err := flags.readWith(ctx, image, key, p, func(ctx context.Context, i *instance.Instance) error {
		totals, err := extractTo(ctx, treecopy.ExtractConfig{
			Source: i.Root(), Cred: i.View().Cred(), Progress: bar.add, Skipped: count.skipped,
			Unreadable: func(path string, off, n int64, err error) {
				result.Unreadable = append(result.Unreadable, unreadable{path, off, n, err.Error()})
				if !f.asJSON {
					fmt.Fprintf(f.std.err, "cloister: warning: %s: not saved%s: %v\n", printable(path), where(off, n), err)
				}
			},
		}, f.salvage, "")
		if err != nil {
			return extractFailure(err)
		}
		result.copyResult = count.result(totals)
		return nil
	})
	bar.finish()
	if err != nil {
		return nil, err
	}
	return result, nil
}

// where names n bytes at off; nothing for n = 0.
func where(off, n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", %d bytes at %d", n, off)
}
