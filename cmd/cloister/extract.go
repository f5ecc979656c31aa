package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"cloister/internal/instance"
	"cloister/internal/treecopy"
	"cloister/vfs"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// extractor holds the flags of one extract command.
type extractor struct {
	std    streams
	flags  imageFlags
	tar    string
	force  bool
	asJSON bool
}

func newExtract(std streams) *cobra.Command {
	x := &extractor{std: std}
	cmd := &cobra.Command{
		Use:     "extract IMG[:PATH] DEST",
		Aliases: []string{"cp"},
		Short:   "Copy files of an image to the host",
		Long: "Copy a file or a tree of an image to the host, or with -o into a tar archive (- is standard output), with modes,\n" +
			"owners, times, links, holes, special files and attributes, as far as rights allow.\n\n" +
			"The contents of a directory become those of the directory DEST, which must be missing or empty; a file\n" +
			"becomes the file DEST, or keeps its name in the directory DEST. With --force files in DEST are replaced, and\n" +
			"directories merged. Nothing is written outside DEST, wherever symbolic links lead.",
		Example: "  cloister extract --image-key app.key app.img rootfs\n" +
			"  cloister cp --image-key app.key app.img:/etc/hosts .\n" +
			"  cloister extract --image-key app.key app.img:/etc -o etc.tar.gz",
		Args: rangeArgs(1, "IMG[:PATH]", "DEST"),
		RunE: x.run,
	}
	f := cmd.Flags()
	f.StringVarP(&x.tar, "output", "o", "", "`FILE` to write a tar archive to, packed if it ends in .gz, .tgz, .zst or .tzst; - for standard output")
	f.BoolVar(&x.force, "force", false, "replace what exists")
	f.BoolVar(&x.asJSON, "json", false, "print the result as one JSON object")
	x.flags.register(cmd)
	return cmd
}

// extractResult is what extract prints. Its JSON names are a contract.
type extractResult struct {
	Source string `json:"source"`
	Dest   string `json:"dest"`
	copyResult
}

func (x *extractor) run(cmd *cobra.Command, args []string) error {
	image, inside := splitImage(args[0])
	dest := x.tar
	switch {
	case cmd.Flags().Changed("output") && x.tar == "":
		return usage("--output is empty")
	case x.tar != "" && len(args) > 1:
		return usage("DEST and --output cannot both be given")
	case x.tar == "" && len(args) < 2:
		return usage("missing argument DEST, or --output")
	case x.tar == "-" && x.asJSON:
		return usage("standard output cannot hold both the archive and --json")
	case x.tar == "":
		dest = args[1]
	}
	if f, ok := x.std.out.(*os.File); ok && x.tar == "-" && isTerminal(f) {
		return usage("an archive has no place on a terminal")
	}
	return x.flags.read(cmd, x.std, image, func(ctx context.Context, i *instance.Instance) error {
		p, err := i.View().Walk(ctx, vfs.Path{}, inside, vfs.WalkFollow)
		if err != nil {
			return pathFailure(inside, err)
		}
		defer p.Put()
		return x.copy(ctx, i, p, image, inside, dest)
	})
}

// splitImage splits IMG[:PATH]. Colons may be part of a directory's name: IMG is the
// whole argument if that exists, else the shortest beginning that does.
func splitImage(arg string) (image, inside string) {
	exists := func(path string) bool {
		_, err := os.Stat(path)
		return err == nil
	}
	if exists(arg) {
		return arg, "/"
	}
	for i := range len(arg) {
		if arg[i] == ':' && exists(arg[:i]) {
			return arg[:i], absolute(arg[i+1:])
		}
	}
	image, inside, _ = strings.Cut(arg, ":")
	return image, absolute(inside)
}

func (x *extractor) copy(ctx context.Context, i *instance.Instance, p vfs.Path, image, inside, dest string) error {
	count := newTally(x.std)
	bar := newProgress(x.std, -1, inside)
	cfg := treecopy.ExtractConfig{
		Source: p, Cred: i.View().Cred(), Replace: x.force, Progress: bar.add, Skipped: count.skipped,
	}
	name := path.Base(path.Clean(inside))
	var totals treecopy.Totals
	var err error
	switch {
	case x.tar == "-":
		totals, err = writeTar(ctx, cfg, x.std.out, "standard output", "", name)
	case x.tar != "":
		totals, err = x.tarFile(ctx, cfg, name)
	default:
		if err = outsideImages(dest, image, x.flags.upper); err == nil {
			totals, err = extractTo(ctx, cfg, dest, name)
		}
	}
	bar.finish()
	if err != nil {
		return extractFailure(err)
	}
	result := extractResult{Source: image + ":" + inside, Dest: dest, copyResult: count.result(totals)}
	switch {
	case x.tar == "-":
		return nil
	case x.asJSON:
		return printJSON(x.std, result)
	}
	return output(fmt.Fprintf(x.std.out, "extracted %s to %s: %s\n", result.Source, dest, &result.copyResult))
}

func extractFailure(err error) error {
	e, ok := errors.AsType[*treecopy.Error](err)
	if _, known := errors.AsType[*failure](err); known {
		return err
	}
	if ok && (errors.Is(err, os.ErrExist) || errors.Is(err, unix.ENOTEMPTY)) {
		return fail(exitHost, printable(e.Path), e.Err, "choose another place, or use --force to replace what is there")
	}
	return copyFailure(err, "")
}

// writeTar writes an archive, packed as the ending of file says.
func writeTar(ctx context.Context, cfg treecopy.ExtractConfig, w io.Writer, to, file, name string) (totals treecopy.Totals, err error) {
	packed, err := treecopy.Compress(w, file)
	if err != nil {
		return totals, &treecopy.Error{Op: "write", Path: to, Err: err}
	}
	totals, err = treecopy.WriteTar(ctx, cfg, packed, to, name)
	if e := packed.Close(); e != nil && err == nil {
		err = &treecopy.Error{Op: "write", Path: to, Err: e}
	}
	return totals, err
}

func (x *extractor) tarFile(ctx context.Context, cfg treecopy.ExtractConfig, name string) (totals treecopy.Totals, err error) {
	if _, err := os.Lstat(x.tar); err == nil && !x.force {
		return totals, &treecopy.Error{Op: "create", Path: x.tar, Err: unix.EEXIST}
	}
	f, err := createFile(x.tar)
	if err != nil {
		return totals, &treecopy.Error{Op: "create", Path: x.tar, Err: err}
	}
	defer f.discard()
	if totals, err = writeTar(ctx, cfg, f, x.tar, x.tar, name); err != nil {
		return totals, err
	}
	if err := f.commit(existing(x.force)); err != nil {
		return totals, &treecopy.Error{Op: "create", Path: x.tar, Err: err}
	}
	return totals, nil
}

// outsideImages refuses to write into the directories that are read.
func outsideImages(dest string, images ...string) error {
	at, err := resolve(dest)
	if err != nil {
		return fail(exitHost, dest, err, "")
	}
	for _, image := range images {
		if image == "" {
			continue
		}
		dir, err := resolve(image)
		if err != nil {
			return fail(exitImage, image, err, "")
		}
		if instance.Inside(dir, at) {
			return fail(exitHost, dest, fmt.Errorf("lies inside %s", image), "choose another place")
		}
	}
	return nil
}
