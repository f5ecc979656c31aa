package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"cloister/internal/instance"
	"cloister/internal/treecopy"
	"cloister/mountopt"
	"cloister/vfs"

	"github.com/spf13/cobra"
)

// epochVariable is the environment variable that says when sources were last changed
// (reproducible-builds.org, SOURCE_DATE_EPOCH specification).
const epochVariable = "SOURCE_DATE_EPOCH"

// buildIntegrity makes an integrity-only image.
func (b *builder) buildIntegrity(cmd *cobra.Command) error {
	if b.keys.used(cmd) || cmd.Flags().Changed("sign-tool") {
		return usage("an integrity-only image has no key; give either --integrity or what says who can open the image")
	}
	opts, err := b.integrityOptions(cmd)
	if err != nil {
		return err
	}
	fromDir, err := b.fromDir()
	if err != nil {
		return err
	}
	var root mountopt.MAC
	count := newTally(b.std)
	cfg := instance.BuildConfig{Source: b.from, Image: b.image, Skipped: count.skipped}
	totals, err := b.run(cmd.Context(), &cfg, fromDir, func(ctx context.Context, cfg instance.BuildConfig) (t treecopy.Totals, err error) {
		t, root, err = instance.BuildIntegrity(ctx, cfg, opts)
		return t, err
	})
	if err != nil {
		return copyFailure(err, "the image was not made")
	}
	result := builtResult{Image: b.image, HostBytes: hostBytes(b.image), RootMAC: root.String(), copyResult: count.result(totals)}
	if b.asJSON {
		return printJSON(b.std, result)
	}
	return output(fmt.Fprintf(b.std.out, "built %s: %s; %s on the host\nroot mac %s\n",
		b.image, &result.copyResult, size(result.HostBytes), result.RootMAC))
}

// integrityOptions reads --mtime, or the environment variable in its place, and --owner.
func (b *builder) integrityOptions(cmd *cobra.Command) (opts instance.IntegrityOptions, err error) {
	name, text := "--mtime", b.mtime
	if !cmd.Flags().Changed("mtime") {
		name, text = epochVariable, os.Getenv(epochVariable)
	}
	if text != "" || cmd.Flags().Changed("mtime") {
		seconds, err := strconv.ParseInt(text, 10, 64)
		if err != nil || seconds < 0 {
			return opts, usage(name + " takes a number of seconds since 1970")
		}
		opts.Mtime = seconds
	}
	if !cmd.Flags().Changed("owner") {
		return opts, nil
	}
	uid, gid, ok := strings.Cut(b.owner, ":")
	u, uidErr := strconv.ParseUint(uid, 10, 32)
	g, gidErr := strconv.ParseUint(gid, 10, 32)
	if !ok || uidErr != nil || gidErr != nil || u == 1<<32-1 || g == 1<<32-1 { // -1 is no owner (chown(2))
		return opts, usage("--owner takes numbers, UID:GID")
	}
	opts.Owner = &vfs.Owner{UID: uint32(u), GID: uint32(g)}
	return opts, nil
}
