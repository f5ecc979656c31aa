package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"cloister/internal/instance"
	"cloister/internal/treecopy"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// builder holds the flags of a command that makes an image.
type builder struct {
	std         streams
	from, image string
	asJSON      bool
	keys        keyFlags

	integrity    bool
	mtime, owner string
}

func (b *builder) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&b.image, "image", "", "directory `IMG` to make")
	cmd.Flags().BoolVar(&b.asJSON, "json", false, "print the result as one JSON object")
	b.keys.register(cmd)
	b.keys.registerSignTool(cmd)
}

func newBuild(std streams) *cobra.Command {
	b := &builder{std: std}
	cmd := &cobra.Command{
		Use:   "build --from DIR|FILE.tar --image IMG",
		Short: "Build an image from a directory tree or a tar archive",
		Long: "Build an encrypted image from the tree below DIR, or from a tar archive, which may be packed with gzip or zstd\n" +
			"(- is standard input), with modes, owners, times, links, holes, special files and attributes. IMG must not exist\n" +
			"or be an empty directory; it is complete when the command succeeds and untouched when it does not. Without a key\n" +
			"the image is sealed to the signer of --sign-key on this machine.\n\n" +
			"With --integrity the image is not encrypted and is never changed again. Its bytes depend on the tree only, and the\n" +
			"root MAC that is printed stands for them: give it as mac= when it is mounted in an enclave. Times are those of\n" +
			"--mtime, else of the environment variable SOURCE_DATE_EPOCH, else 0, where the tree has later ones.",
		Example: "  cloister build --from rootfs --image app.img --image-key app.key\n" +
			"  docker export app | cloister build --from - --image app.img --image-key app.key\n" +
			"  cloister build --integrity --owner 0:0 --from rootfs --image app.img",
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if b.from == "" || b.image == "" {
				return usage("--from and --image are needed")
			}
			if b.integrity {
				return b.buildIntegrity(cmd)
			}
			for _, name := range []string{"mtime", "owner"} {
				if cmd.Flags().Changed(name) {
					return usage("--" + name + " goes with --integrity only")
				}
			}
			return b.build(cmd)
		},
	}
	cmd.Flags().BoolVar(&b.integrity, "integrity", false, "do not encrypt: anybody can read the image, and its root MAC tells whether it is the one that is meant")
	cmd.Flags().StringVar(&b.mtime, "mtime", "", "with --integrity, latest time of a file, `SECONDS` since 1970")
	cmd.Flags().StringVar(&b.owner, "owner", "", "with --integrity, owner and group of all files, `UID:GID`")
	cmd.Flags().StringVar(&b.from, "from", "", "`DIR` or tar archive to take the files from; - for standard input")
	b.register(cmd)
	return cmd
}

func newMkfs(std streams) *cobra.Command {
	b := &builder{std: std}
	cmd := &cobra.Command{
		Use:   "mkfs --image IMG",
		Short: "Make an empty encrypted image",
		Long: "Make an empty encrypted image, whose root directory belongs to root and has mode 0755. IMG must not exist or be\n" +
			"an empty directory. Without a key the image is sealed to the signer of --sign-key on this machine.",
		Example: "  cloister mkfs --image data.img --image-key data.key",
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if b.image == "" {
				return usage("--image is needed")
			}
			return b.build(cmd)
		},
	}
	b.register(cmd)
	return cmd
}

// builtResult is what build and mkfs print. Its JSON names are a contract.
type builtResult struct {
	Image     string `json:"image"`
	HostBytes int64  `json:"host_bytes"`
	RootMAC   string `json:"root_mac,omitempty"` // of an integrity-only image
	copyResult
}

func (b *builder) build(cmd *cobra.Command) error {
	if b.from == "-" && b.keys.stdin() {
		return usage("standard input cannot be both the archive and the key")
	}
	fromDir, err := b.fromDir()
	if err != nil {
		return err
	}
	key, platform, err := b.keys.load(cmd, b.std)
	if err != nil {
		return err
	}
	defer key.Wipe()

	count := newTally(b.std)
	cfg := instance.BuildConfig{Source: b.from, Image: b.image, Key: key, Platform: platform, Skipped: count.skipped}
	totals, err := b.run(cmd.Context(), &cfg, fromDir, instance.Build)
	if err != nil {
		return copyFailure(err, "the image was not made")
	}
	result := builtResult{Image: b.image, HostBytes: hostBytes(b.image), copyResult: count.result(totals)}
	switch {
	case b.asJSON:
		return printJSON(b.std, result)
	case b.from == "":
		return output(fmt.Fprintf(b.std.out, "made %s: an empty image; %s on the host\n", b.image, size(result.HostBytes)))
	}
	return output(fmt.Fprintf(b.std.out, "built %s: %s; %s on the host\n", b.image, &result.copyResult, size(result.HostBytes)))
}

// fromDir reports whether the source is a directory.
func (b *builder) fromDir() (bool, error) {
	if b.from == "" || b.from == "-" {
		return false, nil
	}
	st, err := os.Stat(b.from)
	if err != nil {
		return false, fail(exitUsage, "--from "+b.from, err, "")
	}
	return st.IsDir(), nil
}

// run builds the image with do, and a bar for what is known of the source.
func (b *builder) run(ctx context.Context, cfg *instance.BuildConfig, fromDir bool, do func(context.Context, instance.BuildConfig) (treecopy.Totals, error)) (totals treecopy.Totals, err error) {
	switch {
	case fromDir && shown(b.std):
		expected, err := treecopy.Scan(ctx, b.from)
		if err != nil {
			return totals, err
		}
		bar := treeProgress(b.std, expected)
		defer bar.finish()
		cfg.Progress = bar.add
	case !fromDir && b.from != "":
		if cfg.Source == "-" {
			cfg.Source = "standard input"
		}
		src, err := openArchive(ctx, b.std, b.from)
		if err != nil {
			return totals, &treecopy.Error{Op: "open", Path: cfg.Source, Err: err}
		}
		defer src.Close()
		bar := newProgress(b.std, src.size, cfg.Source)
		defer bar.finish()
		archive, err := treecopy.Decompress(bar.reader(src))
		if err != nil {
			return totals, &treecopy.Error{Op: "read", Path: cfg.Source, Err: err}
		}
		defer archive.Close()
		cfg.Archive = archive
	}
	return do(ctx, *cfg)
}

// copyFailure classifies an error of copying between the host and an image. what says how
// things were left.
func copyFailure(err error, what string) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	if e, ok := errors.AsType[*treecopy.Error](err); ok {
		return fail(exitHost, e.Op+" "+printable(e.Path), e.Err, what)
	}
	if e, ok := errors.AsType[*treecopy.TreeError](err); ok {
		if e.Tree != "" {
			return pathFailure(e.Tree+":"+e.Path, e.Err)
		}
		return pathFailure(e.Path, e.Err)
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
	return fail(exitImage, e.Path, e.Err, what)
}
