package instance

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"cloister/fs/sefs"
	"cloister/internal/treecopy"
	"cloister/mountopt"
	"cloister/vfs"
)

// IntegrityOptions are all that the bytes of an integrity-only image depend on, beside the tree.
type IntegrityOptions struct {
	Mtime int64      // see sefs.IntegrityConfig
	Owner *vfs.Owner // see sefs.IntegrityConfig
}

// BuildIntegrity makes an integrity-only image, as Build makes an encrypted one, and returns its root MAC.
// Key, Platform and Log of cfg do not count. An archive is unpacked to an encrypted image beside the
// place first, since the order of its entries must not count.
//
// Errors: as Build; *treecopy.TreeError for what an archive was unpacked to.
func BuildIntegrity(ctx context.Context, cfg BuildConfig, opts IntegrityOptions) (totals treecopy.Totals, root mountopt.MAC, err error) {
	err = build(cfg, func(dir string) (err error) {
		if cfg.Archive != nil {
			totals, root, err = integrityOfArchive(ctx, cfg, opts, dir)
			return err
		}
		tree, top, err := treecopy.OpenHostTree(cfg.Source)
		if err != nil {
			return err
		}
		defer tree.Close()
		totals, root, err = integrityOf(ctx, cfg, opts, dir, tree, top)
		return err
	})
	return totals, root, err
}

func integrityOf(ctx context.Context, cfg BuildConfig, opts IntegrityOptions, dir string, tree sefs.TreeDir, top sefs.TreeEntry) (treecopy.Totals, mountopt.MAC, error) {
	r, err := sefs.BuildIntegrity(ctx, dir, sefs.IntegrityConfig{
		Tree: tree, Top: top, Mtime: opts.Mtime, Owner: opts.Owner, Progress: cfg.Progress, Skipped: cfg.Skipped,
	})
	totals := treecopy.Totals{
		Files: r.Files, Dirs: r.Dirs, Symlinks: r.Symlinks, Specials: r.Specials, Links: r.Links, Bytes: r.Bytes,
	}
	if err != nil && !errors.As(err, new(*treecopy.Error)) && !errors.As(err, new(*treecopy.TreeError)) && !errors.Is(err, context.Canceled) {
		err = &TargetError{cfg.Image, err}
	}
	return totals, r.Root, err
}

// integrityOfArchive unpacks the archive to a scratch image beside dir, and reads that.
func integrityOfArchive(ctx context.Context, cfg BuildConfig, opts IntegrityOptions, dir string) (totals treecopy.Totals, root mountopt.MAC, err error) {
	scratch, err := os.MkdirTemp(filepath.Dir(dir), filepath.Base(dir)+".*")
	if err != nil {
		return totals, root, &TargetError{filepath.Dir(dir), errnoOf(err)}
	}
	defer os.RemoveAll(scratch)
	fs, err := sefs.MakeScratch(ctx, scratch, sefs.OpenConfig{Log: cfg.Log})
	if err != nil {
		return totals, root, &TargetError{cfg.Image, err}
	}
	i, err := newInstance(ctx, fs, fs, fs.Abandon, cfg.Log)
	if err != nil {
		return totals, root, &TargetError{cfg.Image, err}
	}
	defer i.Abandon()
	to := treecopy.Config{Target: i.Root(), Cred: vfs.RootCred(), Progress: cfg.Progress, Skipped: cfg.Skipped}
	if totals, err = treecopy.CopyTar(ctx, to, cfg.Archive, cfg.Source); err != nil {
		return totals, root, err
	}
	tree, top, err := treecopy.NewVFSTree(ctx, vfs.RootCred(), i.Root())
	if err != nil {
		return totals, root, err
	}
	defer tree.Close()
	cfg.Progress = nil // the archive has been counted
	return integrityOf(ctx, cfg, opts, dir, tree, top)
}
