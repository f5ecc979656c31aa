package main

import (
	"context"
	"errors"

	"cloister/vfs"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func newCat(std streams) *cobra.Command {
	var flags imageFlags
	cmd := &cobra.Command{
		Use:   "cat IMG PATH",
		Short: "Write a file of an image to standard output",
		Args:  exactArgs("IMG", "PATH"),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			i, err := flags.open(cmd, std, args[0])
			if err != nil {
				return err
			}
			defer func() {
				if e := i.Close(context.WithoutCancel(cmd.Context())); e != nil && err == nil {
					err = imageFailure(args[0], e)
				}
			}()
			return cat(cmd.Context(), std, i.View(), args[1])
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
func absolute(path string) string { return "/" + path }

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
