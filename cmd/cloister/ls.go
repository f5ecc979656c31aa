package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"
	"time"

	"cloister/internal/instance"
	"cloister/internal/treecopy"
	"cloister/vfs"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func newLs(std streams) *cobra.Command {
	var flags imageFlags
	var l lister
	cmd := &cobra.Command{
		Use:     "ls IMG [PATH]",
		Short:   "List a directory of an image",
		Long:    "List a directory of an image, names in the order of their bytes. Names with control characters are quoted.",
		Args:    rangeArgs(1, "IMG", "PATH"),
		Example: "  cloister ls -l --image-key app.key app.img /etc",
		RunE: func(cmd *cobra.Command, args []string) error {
			return flags.read(cmd, std, args[0], func(ctx context.Context, i *instance.Instance) error {
				l.view, l.out = i.View(), bufio.NewWriter(std.out)
				if err := l.list(ctx, pathArg(args)); err != nil {
					return err
				}
				return output(0, l.out.Flush())
			})
		},
	}
	cmd.Flags().BoolVarP(&l.long, "long", "l", false, "show mode, links, owner, size and time")
	cmd.Flags().BoolVarP(&l.recursive, "recursive", "R", false, "list directories below as well")
	flags.register(cmd)
	return cmd
}

// lister prints listings as ls(1) does.
type lister struct {
	long, recursive bool
	view            *vfs.View
	out             *bufio.Writer
}

// list lists the directory at path, or shows the file there.
func (l *lister) list(ctx context.Context, path string) error {
	p, err := l.view.Walk(ctx, vfs.Path{}, absolute(path), vfs.WalkFollow)
	if err != nil {
		return pathFailure(path, err)
	}
	defer p.Put()
	if _, ok := p.Inode().(vfs.Dir); !ok {
		if l.long {
			// A link named on the command line is shown itself, as ls -l does.
			if link, err := l.view.Walk(ctx, vfs.Path{}, absolute(path), 0); err == nil {
				defer link.Put()
				p = link
			}
		}
		return l.entry(ctx, p, path)
	}
	return l.dir(ctx, p, path, l.recursive)
}

func (l *lister) dir(ctx context.Context, dir vfs.Path, path string, heading bool) error {
	if interrupted(ctx) {
		return ctx.Err()
	}
	entries, err := treecopy.ReadDir(ctx, l.view.Cred(), dir)
	if err != nil {
		return pathFailure(path, err)
	}
	if heading {
		fmt.Fprintf(l.out, "%s:\n", printable(path))
	}
	var below []string
	for _, e := range entries {
		if !l.long {
			fmt.Fprintln(l.out, printable(e.Name))
		} else if err := l.named(ctx, dir, e.Name, join(path, e.Name)); err != nil {
			return err
		}
		if e.Type == unix.DT_DIR {
			below = append(below, e.Name)
		}
	}
	if !l.recursive {
		return nil
	}
	for _, name := range below {
		fmt.Fprintln(l.out)
		sub, err := vfs.Lookup(ctx, l.view.Cred(), dir, name)
		if err != nil {
			return pathFailure(join(path, name), err)
		}
		err = l.dir(ctx, sub, join(path, name), true)
		sub.Put()
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *lister) named(ctx context.Context, dir vfs.Path, name, path string) error {
	p, err := vfs.Lookup(ctx, l.view.Cred(), dir, name)
	if err != nil {
		return pathFailure(path, err)
	}
	defer p.Put()
	return l.line(ctx, p, name, path)
}

func (l *lister) entry(ctx context.Context, p vfs.Path, path string) error {
	if !l.long {
		fmt.Fprintln(l.out, printable(path))
		return nil
	}
	return l.line(ctx, p, path, path)
}

// line prints one line of ls -l. Times are in UTC, for the image has no time zone.
func (l *lister) line(ctx context.Context, p vfs.Path, name, path string) error {
	a, err := vfs.Getattr(ctx, p, unix.STATX_BASIC_STATS)
	if err != nil {
		return pathFailure(path, err)
	}
	what := fmt.Sprint(a.Size)
	suffix := ""
	switch a.Mode & unix.S_IFMT {
	case unix.S_IFCHR, unix.S_IFBLK:
		what = fmt.Sprintf("%d, %d", unix.Major(a.Rdev), unix.Minor(a.Rdev))
	case unix.S_IFLNK:
		target, err := vfs.Readlink(ctx, p)
		if err != nil {
			return pathFailure(path, err)
		}
		suffix = " -> " + printable(target)
	}
	mtime := time.Unix(a.Mtime.Unix()).UTC().Format("2006-01-02 15:04:05")
	fmt.Fprintf(l.out, "%s %3d %5d %5d %12s %s %s%s\n", modeString(a.Mode), a.Nlink, a.UID, a.GID, what, mtime, printable(name), suffix)
	return nil
}

// pathArg is the optional argument PATH.
func pathArg(args []string) string {
	if len(args) > 1 {
		return args[1]
	}
	return "/"
}

func join(dir, name string) string { return strings.TrimSuffix(dir, "/") + "/" + name }

// printable quotes a name that could confuse a terminal.
func printable(name string) string {
	for _, r := range name {
		if r < 0x20 || r == 0x7f || r == '\uFFFD' || r >= 0x80 && r < 0xa0 {
			return fmt.Sprintf("%q", name)
		}
	}
	return name
}

// modeString shows a mode as ls -l does.
func modeString(mode uint32) string {
	const rwx = "rwxrwxrwx"
	b := []byte("?---------")
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		b[0] = '-'
	case unix.S_IFDIR:
		b[0] = 'd'
	case unix.S_IFLNK:
		b[0] = 'l'
	case unix.S_IFCHR:
		b[0] = 'c'
	case unix.S_IFBLK:
		b[0] = 'b'
	case unix.S_IFIFO:
		b[0] = 'p'
	case unix.S_IFSOCK:
		b[0] = 's'
	}
	for i := range rwx {
		if mode&(1<<(8-i)) != 0 {
			b[1+i] = rwx[i]
		}
	}
	for _, s := range []struct {
		bit uint32
		at  int
		c   byte
	}{{unix.S_ISUID, 3, 's'}, {unix.S_ISGID, 6, 's'}, {unix.S_ISVTX, 9, 't'}} {
		if mode&s.bit == 0 {
			continue
		}
		if b[s.at] == '-' {
			b[s.at] = s.c - 'a' + 'A'
		} else {
			b[s.at] = s.c
		}
	}
	return string(b)
}
