package ramfs

import (
	"context"
	"fmt"
	"strings"
	"time"

	"cloister/mountopt"
	"cloister/vfs"
)

// defaultMode is the mode of the root of a mount, as in tmpfs(5).
const defaultMode = 0o1777

// Type is the file-system type "ramfs".
type Type struct {
	Now func() time.Time // nil: time.Now
}

// Name returns "ramfs".
func (Type) Name() string { return "ramfs" }

// Flags returns 0.
func (Type) Flags() uintptr { return 0 }

// Names of the options.
const (
	optSize   = "size"
	optInodes = "nr_inodes"
	optMode   = "mode"
)

var optionSpec = mountopt.Spec{
	mountopt.Size(optSize),
	mountopt.Count(optInodes, maxInodes),
	mountopt.Octal(optMode),
}

// Mount makes an empty file system. The options are those of tmpfs(5): size (bytes of file content,
// counted in pages of 4 KiB), nr_inodes (files, and names beside the first of a file) and mode (of the root). Without
// size or nr_inodes, or with 0, there is no such limit; tmpfs takes half of the memory then, but how
// much an enclave has is not known. For the same reason size=50% is refused.
//
// Errors: EINVAL for the options.
func (t Type) Mount(ctx context.Context, req vfs.MountRequest) (vfs.FileSystem, error) {
	opts, err := optionSpec.Parse(req.Data)
	if err != nil {
		return nil, err
	}
	mode := uint32(defaultMode)
	if opts.Has(optMode) {
		mode = uint32(opts.Number(optMode))
	}
	fs := newFS(Config{
		Now:       t.Now,
		RootMode:  mode,
		MaxBytes:  int64(opts.Number(optSize)),
		MaxInodes: int64(opts.Number(optInodes)),
	})
	fs.options = fs.describe(mode)
	return fs, nil
}

// describe prints what is not the default, as mm/shmem.c: shmem_show_options does.
func (fs *FS) describe(mode uint32) string {
	var options []string
	if fs.pages.max > 0 {
		options = append(options, showSize(fs.pages.max))
	}
	if fs.space.max > 0 {
		options = append(options, fmt.Sprintf("%s=%d", optInodes, fs.space.max/inodeSpace))
	}
	if mode != defaultMode {
		options = append(options, fmt.Sprintf("%s=%03o", optMode, mode))
	}
	return strings.Join(options, ",")
}

// showSize prints a limit of pages. The largest one reaches past the largest size that can be given.
func showSize(pages int64) string {
	const perPage = pageSize / 1024
	return fmt.Sprintf("%s=%dk", optSize, min(pages*perPage, (1<<63-1)/1024))
}
