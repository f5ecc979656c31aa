package libos

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"cloister/mountopt"
	"cloister/vfs"
)

// mountAll mounts the start-up mounts in their order. Mount points that are
// missing on the in-memory root are made; on another mount they must exist, so
// that nothing is changed there.
func (l *LibOS) mountAll(ctx context.Context, mounts []mountopt.Mount) error {
	view := l.ns.NewView(vfs.RootCred())
	defer view.Release()
	for i, m := range mounts {
		err := makeMountPoint(ctx, view, m.Target)
		if err == nil {
			err = view.Mount(ctx, m.Source, m.Target, m.Type, m.Flags, m.Data)
		}
		if err != nil {
			return fmt.Errorf("libos: start-up mount %d, %s on %s: %w", i, m.Type, m.Target, err)
		}
	}
	return nil
}

// makeMountPoint makes target and the directories above it, as far as they are
// missing, with mode 0755.
//
// Errors: ENOENT if one is missing on another mount than the root.
func makeMountPoint(ctx context.Context, view *vfs.View, target string) error {
	dir := ""
	for name := range strings.SplitSeq(strings.Trim(target, "/"), "/") {
		if name == "" {
			continue
		}
		parent := dir + "/"
		dir += "/" + name
		p, err := view.Walk(ctx, vfs.Path{}, dir, vfs.WalkFollow)
		if err == nil {
			p.Put()
			continue
		}
		if !errors.Is(err, unix.ENOENT) {
			return err
		}
		if err := onRoot(ctx, view, parent); err != nil {
			return err
		}
		if err := view.MkdirAt(ctx, vfs.Path{}, dir, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// onRoot fails with ENOENT if dir is not on the root mount.
func onRoot(ctx context.Context, view *vfs.View, dir string) error {
	p, err := view.Walk(ctx, vfs.Path{}, dir, vfs.WalkFollow)
	if err != nil {
		return err
	}
	defer p.Put()
	if p.Mount() != view.Root().Mount() {
		return unix.ENOENT
	}
	return nil
}
