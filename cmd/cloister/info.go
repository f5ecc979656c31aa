package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"cloister/enclave"
	"cloister/fs/sefs"

	"github.com/spf13/cobra"
)

// checkHeader looks at what an image's header says about its key before any key is
// used, so that a refusal can say why. The header is not authenticated: opening the
// image decides.
func checkHeader(image string, keyGiven bool) error {
	info, err := sefs.Inspect(image)
	switch {
	case err != nil:
		return imageFailure(image, err)
	case info.Sealed && keyGiven:
		return fail(exitKey, image, errors.New("it was built without a key and is sealed to an enclave"), "leave --image-key out")
	case !info.Sealed && !keyGiven:
		return fail(exitKey, image, errors.New("it was built with a key"), "give it with --image-key")
	case !info.Sealed:
		return nil
	case info.Policy == enclave.Unique.String():
		return fail(exitPolicy, image, errors.New("it is sealed to the measurement of one enclave, which no tool has"), "use it in that enclave")
	case info.Platform != enclave.KindSimulation:
		return fail(exitPolicy, image, fmt.Errorf("it is sealed by platform %q, and this tool has only the simulated one", info.Platform), "use it in an enclave there")
	}
	return nil
}

// imageInfo is what info prints. Its JSON names are a contract.
type imageInfo struct {
	Image    string `json:"image"`
	UUID     string `json:"uuid"`
	Key      string `json:"key"`                // "given" or "sealed"
	Platform string `json:"platform,omitempty"` // sealed
	Policy   string `json:"policy,omitempty"`   // sealed

	// Verified: the image was opened, so the above is authenticated. The counts
	// are there only then.
	Verified bool         `json:"verified"`
	Counts   *imageCounts `json:"counts,omitempty"`

	Upper *imageInfo `json:"upper,omitempty"` // the layer of --upper
}

type imageCounts struct {
	UsedBytes int64  `json:"used_bytes"` // blocks in use inside
	HostBytes int64  `json:"host_bytes"` // files on the host
	Segments  uint64 `json:"segments"`
	Commit    uint64 `json:"commit"`     // number of the last commit
	NextInode uint64 `json:"next_inode"` // inode numbers are given out in order
}

func newInfo(std streams) *cobra.Command {
	var keys keyFlags
	var asJSON bool
	var upper string
	cmd := &cobra.Command{
		Use:   "info IMG",
		Short: "Say what an image is",
		Long: "Say what an image is. Without a key this is what its header says, which is not authenticated.\n" +
			"With --image-key, or with --sign-key or --machine-secret for a sealed image, the image is opened, which verifies\n" +
			"the header, and counts are added.",
		Args: exactArgs("IMG"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("upper") && upper == "" {
				return usage("--upper is empty")
			}
			if upper != "" && keys.imageKey == "-" {
				return usage("with --upper the key is read twice; name a file with --image-key")
			}
			info, err := inspect(cmd, std, args[0], &keys)
			if err != nil {
				return err
			}
			if upper != "" {
				if info.Upper, err = inspect(cmd, std, upper, &keys); err != nil {
					return err
				}
			}
			if asJSON {
				text, err := json.MarshalIndent(info, "", "  ")
				if err != nil {
					return fail(exitInternal, args[0], err, "")
				}
				return output(fmt.Fprintf(std.out, "%s\n", text))
			}
			if err := info.print(std.out); err != nil || info.Upper == nil {
				return output(0, err)
			}
			fmt.Fprintln(std.out)
			return output(0, info.Upper.print(std.out))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.Flags().StringVar(&upper, "upper", "", "`DIR` with changes above the image: say what it is too")
	keys.register(cmd)
	return cmd
}

func inspect(cmd *cobra.Command, std streams, image string, keys *keyFlags) (*imageInfo, error) {
	if err := isDir(image); err != nil {
		return nil, err
	}
	header, err := sefs.Inspect(image)
	if err != nil {
		return nil, imageFailure(image, err)
	}
	info := &imageInfo{Image: image}
	info.set(header)
	if err := keys.check(cmd); err != nil {
		return nil, err
	}
	if *keys == (keyFlags{}) {
		return info, nil
	}
	if err := checkHeader(image, keys.imageKey != ""); err != nil {
		return nil, err
	}
	key, platform, err := keys.load(cmd, std)
	if err != nil {
		return nil, err
	}
	defer key.Wipe()
	ctx := cmd.Context()
	fs, err := sefs.Open(ctx, image, sefs.OpenConfig{Access: sefs.ReadOnly, Key: key, Platform: platform})
	if err != nil {
		return nil, imageFailure(image, err)
	}
	info.set(fs.Info())
	stats := fs.Stats()
	info.Verified = true
	info.Counts = &imageCounts{
		UsedBytes: int64(stats.BlocksUsed) * blockSize,
		HostBytes: hostBytes(image),
		Segments:  uint64(stats.Segments),
		Commit:    stats.Seq,
		NextInode: stats.NextIno,
	}
	if err := fs.Close(context.WithoutCancel(ctx), 0); err != nil {
		return nil, imageFailure(image, err)
	}
	return info, nil
}

const blockSize = 4096 // bytes; the unit of BlocksUsed

func (i *imageInfo) set(h sefs.Info) {
	i.UUID, i.Key, i.Platform, i.Policy = h.UUID, "given", "", ""
	if h.Sealed {
		i.Key, i.Platform, i.Policy = "sealed", h.Platform, h.Policy
	}
}

func (i *imageInfo) print(w io.Writer) error {
	key := "given (--image-key)"
	if i.Key == "sealed" {
		key = fmt.Sprintf("sealed by platform %q, policy %q", i.Platform, i.Policy)
	}
	if _, err := fmt.Fprintf(w, "image     %s\nuuid      %s\nkey       %s\n", i.Image, i.UUID, key); err != nil {
		return err
	}
	if !i.Verified {
		_, err := fmt.Fprintln(w, "verified  no: this is what the header says; open it with its key to check")
		return err
	}
	c := i.Counts
	_, err := fmt.Fprintf(w, "verified  yes\nused      %s\non host   %s in %d segments\ncommit    %d\ninodes    numbered up to %d\n",
		size(c.UsedBytes), size(c.HostBytes), c.Segments, c.Commit, c.NextInode-1)
	return err
}
