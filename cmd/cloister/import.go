package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"cloister/internal/instance"
	"cloister/internal/treecopy"
	"cloister/vfs"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// importer holds the flags of one import command.
type importer struct {
	std    streams
	flags  imageFlags
	to     string
	asJSON bool
}

func newImport(std streams) *cobra.Command {
	m := &importer{std: std}
	cmd := &cobra.Command{
		Use:   "import IMG SRC... --to PATH",
		Short: "Copy files of the host into an image",
		Long: "Copy files and trees of the host into an image, with all that build keeps, and replace files that are there;\n" +
			"directories are merged. If PATH is a directory of the image, each SRC goes into it under its own name; otherwise\n" +
			"the one SRC becomes PATH, whose parent must exist.\n\n" +
			"If the command fails or is interrupted, the image is as before. With --upper, changes go to that layer, an image of\n" +
			"its own (cloister mkfs makes one), and IMG is only read.",
		Example: "  cloister import --image-key app.key app.img hosts resolv.conf --to /etc\n" +
			"  cloister import --image-key app.key app.img config.v2.json --to /etc/config.json",
		Args: func(_ *cobra.Command, args []string) error {
			names := []string{"IMG", "SRC"}
			for range max(0, len(args)-2) {
				names = append(names, "SRC")
			}
			return exactArgs(names...)(nil, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error { return m.run(cmd, args[0], args[1:]) },
	}
	cmd.Flags().StringVar(&m.to, "to", "", "`PATH` in the image")
	cmd.Flags().BoolVar(&m.asJSON, "json", false, "print the result as one JSON object")
	m.flags.register(cmd)
	return cmd
}

// importResult is what import prints. Its JSON names are a contract.
type importResult struct {
	Image string `json:"image"`
	To    string `json:"to"`
	copyResult
}

func (m *importer) run(cmd *cobra.Command, image string, sources []string) error {
	if m.to == "" {
		return usage("--to is needed")
	}
	for i, source := range sources {
		abs, err := filepath.Abs(source)
		if err != nil {
			return fail(exitHost, source, err, "")
		}
		if abs == "/" {
			return usage("the root directory has no name to import it under")
		}
		sources[i] = abs
	}
	if err := m.flags.check(cmd, image); err != nil {
		return err
	}
	expected, err := m.expect(cmd.Context(), image, sources)
	if err != nil {
		return copyFailure(err, unchanged)
	}
	for _, dir := range []string{image, m.flags.upper} {
		if dir == "" {
			continue
		}
		if err := m.flags.keys.checkHeader(m.std, dir); err != nil {
			return err
		}
	}
	key, platform, err := m.flags.keys.load(cmd, m.std)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	i, err := instance.Open(ctx, instance.Config{Image: image, Upper: m.flags.upper, Held: true, Key: key, Platform: platform, MAC: m.flags.keys.mac, Unpinned: true})
	key.Wipe()
	if errors.Is(err, unix.EROFS) {
		return fail(exitImage, image, err, "give --upper a layer for what is new")
	}
	if err != nil {
		return imageFailure(image, err)
	}
	count := newTally(m.std)
	bar := treeProgress(m.std, expected)
	totals, err := m.copy(ctx, i, sources, treecopy.Config{
		Cred: i.View().Cred(), Replace: true, Progress: bar.add, Skipped: count.skipped,
	})
	bar.finish()
	if err != nil {
		if i.Abandon() {
			return copyFailure(err, "a part of the files is in the image already; run it again to complete it")
		}
		return copyFailure(err, unchanged)
	}
	// From here on a signal comes too late.
	if err := i.Close(context.WithoutCancel(ctx)); err != nil {
		return fail(exitImage, image, err, "the image is as before or has all of it")
	}
	result := importResult{Image: image, To: m.to, copyResult: count.result(totals)}
	if m.asJSON {
		return printJSON(m.std, result)
	}
	return output(fmt.Fprintf(m.std.out, "imported to %s:%s: %s\n", image, m.to, &result.copyResult))
}

const unchanged = "the image is unchanged"

// expect looks at the sources before anything is opened.
func (m *importer) expect(ctx context.Context, image string, sources []string) (sum treecopy.Totals, err error) {
	for _, dir := range []string{image, m.flags.upper} {
		if dir == "" {
			continue
		}
		target, err := resolve(dir)
		if err != nil {
			return sum, fail(exitImage, dir, err, "")
		}
		for _, source := range sources {
			if err := instance.Outside(source, target, dir); err != nil && !errors.Is(err, unix.ENOENT) {
				return sum, err
			}
		}
	}
	for _, source := range sources {
		t, err := treecopy.ScanEntry(ctx, source)
		if err != nil {
			return sum, err
		}
		sum.Add(t)
	}
	return sum, nil
}

// copy copies the sources.
func (m *importer) copy(ctx context.Context, i *instance.Instance, sources []string, cfg treecopy.Config) (sum treecopy.Totals, err error) {
	dir, name, err := m.target(ctx, i.View(), len(sources))
	if err != nil {
		return sum, err
	}
	defer dir.Put()
	cfg.Target = dir
	for _, source := range sources {
		as := name
		if as == "" {
			as = filepath.Base(source)
		}
		t, err := treecopy.CopyEntry(ctx, cfg, source, as)
		sum.Add(t)
		if err != nil {
			return sum, err
		}
	}
	return sum, nil
}

// target returns the directory of the image that sources go to, and the name that a single one
// gets there: "" for its own.
func (m *importer) target(ctx context.Context, view *vfs.View, sources int) (dir vfs.Path, name string, err error) {
	path := absolute(m.to)
	p, err := view.Walk(ctx, vfs.Path{}, path, vfs.WalkFollow)
	switch {
	case err == nil && p.IsDir():
		return p, "", nil
	case err == nil:
		p.Put()
		err = unix.ENOTDIR
	case !errors.Is(err, unix.ENOENT):
		return dir, "", pathFailure(m.to, err)
	}
	if sources > 1 || strings.HasSuffix(path, "/") {
		return dir, "", fail(exitPath, m.to, err, "several sources need a directory of the image")
	}
	dir, last, err := view.WalkParent(ctx, vfs.Path{}, path, 0)
	if err != nil {
		return dir, "", pathFailure(m.to, err)
	}
	return dir, last.Name, nil
}
