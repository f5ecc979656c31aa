package mountopt

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// What of mount(2)'s flags belongs to one mount, and what to the superblock
// that all mounts of it share. MS_RDONLY belongs to both. These are the two
// groups that proc_pid_mountinfo(5) shows in separate fields.
const (
	MountFlags uintptr = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC |
		unix.MS_NOATIME | unix.MS_NODIRATIME | unix.MS_RELATIME | unix.MS_NOSYMFOLLOW
	SuperFlags uintptr = unix.MS_RDONLY | unix.MS_SYNCHRONOUS | unix.MS_DIRSYNC |
		unix.MS_MANDLOCK | unix.MS_LAZYTIME
)

// A word is one flag with the word that sets it and the word that clears it;
// "" if there is none.
type word struct {
	bit     uintptr
	set     string
	cleared string
}

// mountWords are the words of mount(8), in the order in which
// fs/proc_namespace.c prints those that it prints: first show_sb_opts, then
// show_mnt_opts. The rest is read but never shown.
var mountWords = []word{
	{unix.MS_SYNCHRONOUS, "sync", "async"},
	{unix.MS_DIRSYNC, "dirsync", ""},
	{unix.MS_MANDLOCK, "mand", "nomand"},
	{unix.MS_LAZYTIME, "lazytime", "nolazytime"},
	{unix.MS_NOSUID, "nosuid", "suid"},
	{unix.MS_NODEV, "nodev", "dev"},
	{unix.MS_NOEXEC, "noexec", "exec"},
	{unix.MS_NOATIME, "noatime", "atime"},
	{unix.MS_NODIRATIME, "nodiratime", "diratime"},
	{unix.MS_RELATIME, "relatime", "norelatime"},
	{unix.MS_NOSYMFOLLOW, "nosymfollow", "symfollow"},
	{unix.MS_RDONLY, "ro", "rw"},
	{unix.MS_STRICTATIME, "strictatime", "nostrictatime"},
	{unix.MS_SILENT, "silent", "loud"},
}

// FormatFlags prints flags as the option fields of /proc/self/mounts and
// /proc/self/mountinfo show them: "ro" or "rw", then a word for each bit that
// is set. Of mountinfo's two fields, the first is FormatFlags of
// flags&MountFlags, the second of flags&SuperFlags. Bits outside both groups
// are not shown.
func FormatFlags(flags uintptr) string {
	text := "rw"
	if flags&unix.MS_RDONLY != 0 {
		text = "ro"
	}
	shown := flags & (MountFlags | SuperFlags) &^ unix.MS_RDONLY
	for _, w := range mountWords {
		if shown&w.bit != 0 {
			text += "," + w.set
		}
	}
	return text
}

// ParseFlags reads words such as "ro,nosuid,noexec" into MS_* bits. It is the
// inverse of FormatFlags and also takes the opposite words of mount(8), such as
// "exec", and "strictatime" and "silent". Empty words are skipped.
//
// Errors: EINVAL for an unknown word, and for a flag that is named twice,
// whether with one word or with two opposite ones.
func ParseFlags(words string) (uintptr, error) { return parseWords(mountWords, words) }

var unmountWords = []word{
	{unix.MNT_FORCE, "force", ""},
	{unix.MNT_DETACH, "detach", ""},
	{unix.MNT_EXPIRE, "expire", ""},
	{unix.UMOUNT_NOFOLLOW, "nofollow", ""},
}

// FormatUnmountFlags prints the flags of umount2(2) as words: "detach,nofollow".
// Bits that umount2(2) does not define are not shown.
func FormatUnmountFlags(flags int) string {
	var words []string
	for _, w := range unmountWords {
		if uintptr(flags)&w.bit != 0 {
			words = append(words, w.set)
		}
	}
	return strings.Join(words, ",")
}

// ParseUnmountFlags is the inverse of FormatUnmountFlags.
//
// Errors: EINVAL for an unknown word and for one given twice.
func ParseUnmountFlags(words string) (int, error) {
	flags, err := parseWords(unmountWords, words)
	return int(flags), err
}

func parseWords(table []word, words string) (uintptr, error) {
	var flags, seen uintptr
	for given := range strings.SplitSeq(words, ",") {
		if given == "" {
			continue
		}
		w, set, ok := findWord(table, given)
		if !ok {
			return 0, fmt.Errorf("mountopt: unknown flag %.40q: %w", given, unix.EINVAL)
		}
		if seen&w.bit != 0 {
			return 0, fmt.Errorf("mountopt: flag %q repeats or contradicts an earlier one: %w", given, unix.EINVAL)
		}
		seen |= w.bit
		if set {
			flags |= w.bit
		}
	}
	return flags, nil
}

func findWord(table []word, given string) (w word, set, ok bool) {
	for _, w := range table {
		if given == w.set || given == w.cleared {
			return w, given == w.set, true
		}
	}
	return word{}, false, false
}
