package main

import (
	"bufio"
	"context"
	"fmt"

	"cloister/internal/instance"
	"cloister/internal/treecopy"
	"cloister/vfs"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func newTree(std streams) *cobra.Command {
	var flags imageFlags
	var t treePrinter
	cmd := &cobra.Command{
		Use:   "tree IMG [PATH]",
		Short: "Show a directory of an image and all below it",
		Long: "Show a directory of an image and all below it, names in the order of their bytes. Names with control characters\n" +
			"are quoted.",
		Example: "  cloister tree --image-key app.key app.img /etc",
		Args:    rangeArgs(1, "IMG", "PATH"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("level") && t.level < 1 {
				return usage("--level is a number from 1")
			}
			return flags.read(cmd, std, args[0], func(ctx context.Context, i *instance.Instance) error {
				t.view, t.out = i.View(), bufio.NewWriter(std.out)
				return t.print(ctx, pathArg(args))
			})
		},
	}
	cmd.Flags().IntVarP(&t.level, "level", "L", 0, "show at most `N` levels of directories")
	flags.register(cmd)
	return cmd
}

// treePrinter prints a tree as tree(1) does.
type treePrinter struct {
	level       int // 0: all
	view        *vfs.View
	out         *bufio.Writer
	dirs, files int64
}

func (t *treePrinter) print(ctx context.Context, path string) error {
	p, err := t.view.Walk(ctx, vfs.Path{}, absolute(path), vfs.WalkFollow|vfs.WalkDirectory)
	if err != nil {
		return pathFailure(path, err)
	}
	defer p.Put()
	fmt.Fprintln(t.out, printable(path))
	if err := t.dir(ctx, p, path, "", 1); err != nil {
		return err
	}
	fmt.Fprintf(t.out, "\n%s, %s\n", counted(t.dirs, "directory", "directories"), counted(t.files, "file", "files"))
	return output(0, t.out.Flush())
}

// dir prints the entries of a directory, each line with prefix in front.
func (t *treePrinter) dir(ctx context.Context, dir vfs.Path, path, prefix string, level int) error {
	entries, err := treecopy.ReadDir(ctx, t.view.Cred(), dir)
	if err != nil {
		return pathFailure(path, err)
	}
	for i, e := range entries {
		if interrupted(ctx) {
			return ctx.Err()
		}
		branch, below := "├── ", "│   "
		if i == len(entries)-1 {
			branch, below = "└── ", "    "
		}
		p, err := vfs.Lookup(ctx, t.view.Cred(), dir, e.Name)
		if err != nil {
			return pathFailure(join(path, e.Name), err)
		}
		err = t.entry(ctx, p, e.Name, join(path, e.Name), prefix, branch, below, level)
		p.Put()
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *treePrinter) entry(ctx context.Context, p vfs.Path, name, path, prefix, branch, below string, level int) error {
	line := prefix + branch + printable(name)
	if p.Kind() == unix.S_IFLNK {
		target, err := vfs.Readlink(ctx, p)
		if err != nil {
			return pathFailure(path, err)
		}
		line += " -> " + printable(target)
	}
	if _, err := fmt.Fprintln(t.out, line); err != nil {
		return output(0, err)
	}
	if !p.IsDir() {
		t.files++
		return nil
	}
	t.dirs++
	if level == t.level {
		return nil
	}
	return t.dir(ctx, p, path, prefix+below, level+1)
}

func counted(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
