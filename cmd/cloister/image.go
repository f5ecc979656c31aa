package main

import (
	"errors"
	"os"

	"cloister/internal/instance"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// imageFlags say which image a command reads.
type imageFlags struct {
	keys  keyFlags
	upper string
}

func (f *imageFlags) register(cmd *cobra.Command) {
	f.keys.register(cmd)
	cmd.Flags().StringVar(&f.upper, "upper", "", "`DIR` with the changes above the image")
}

// isDir checks that an image directory exists before any key is touched.
func isDir(path string) error {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, unix.ENOENT):
		return fail(exitImage, path, unix.ENOENT, "there is no image here; make one with cloister build")
	case err != nil:
		return fail(exitImage, path, err, "")
	case !st.IsDir():
		return fail(exitImage, path, unix.ENOTDIR, "an image is a directory")
	}
	return nil
}

// open opens an image for reading. Nothing on the host is changed.
func (f *imageFlags) open(cmd *cobra.Command, std streams, image string) (*instance.Instance, error) {
	if cmd.Flags().Changed("upper") && f.upper == "" {
		return nil, usage("--upper is empty")
	}
	for _, dir := range []string{image, f.upper} {
		if dir == "" {
			continue
		}
		if err := isDir(dir); err != nil {
			return nil, err
		}
	}
	if err := f.keys.check(cmd); err != nil {
		return nil, err
	}
	if err := checkHeader(image, f.keys.imageKey != ""); err != nil {
		return nil, err
	}
	key, platform, err := f.keys.load(cmd, std)
	if err != nil {
		return nil, err
	}
	defer key.Wipe()
	i, err := instance.Open(cmd.Context(), instance.Config{
		Image: image, Upper: f.upper, ReadOnly: true, Key: key, Platform: platform,
	})
	if err != nil {
		return nil, imageFailure(image, err)
	}
	return i, nil
}
