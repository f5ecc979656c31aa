package main

import (
	"context"
	"errors"
	"strings"

	"cloister/internal/instance"
	"cloister/vfs"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func newCat(std streams) *cobra.Command {
	var flags imageFlags
	cmd := &cobra.Command{
		Use:     "cat IMG PATH",
		Short:   "Write a file of an image to standard output",
		Args:    exactArgs("IMG", "PATH"),
		Example: "  cloister cat --image-key app.key app.img /etc/hostname",
		RunE: func(cmd *cobra.Command, args []string) error {
			return flags.read(cmd, std, args[0], func(ctx context.Context, i *instance.Instance) error {
				return cat(ctx, std, i.View(), args[1])
			})
		},
	}
	flags.register(cmd)
	return cmd
}

func cat(ctx context.Context, std streams, view *vfs.View, path string) error {
	f, err := view.OpenAt(ctx, vfs.Path{}, absolute(path), vfs.OpenHow{Flags: unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOATIME})
	if err != nil {
		return pathFailure(path, err)
	}
	defer f.Close(ctx)
	a, err := vfs.Getattr(ctx, f.Path(), unix.STATX_TYPE)
	if err != nil {
		return pathFailure(path, err)
	}
	switch a.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		return pathFailure(path, unix.EISDIR)
	default:
		return fail(exitPath, path, unix.EINVAL, "it is not a regular file")
	}
	buf := make([]byte, 1<<20)
	for off := int64(0); ; {
		if interrupted(ctx) {
			return ctx.Err()
		}
		n, err := f.ReadAt(ctx, buf, off)
		if err != nil {
			return pathFailure(path, err)
		}
		if n == 0 {
			return nil
		}
		if err := output(std.out.Write(buf[:n])); err != nil {
			return err
		}
		off += int64(n)
	}
}

// absolute makes a path of the image start at its root.
func absolute(path string) string { return "/" + strings.TrimPrefix(path, "/") }

// pathFailure is an error about a file of the image: a damaged one concerns the image.
func pathFailure(path string, err error) error {
	errno := vfs.Errno(err)
	if errors.Is(err, context.Canceled) {
		return err
	}
	if errno == unix.EIO || errno == unix.EUCLEAN {
		return fail(exitImage, path, err, "the image is damaged or was tampered with")
	}
	return fail(exitPath, path, errno, "")
}
