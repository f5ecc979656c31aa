package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	"cloister/internal/instance"
	"cloister/internal/treecopy"
	"cloister/vfs"

	"github.com/spf13/cobra"
)

// differ holds the flags of one diff command.
type differ struct {
	std      streams
	old, new imageFlags
	asJSON   bool
}

func newDiff(std streams) *cobra.Command {
	d := &differ{std: std}
	d.new.keys.second = true
	cmd := &cobra.Command{
		Use:   "diff IMG1 IMG2",
		Short: "Compare two images",
		Long: "Compare the trees of two images: names, types, modes, owners, modification times, contents, link targets, device\n" +
			"numbers, extended attributes, and which names are one file. All contents are read.\n\n" +
			"Both images open with the same key, unless one of the flags whose names end in 2 is given: then those alone\n" +
			"say how to open IMG2. The exit code is 0 if the trees are equal, 1 if they differ, and never 1 for an error.",
		Example: "  cloister diff --image-key app.key old.img new.img\n" +
			"  cloister diff --image-key old.key --image-key2 new.key old.img new.img\n" +
			"  cloister diff --image-key app.key app.img app.img --upper2 changes",
		Annotations: map[string]string{usageCode: "host"},
		Args:        exactArgs("IMG1", "IMG2"),
		RunE:        d.run,
	}
	cmd.Flags().BoolVar(&d.asJSON, "json", false, "print one JSON object")
	d.old.register(cmd)
	d.new.register(cmd)
	return cmd
}

// diffResult is what diff prints. Its JSON names are a contract.
type diffResult struct {
	Old     string            `json:"old"`
	New     string            `json:"new"`
	Equal   bool              `json:"equal"`
	Changes []treecopy.Change `json:"changes"`
}

func (d *differ) run(cmd *cobra.Command, args []string) error {
	for i, flags := range []*imageFlags{&d.old, &d.new} {
		if err := flags.check(cmd, args[i]); err != nil {
			return err
		}
	}
	if d.old.keys.stdin() && d.new.keys.stdin() {
		return usage("standard input cannot be both keys; name a file")
	}
	shared := !d.new.keys.used(cmd)
	if shared {
		mac := d.new.keys.mac
		d.new.keys = d.old.keys
		d.new.keys.second, d.new.keys.mac = true, mac
	}
	for i, flags := range []*imageFlags{&d.old, &d.new} {
		flags.keys.locked = flags.upper != ""
		if err := flags.keys.checkHeader(d.std, args[i]); err != nil {
			return err
		}
	}
	d.old.keys.locked = d.old.keys.locked || shared && d.new.keys.locked
	key, platform, err := d.old.keys.load(cmd, d.std)
	if err != nil {
		return err
	}
	defer key.Wipe()
	key2, platform2 := key, platform
	if !shared {
		if key2, platform2, err = d.new.keys.load(cmd, d.std); err != nil {
			return err
		}
		defer key2.Wipe()
	}
	return d.old.readWith(cmd.Context(), args[0], key, platform, func(ctx context.Context, old *instance.Instance) error {
		return d.new.readWith(ctx, args[1], key2, platform2, func(ctx context.Context, new *instance.Instance) error {
			return d.compare(ctx, treecopy.Tree{Name: args[0], Root: old.Root()}, treecopy.Tree{Name: args[1], Root: new.Root()})
		})
	})
}

func (d *differ) compare(ctx context.Context, old, new treecopy.Tree) error {
	out := bufio.NewWriter(d.std.out)
	result := diffResult{Old: old.Name, New: new.Name, Equal: true, Changes: []treecopy.Change{}}
	err := treecopy.Compare(ctx, vfs.RootCred(), old, new, func(c treecopy.Change) error {
		result.Equal = false
		if d.asJSON {
			result.Changes = append(result.Changes, c)
			return nil
		}
		return output(out.WriteString(changeLine(c)))
	})
	if err != nil {
		_ = out.Flush() // what is known so far; err is what counts
		return copyFailure(err, "")
	}
	if d.asJSON {
		err = printJSON(d.std, result)
	} else {
		err = output(0, out.Flush())
	}
	if err == nil && !result.Equal {
		return &failure{code: exitDiffer, quiet: true}
	}
	return err
}

// changeLine shows a change in one line.
func changeLine(c treecopy.Change) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-8s %s", c.Kind, printable(c.Path))
	for i, difference := range c.Differences {
		separator := ", "
		if i == 0 {
			separator = ": "
		}
		b.WriteString(separator + printable(difference.What))
		if difference.Old != "" || difference.New != "" {
			fmt.Fprintf(&b, " %s -> %s", printable(difference.Old), printable(difference.New))
		}
	}
	return b.String() + "\n"
}
