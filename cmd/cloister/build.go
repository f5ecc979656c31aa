package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"cloister/internal/instance"
	"cloister/internal/treecopy"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func newBuild(std streams) *cobra.Command {
	var from, image string
	var keys keyFlags
	cmd := &cobra.Command{
		Use:   "build --from DIR --image IMG",
		Short: "Build an encrypted image from a directory tree",
		Long: "Build an encrypted image from the tree below DIR, with modes, owners, times, links, holes, special files and\n" +
			"user.* attributes. IMG must not exist or be an empty directory; it is complete when the command succeeds and\n" +
			"untouched when it does not. Without --image-key the image is sealed to the signer of --sign-key on this machine.",
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error { return build(cmd, std, from, image, &keys) },
	}
	cmd.Flags().StringVar(&from, "from", "", "`DIR` to take the files from")
	cmd.Flags().StringVar(&image, "image", "", "directory `IMG` to make")
	keys.register(cmd)
	keys.registerSignTool(cmd)
	return cmd
}

func build(cmd *cobra.Command, std streams, from, image string, keys *keyFlags) error {
	ctx := cmd.Context()
	if from == "" || image == "" {
		return usage("--from and --image are needed")
	}
	if st, err := os.Stat(from); err != nil {
		return fail(exitUsage, "--from "+from, err, "")
	} else if !st.IsDir() {
		return fail(exitUsage, "--from "+from, unix.ENOTDIR, "")
	}
	key, platform, err := keys.load(cmd, std)
	if err != nil {
		return err
	}
	defer key.Wipe()

	start := time.Now()
	expected, err := treecopy.Scan(ctx, from)
	if err != nil {
		return buildFailure(image, err)
	}
	bar := newProgress(std, expected)
	skipped := 0
	totals, err := instance.Build(ctx, instance.BuildConfig{
		Source: from, Image: image, Key: key, Platform: platform,
		Progress: bar.add,
		Skipped: func(path string, err error) {
			skipped++
			fmt.Fprintf(std.err, "cloister: warning: %s: left out: %v\n", path, err)
		},
	})
	bar.finish()
	if err != nil {
		return buildFailure(image, err)
	}
	elapsed := time.Since(start)
	return output(fmt.Fprintf(std.out, "built %s: %d entries (%d files, %d directories, %d links, %d special, %d left out), %s in %.1f s; %s on the host\n",
		image, totals.Entries(), totals.Files, totals.Dirs, totals.Symlinks+totals.Links, totals.Specials, skipped,
		size(totals.Bytes), elapsed.Seconds(), size(hostBytes(image))))
}

func buildFailure(image string, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	if e, ok := errors.AsType[*treecopy.Error](err); ok {
		return fail(exitHost, e.Op+" "+e.Path, e.Err, "the image was not made")
	}
	e, ok := errors.AsType[*instance.TargetError](err)
	switch {
	case !ok:
		return err
	case errors.Is(err, unix.ENOTEMPTY), errors.Is(err, unix.EEXIST):
		return fail(exitImage, e.Path, e.Err, "remove it or choose another place")
	case errors.Is(err, unix.EBUSY):
		return fail(exitImage, e.Path, e.Err, "it is a mount point; choose a directory below it")
	}
	return fail(exitImage, e.Path, e.Err, "the image was not made")
}

// progress shows how far a build is, on a terminal only.
type progress struct {
	bar *progressbar.ProgressBar // nil: nothing is shown
}

func newProgress(std streams, t treecopy.Totals) *progress {
	f, ok := std.err.(*os.File)
	if !ok {
		return &progress{}
	}
	if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err != nil {
		return &progress{}
	}
	// A name counts like 4 KiB, so that many small files move the bar too.
	total := t.Bytes + t.Entries()*entryWeight
	return &progress{bar: progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(f),
		progressbar.OptionSetDescription(fmt.Sprintf("%d entries, %s", t.Entries(), size(t.Bytes))),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetWidth(40),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionClearOnFinish(),
	)}
}

const entryWeight = 4096 // bytes

func (p *progress) add(entries, bytes int64) {
	if p.bar != nil {
		_ = p.bar.Add64(bytes + entries*entryWeight) // a bar that cannot be drawn is no reason to fail
	}
}

func (p *progress) finish() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}

// size formats a number of bytes for people.
func size(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d bytes", n)
	}
	f, i := float64(n)/1024, 0
	for ; f >= 1024 && i < len(units)-1; i++ {
		f /= 1024
	}
	return fmt.Sprintf("%.1f %ciB", f, units[i])
}

// hostBytes sums the sizes of the host's files below an image directory.
func hostBytes(image string) (sum int64) {
	_ = filepath.WalkDir(image, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			sum += info.Size()
		}
		return nil
	})
	return sum
}
