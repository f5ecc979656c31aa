package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"cloister/enclave"
	"cloister/fs/sefs"
	"cloister/mountopt"

	"github.com/spf13/cobra"
)

// scrubber holds the flags of one scrub command.
type scrubber struct {
	std    streams
	keys   keyFlags
	asJSON bool
}

func newScrub(std streams) *cobra.Command {
	s := &scrubber{std: std}
	cmd := &cobra.Command{
		Use:   "scrub IMG",
		Short: "Verify every block of an image",
		Long: "Read an image in full and verify every block and the tree that holds them together, and say which files are\n" +
			"damaged. Nothing is written. cloister fsck checks names, links and attributes as well.",
		Example: "  cloister scrub --image-key app.key app.img",
		Args:    exactArgs("IMG"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.keys.use(cmd, std, args[0], func(ctx context.Context, key mountopt.Key, p enclave.Platform) error {
				r, err := checkImage(ctx, std, args[0], sefs.CheckConfig{
					OpenConfig: sefs.OpenConfig{Key: key, Platform: p, MAC: s.keys.mac, Unpinned: true}, Depth: sefs.CheckBlocks,
				})
				if err != nil {
					return err
				}
				if err := r.show(std, s.asJSON); err != nil || r.Clean {
					return err
				}
				return &failure{code: exitImage, reason: "damaged", quiet: true}
			})
		},
	}
	cmd.Flags().BoolVar(&s.asJSON, "json", false, "print the result as one JSON object")
	s.keys.register(cmd)
	s.keys.registerMAC(cmd)
	return cmd
}

// use loads the keys of an image and calls do with them.
func (k *keyFlags) use(cmd *cobra.Command, std streams, image string, do func(ctx context.Context, key mountopt.Key, p enclave.Platform) error) error {
	if err := k.check(cmd); err != nil {
		return err
	}
	if err := isDir(image); err != nil {
		return err
	}
	if err := k.checkHeader(std, image); err != nil {
		return err
	}
	key, platform, err := k.load(cmd, std)
	if err != nil {
		return err
	}
	defer key.Wipe()
	return do(cmd.Context(), key, platform)
}

// checkResult is what scrub and fsck print. Its JSON names are a contract.
type checkResult struct {
	Image    string         `json:"image"`
	Clean    bool           `json:"clean"`
	Bytes    int64          `json:"verified_bytes"` // on the host
	Inodes   int64          `json:"inodes"`
	Orphans  int64          `json:"orphans"` // deleted files that the next mount for writing frees
	Problems []checkProblem `json:"problems"`
	Omitted  int64          `json:"omitted"` // problems beyond those listed
	Seconds  float64        `json:"seconds"`

	Repair  *repairResult  `json:"repair,omitempty"`  // fsck --repair
	Salvage *salvageResult `json:"salvage,omitempty"` // fsck --salvage
}

type checkProblem struct {
	Kind   sefs.ProblemKind `json:"kind"`
	Paths  []string         `json:"paths"` // of the files that it affects, as far as known
	Inode  uint64           `json:"inode,omitempty"`
	Offset int64            `json:"offset,omitempty"`
	Bytes  int64            `json:"bytes,omitempty"` // of the file at offset that cannot be read
	Text   string           `json:"text"`
}

// A checkBar shows how much of an image has been verified.
type checkBar struct {
	std   streams
	image string
	bar   *progress
	last  int64
}

func (b *checkBar) set(done, total int64) {
	if b.bar == nil || done < b.last { // it begins, or begins again
		b.finish()
		b.bar, b.last = newProgress(b.std, total, b.image), 0
	}
	b.bar.add(0, done-b.last)
	b.last = done
}

func (b *checkBar) finish() {
	if b.bar != nil {
		b.bar.finish()
	}
}

// checkImage checks an image and draws a bar meanwhile.
func checkImage(ctx context.Context, std streams, image string, cfg sefs.CheckConfig) (*checkResult, error) {
	start := time.Now()
	bar := checkBar{std: std, image: image}
	cfg.Progress = bar.set
	report, err := sefs.Check(ctx, image, cfg)
	bar.finish()
	if err != nil {
		return nil, imageFailure(image, err)
	}
	return newCheckResult(image, report, start), nil
}

func newCheckResult(image string, report *sefs.CheckReport, start time.Time) *checkResult {
	return &checkResult{
		Image: image, Clean: report.Clean(), Bytes: report.Bytes, Inodes: report.Inodes, Orphans: report.Orphans,
		Problems: newProblems(report), Omitted: report.Omitted, Seconds: time.Since(start).Round(time.Millisecond).Seconds(),
	}
}

func newProblems(report *sefs.CheckReport) []checkProblem {
	list := []checkProblem{}
	for _, p := range report.Problems {
		if p.Paths == nil {
			p.Paths = []string{}
		}
		list = append(list, checkProblem{p.Kind, p.Paths, p.Ino, p.Offset, p.Bytes, p.Text})
	}
	return list
}

// show prints one line for each problem and a summary, or one JSON object.
func (r *checkResult) show(std streams, asJSON bool) error {
	if asJSON {
		return printJSON(std, r)
	}
	for _, p := range r.Problems {
		if err := output(fmt.Fprintln(std.out, p.line(r.Image))); err != nil {
			return err
		}
	}
	state := "clean"
	if !r.Clean {
		state = counted(int64(len(r.Problems))+r.Omitted, "problem", "problems")
		if r.Omitted > 0 {
			state += fmt.Sprintf(" (%d not listed)", r.Omitted)
		}
	}
	err := output(fmt.Fprintf(std.out, "%s: %s; %s verified, %d inodes, in %.1f s\n", r.Image, state, size(r.Bytes), r.Inodes, r.Seconds))
	if err == nil && r.Repair != nil && !r.Clean {
		err = r.Repair.show(std, r.Image)
	}
	return err
}

const pathsInLine = 8 // of one problem; --json has all

func (p *checkProblem) line(image string) string {
	var b strings.Builder
	for i, path := range p.Paths {
		if i == pathsInLine {
			fmt.Fprintf(&b, " and %d more", len(p.Paths)-i)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(printable(path))
	}
	switch {
	case len(p.Paths) > 0:
	case p.Inode != 0:
		fmt.Fprintf(&b, "inode %d", p.Inode)
	default:
		b.WriteString(printable(image))
	}
	if p.Bytes > 0 {
		fmt.Fprintf(&b, ": %d bytes at %d cannot be read", p.Bytes, p.Offset)
	}
	return b.String() + ": " + p.Text
}
