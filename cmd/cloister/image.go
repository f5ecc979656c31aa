package main

import (
	"context"
	"errors"
	"os"

	"cloister/enclave"
	"cloister/internal/instance"
	"cloister/mountopt"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// imageFlags say which image a command works on.
type imageFlags struct {
	keys  keyFlags
	upper string
}

func (f *imageFlags) register(cmd *cobra.Command) {
	f.keys.register(cmd)
	f.keys.registerMAC(cmd)
	cmd.Flags().StringVar(&f.upper, f.keys.name("upper"), "", "`DIR` with the changes above the image")
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

// check looks at what can be wrong before any key is touched.
func (f *imageFlags) check(cmd *cobra.Command, image string) error {
	if name := f.keys.name("upper"); cmd.Flags().Changed(name) && f.upper == "" {
		return usage("--" + name + " is empty")
	}
	for _, dir := range []string{image, f.upper} {
		if dir == "" {
			continue
		}
		if err := isDir(dir); err != nil {
			return err
		}
	}
	return f.keys.check(cmd)
}

// read opens an image for reading, calls do with it and closes it. Nothing on the host is
// changed.
func (f *imageFlags) read(cmd *cobra.Command, std streams, image string, do func(ctx context.Context, i *instance.Instance) error) error {
	if err := f.check(cmd, image); err != nil {
		return err
	}
	f.keys.locked = f.upper != ""
	if err := f.keys.checkHeader(std, image); err != nil {
		return err
	}
	key, platform, err := f.keys.load(cmd, std)
	if err != nil {
		return err
	}
	defer key.Wipe()
	return f.readWith(cmd.Context(), image, key, platform, do)
}

// readWith is read with a key that has been loaded.
func (f *imageFlags) readWith(ctx context.Context, image string, key mountopt.Key, platform enclave.Platform, do func(ctx context.Context, i *instance.Instance) error) (err error) {
	i, err := instance.Open(ctx, instance.Config{
		Image: image, Upper: f.upper, ReadOnly: true, Key: key, Platform: platform, MAC: f.keys.mac, Unpinned: true,
	})
	if err != nil {
		return imageFailure(image, err)
	}
	defer func() {
		if e := i.Close(context.WithoutCancel(ctx)); e != nil && err == nil {
			err = imageFailure(image, e)
		}
	}()
	return do(ctx, i)
}
