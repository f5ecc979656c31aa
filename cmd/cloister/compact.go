package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cloister/enclave"
	"cloister/fs/sefs"
	"cloister/mountopt"
	"cloister/vfs"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// compacter holds the flags of one compact command.
type compacter struct {
	std    streams
	keys   keyFlags
	asJSON bool
}

func newCompact(std streams) *cobra.Command {
	c := &compacter{std: std}
	cmd := &cobra.Command{
		Use:   "compact IMG",
		Short: "Give space that an image does not use back to the host",
		Long: "Move the data of an image together and remove the files of the host that are empty then. What is in the image does\n" +
			"not change. An image that is mounted for writing does the same in small steps; this does it at once.\n\n" +
			"Interrupting it loses nothing: what has been moved stays moved.",
		Example: "  cloister compact --image-key app.key app.img",
		Args:    exactArgs("IMG"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.keys.use(cmd, std, args[0], func(ctx context.Context, key mountopt.Key, p enclave.Platform) error {
				return c.run(ctx, args[0], sefs.OpenConfig{Key: key, Platform: p, Unpinned: true, CommitInterval: -1})
			})
		},
	}
	cmd.Flags().BoolVar(&c.asJSON, "json", false, "print the result as one JSON object")
	c.keys.register(cmd)
	return cmd
}

// compactResult is what compact prints. Its JSON names are a contract.
type compactResult struct {
	Image   string  `json:"image"`
	Before  int64   `json:"host_bytes_before"`
	After   int64   `json:"host_bytes"`
	Moved   int64   `json:"moved_bytes"`
	Seconds float64 `json:"seconds"`
}

func (c *compacter) run(ctx context.Context, image string, cfg sefs.OpenConfig) error {
	start := time.Now()
	r := compactResult{Image: image, Before: hostBytes(image)}
	fs, err := sefs.Open(ctx, image, cfg)
	if err != nil {
		return compactFailure(image, err)
	}
	bar := newProgress(c.std, -1, image)
	err = fs.Compact(ctx, func(bytes int64) {
		r.Moved += bytes
		bar.add(0, bytes)
	})
	bar.finish()
	// What was moved is kept, and a signal comes too late now.
	closed := fs.Close(context.WithoutCancel(ctx), vfs.ForceClose)
	if err == nil {
		err = closed
	}
	if err != nil {
		return compactFailure(image, err)
	}
	r.After, r.Seconds = hostBytes(image), time.Since(start).Round(time.Millisecond).Seconds()
	if c.asJSON {
		return printJSON(c.std, r)
	}
	return output(fmt.Fprintf(c.std.out, "%s: %s on the host, %s before; %s moved in %.1f s\n", image, size(r.After), size(r.Before), size(r.Moved), r.Seconds))
}

// compactFailure is imageFailure where nothing is lost.
func compactFailure(image string, err error) error {
	if errors.Is(err, context.Canceled) {
		return fail(exitInterrupted, image, errors.New("interrupted"), "nothing is lost; run it again to go on")
	}
	if errors.Is(err, unix.EROFS) {
		return fail(exitImage, image, err, "there is nothing to give back in an image that is never changed")
	}
	return imageFailure(image, err)
}
