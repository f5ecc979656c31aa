package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"cloister/enclave"
	"cloister/fs/sefs"
	"cloister/mountopt"

	"github.com/spf13/cobra"
)

// checkHeader looks at what an image's header says about its key before any key is
// used, so that a refusal can say why. The header is not authenticated: opening the
// image decides.
func (k *keyFlags) checkHeader(std streams, image string) error {
	info, err := sefs.Inspect(image)
	if err != nil {
		return imageFailure(image, err)
	}
	k.checked = true
	if info.Integrity {
		if k.mac == nil {
			fmt.Fprintf(std.err, "cloister: note: %s is integrity-only, and only checked against its own root MAC; --%s checks that it is the image you mean\n", image, k.name("mac"))
		}
		return nil
	}
	k.locked = true
	return checkKeys(image, info, k.given())
}

// checkKeys says whether the keys that are given can be those of an encrypted image.
func checkKeys(image string, info sefs.Info, keyGiven bool) error {
	switch {
	case keyGiven && !info.Given:
		return fail(exitKey, image, errors.New("it was built without a key and is sealed to an enclave"), "leave --image-key out")
	case !info.Sealed && !keyGiven:
		return fail(exitKey, image, errors.New("it was built with a key"), "give it with --image-key")
	case keyGiven:
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
	Mode     string `json:"mode"`               // "encrypted" or "integrity"
	Key      string `json:"key"`                // "sealed" if a slot is, else "given"; "none" for mode integrity
	Platform string `json:"platform,omitempty"` // sealed
	Policy   string `json:"policy,omitempty"`   // sealed

	Keys []string `json:"keys"` // kinds of the key slots: given, sealed, passphrase, age

	// Verified: the image was opened, so the above is authenticated. The counts
	// are there only then.
	Verified bool         `json:"verified"`
	Counts   *imageCounts `json:"counts,omitempty"`

	// Freshness is there if Verified. "mount": an older copy of the whole image is not
	// noticed across mounts; "counter": it is, in the enclave that has the image's counter.
	// The tool asks no counter.
	Freshness string `json:"freshness,omitempty"`
	MAC       string `json:"root_mac,omitempty"` // of the newest state, for the mount option mac=
	Pinned    bool   `json:"pinned"`             // it is the one that --mac names

	Upper *imageInfo `json:"upper,omitempty"` // the layer of --upper

	header sefs.Info
}

// Modes of an image.
const (
	modeEncrypted = "encrypted"
	modeIntegrity = "integrity"
)

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
			"the header, and counts are added. An integrity-only image has no key and is opened always.",
		Args:    exactArgs("IMG"),
		Example: "  cloister info --json app.img\n  cloister info --image-key app.key app.img",
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("upper") && upper == "" {
				return usage("--upper is empty")
			}
			images := args
			if upper != "" {
				images = append(images, upper)
			}
			infos, err := inspect(cmd, std, images, &keys)
			if err != nil {
				return err
			}
			info := infos[0]
			if upper != "" {
				info.Upper = infos[1]
			}
			if asJSON {
				return printJSON(std, info)
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
	keys.registerMAC(cmd)
	return cmd
}

// inspect says what images are. All are opened with one key.
func inspect(cmd *cobra.Command, std streams, images []string, keys *keyFlags) (infos []*imageInfo, err error) {
	if err := keys.check(cmd); err != nil {
		return nil, err
	}
	for _, image := range images {
		if err := isDir(image); err != nil {
			return nil, err
		}
		header, err := sefs.Inspect(image)
		if err != nil {
			return nil, imageFailure(image, err)
		}
		info := &imageInfo{Image: image}
		info.set(header)
		infos = append(infos, info)
	}
	keys.checked = true
	for _, info := range infos {
		if info.Mode == modeIntegrity || !keys.used(cmd) {
			continue
		}
		keys.locked = true
		if err := checkKeys(info.Image, info.header, keys.given()); err != nil {
			return nil, err
		}
	}
	key, platform, err := keys.load(cmd, std)
	if err != nil {
		return nil, err
	}
	defer key.Wipe()
	for n, info := range infos {
		if info.Mode != modeIntegrity && !keys.used(cmd) {
			continue
		}
		mac := keys.mac
		if n > 0 { // it names the image, not the layer above
			mac = nil
		}
		if err := info.verify(cmd.Context(), key, platform, mac); err != nil {
			return nil, err
		}
	}
	return infos, nil
}

// verify opens the image, which authenticates its header, and adds counts.
func (i *imageInfo) verify(ctx context.Context, key mountopt.Key, platform enclave.Platform, mac *mountopt.MAC) error {
	fs, err := sefs.Open(ctx, i.Image, sefs.OpenConfig{
		Access: sefs.ReadOnly, Key: key, Platform: platform, MAC: mac, Unpinned: true,
	})
	if err != nil {
		return imageFailure(i.Image, err)
	}
	i.set(fs.Info())
	stats := fs.Stats()
	i.Verified, i.Freshness, i.MAC, i.Pinned = true, "mount", fs.RootMAC().String(), mac != nil
	switch {
	case i.Mode == modeIntegrity:
		i.Freshness = "" // it never changes
	case fs.Freshness().Counter:
		i.Freshness = "counter"
	}
	i.Counts = &imageCounts{
		UsedBytes: int64(stats.BlocksUsed) * blockSize,
		HostBytes: hostBytes(i.Image),
		Segments:  uint64(stats.Segments),
		Commit:    stats.Seq,
		NextInode: stats.NextIno,
	}
	if err := fs.Close(context.WithoutCancel(ctx), 0); err != nil {
		return imageFailure(i.Image, err)
	}
	return nil
}

const blockSize = 4096 // bytes; the unit of BlocksUsed

func (i *imageInfo) set(h sefs.Info) {
	i.header, i.Mode = h, modeEncrypted
	i.UUID, i.Key, i.Platform, i.Policy, i.Keys = h.UUID, "given", "", "", []string{}
	for _, slot := range h.Slots {
		i.Keys = append(i.Keys, slot.Kind.String())
	}
	if h.Sealed {
		i.Key, i.Platform, i.Policy = "sealed", h.Platform, h.Policy
	}
	if h.Integrity {
		i.Mode, i.Key = modeIntegrity, "none"
	}
}

func (i *imageInfo) print(w io.Writer) error {
	key := "given (--image-key)"
	if i.Key == "sealed" {
		key = fmt.Sprintf("sealed by platform %q, policy %q", i.Platform, i.Policy)
	}
	switch {
	case i.Mode == modeIntegrity:
		key = "none: integrity only (SHA-256), deterministic, never changed"
	case len(i.Keys) > 1:
		key = fmt.Sprintf("%d slots: %s (see cloister key list)", len(i.Keys), strings.Join(i.Keys, ", "))
	}
	if _, err := fmt.Fprintf(w, "image     %s\nuuid      %s\nkey       %s\n", i.Image, i.UUID, key); err != nil {
		return err
	}
	if !i.Verified {
		_, err := fmt.Fprintln(w, "verified  no: this is what the header says; open it with its key to check")
		return err
	}
	c := i.Counts
	if i.Mode == modeIntegrity {
		pinned := "no: anybody can make such an image; compare the root MAC, or give it with --mac"
		if i.Pinned {
			pinned = "yes: it has the root MAC of --mac"
		}
		_, err := fmt.Fprintf(w, "verified  yes\nroot mac  %s\npinned    %s\nused      %s\non host   %s in %d segments\ninodes    numbered up to %d\n",
			i.MAC, pinned, size(c.UsedBytes), size(c.HostBytes), c.Segments, c.NextInode-1)
		return err
	}
	fresh := "within a mount; an older copy of the whole image is not noticed"
	if i.Freshness == "counter" {
		fresh = "under a counter, which this tool does not ask; enclaves that have it refuse older copies"
	}
	_, err := fmt.Fprintf(w, "verified  yes\nroot mac  %s\nfresh     %s\nused      %s\non host   %s in %d segments\ncommit    %d\ninodes    numbered up to %d\n",
		i.MAC, fresh, size(c.UsedBytes), size(c.HostBytes), c.Segments, c.Commit, c.NextInode-1)
	return err
}
