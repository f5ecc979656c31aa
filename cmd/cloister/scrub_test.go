package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs"
)

// segments returns the files of an image that hold data.
func (e *env) segments() []string {
	e.t.Helper()
	names, err := filepath.Glob(filepath.Join(e.image, "seg", "*", "*"))
	require.NoError(e.t, err)
	require.NotEmpty(e.t, names)
	return names
}

// flip changes one byte of a file.
func flip(t testing.TB, name string, at int64) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	b := make([]byte, 1)
	_, err = f.ReadAt(b, at)
	require.NoError(t, err)
	b[0] ^= 1
	_, err = f.WriteAt(b, at)
	require.NoError(t, err)
}

// damageData flips bytes until one belongs to the data of a file, and returns its path and the
// offset in it.
func (e *env) damageData() (path string, offset int64) {
	seg := e.segments()[0]
	st, err := os.Stat(seg)
	require.NoError(e.t, err)
	for at := int64(0); at < st.Size(); at += 4096 {
		flip(e.t, seg, at)
		r := cloister(e.t, "scrub", "--image-key", e.key, "--json", e.image)
		var got checkResult
		require.NoError(e.t, json.Unmarshal([]byte(r.out), &got))
		if len(got.Problems) == 1 && got.Problems[0].Kind == sefs.ProblemData {
			require.Len(e.t, got.Problems[0].Paths, 1)
			return got.Problems[0].Paths[0], got.Problems[0].Offset
		}
		flip(e.t, seg, at)
	}
	require.Fail(e.t, "no block of data")
	return "", 0
}

func TestScrub(t *testing.T) {
	e := newEnv(t)
	e.tree()
	e.build()
	before := digest(t, e.image)
	require.Regexp(t, `^.*/image: clean; .*MiB verified, 14 inodes, in .* s\n$`, must(t, "scrub", "--image-key", e.key, e.image))
	var clean checkResult
	require.NoError(t, json.Unmarshal([]byte(must(t, "scrub", "--image-key", e.key, "--json", e.image)), &clean))
	require.True(t, clean.Clean)
	require.Empty(t, clean.Problems)
	require.Equal(t, before, digest(t, e.image), "nothing is written")

	path, _ := e.damageData()
	before = digest(t, e.image)
	r := cloister(t, "scrub", "--image-key", e.key, e.image)
	require.Equal(t, exitImage, r.code)
	require.Empty(t, r.err)
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	require.Len(t, lines, 2, "one for the damage, one for all")
	require.Regexp(t, `^`+path+`: 4096 bytes at \d+ cannot be read: sefs: segment \d+ block \d+ is corrupt: not authentic$`, lines[0])
	require.Contains(t, lines[1], "1 problem;")
	require.Equal(t, before, digest(t, e.image), "nothing is written")

	refused(t, exitUsage, "scrub")
	refused(t, exitImage, "scrub", "--image-key", e.key, e.path("missing"))
	other := e.path("other")
	must(t, "gen-image-key", other)
	refused(t, exitKey, "scrub", "--image-key", other, e.image)
}

func TestFsck(t *testing.T) {
	e := newEnv(t)
	e.tree()
	e.build()
	before := digest(t, e.image)
	require.Contains(t, must(t, "fsck", "--image-key", e.key, e.image), ": clean; ")
	require.Equal(t, before, digest(t, e.image), "nothing is written")

	refused(t, fsckUsage, "fsck")
	refused(t, fsckUsage, "fsck", "--mend", "--image-key", e.key, e.image)
	require.Contains(t, must(t, "fsck", "--repair", "--image-key", e.key, e.image), ": clean; ")
	require.Equal(t, before, digest(t, e.image), "nothing is written where nothing is to be mended")
	refused(t, fsckUsage, "fsck", "--salvage=", "--image-key", e.key, e.image)
	refused(t, fsckUsage, "fsck", "--image-key", e.path("missing"), e.image)
	refused(t, fsckFailed, "fsck", "--image-key", e.key, e.path("missing"))
	refused(t, fsckFailed, "fsck", "--image-key", e.key, e.image, "--salvage", e.image)

	path, offset := e.damageData()
	before = digest(t, e.image)
	r := cloister(t, "fsck", "--image-key", e.key, e.image)
	require.Equal(t, fsckUncorrected, r.code)
	require.Empty(t, r.err)
	require.True(t, strings.HasPrefix(r.out, path+": 4096 bytes at "), r.out)

	t.Run("salvage", func(t *testing.T) {
		saved := e.path("saved")
		r := cloister(t, "fsck", "--image-key", e.key, e.image, "--salvage", saved, "--json")
		require.Equal(t, fsckUncorrected, r.code, r.err)
		var got checkResult
		require.NoError(t, json.Unmarshal([]byte(r.out), &got))
		require.NotNil(t, got.Salvage)
		require.Equal(t, []unreadable{{path, offset, min(4096, got.Salvage.Unreadable[0].Bytes), got.Salvage.Unreadable[0].Text}}, got.Salvage.Unreadable)
		require.EqualValues(t, 14, got.Salvage.Entries)
		require.Equal(t, before, digest(t, e.image), "the image is as it was")

		// What is not damaged is as it was in the source.
		err := filepath.WalkDir(e.source, func(name string, d os.DirEntry, err error) error {
			require.NoError(t, err)
			rel, err := filepath.Rel(e.source, name)
			require.NoError(t, err)
			if !d.Type().IsRegular() {
				_, err := os.Lstat(filepath.Join(saved, rel))
				require.NoError(t, err)
				return nil
			}
			want, err := os.ReadFile(name)
			require.NoError(t, err)
			if "/"+rel == path {
				clear(want[offset : offset+got.Salvage.Unreadable[0].Bytes])
			}
			have, err := os.ReadFile(filepath.Join(saved, rel))
			require.NoError(t, err)
			require.True(t, string(want) == string(have), "%s", rel)
			return nil
		})
		require.NoError(t, err)
		e.leftovers()
		refused(t, fsckFailed, "fsck", "--image-key", e.key, e.image, "--salvage", saved)
	})
}

// TestFsckCodes maps what other commands mean to what fsck(8) says.
func TestFsckCodes(t *testing.T) {
	for code, want := range map[int]int{
		exitUsage: 16, exitInterrupted: 32, exitHost: 8, exitImage: 8, exitInUse: 8, exitKey: 8, exitPolicy: 8, exitInternal: 70,
	} {
		require.Equal(t, want, fsckCode(code), "code %d", code)
	}
}

// TestSalvageBehindDamagedNodes damages the nodes of the tree one after the other. Whatever no
// problem names is saved.
func TestSalvageBehindDamagedNodes(t *testing.T) {
	e := newEnv(t)
	for n := range 300 {
		name := filepath.Join(e.source, fmt.Sprintf("dir%d/file%d", n%7, n))
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		require.NoError(t, os.WriteFile(name, []byte(strings.Repeat(fmt.Sprint(n, " "), n%300)), 0o644))
	}
	e.build()
	seg := e.segments()[0]
	st, err := os.Stat(seg)
	require.NoError(t, err)
	nodes, saved := 0, 0
	for at := int64(0); at < st.Size(); at += 8192 {
		flip(t, seg, at)
		r := cloister(t, "scrub", "--image-key", e.key, "--json", e.image)
		var got checkResult
		require.NoError(t, json.Unmarshal([]byte(r.out), &got))
		if r.code == exitOK || got.Problems[0].Kind != sefs.ProblemNode {
			flip(t, seg, at)
			continue
		}
		nodes++
		require.Len(t, got.Problems, 1, "nothing else is wrong")
		full := cloister(t, "fsck", "--image-key", e.key, "--json", e.image)
		require.Equal(t, fsckUncorrected, full.code)
		var same checkResult
		require.NoError(t, json.Unmarshal([]byte(full.out), &same))
		require.Equal(t, got.Problems, same.Problems, "nor for fsck")

		to := e.path(fmt.Sprint("saved", at))
		r = cloister(t, "fsck", "--image-key", e.key, e.image, "--salvage", to, "--json")
		if r.code == fsckUncorrected {
			saved++
			var result checkResult
			require.NoError(t, json.Unmarshal([]byte(r.out), &result))
			hit, missing := make(map[string]bool), make(map[string]bool)
			for _, p := range got.Problems[0].Paths {
				hit[p] = true
			}
			for _, u := range result.Salvage.Unreadable {
				missing[u.Path] = true
			}
			for n := range 300 {
				dir, file := fmt.Sprintf("/dir%d", n%7), fmt.Sprintf("/dir%d/file%d", n%7, n)
				want, err := os.ReadFile(filepath.Join(e.source, file))
				require.NoError(t, err)
				have, err := os.ReadFile(filepath.Join(to, file))
				if err == nil && string(want) == string(have) {
					continue
				}
				require.True(t, hit["/"] || hit[dir] || hit[file], "%s, which is not among %v", file, got.Problems[0].Paths)
				require.True(t, missing["/"] || missing[dir] || missing[file], "%s is not as it was, and %v does not say so", file, result.Salvage.Unreadable)
			}
		} else {
			require.Equal(t, fsckFailed, r.code, "the root or all of the tree is gone: %s", r.err)
		}
		flip(t, seg, at)
	}
	require.Greater(t, nodes, 10)
	require.Greater(t, saved, nodes*3/4)
}

// TestFsckRepair mends an image of which a node and a block of data are damaged.
func TestFsckRepair(t *testing.T) {
	e := newEnv(t)
	for n := range 300 {
		name := filepath.Join(e.source, fmt.Sprintf("dir%d/file%d", n%7, n))
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		require.NoError(t, os.WriteFile(name, []byte(strings.Repeat(fmt.Sprint(n, " "), n%300)), 0o644))
	}
	require.NoError(t, os.WriteFile(filepath.Join(e.source, "big"), []byte(strings.Repeat("0123456789abcdef", 20_000)), 0o644))
	e.build()
	path, _ := e.damageData()
	require.Equal(t, "/big", path)
	before := digest(t, e.image)
	var got checkResult
	r := cloister(t, "fsck", "--image-key", e.key, e.image, "--repair", "--json")
	require.Equal(t, fsckUncorrected, r.code, "blocks of data cannot be mended: %s", r.err)
	require.NoError(t, json.Unmarshal([]byte(r.out), &got))
	require.False(t, got.Repair.Changed)
	require.Len(t, got.Repair.Left, 1)
	require.Equal(t, before, digest(t, e.image), "nothing is written")

	seg := e.segments()[0]
	st, err := os.Stat(seg)
	require.NoError(t, err)
	for at := int64(0); ; at += 8192 {
		require.Less(t, at, st.Size(), "no node")
		flip(t, seg, at+4096)
		r := cloister(t, "fsck", "--image-key", e.key, "--json", e.image)
		require.NoError(t, json.Unmarshal([]byte(r.out), &got))
		if len(got.Problems) == 2 && got.Problems[0].Kind == sefs.ProblemNode && len(got.Problems[0].Paths) > 2 {
			break
		}
		flip(t, seg, at+4096)
	}
	saved := e.path("saved")
	r = cloister(t, "fsck", "--image-key", e.key, e.image, "--repair", "--salvage", saved)
	require.Equal(t, fsckCorrected+fsckUncorrected, r.code, r.err)
	require.DirExists(t, saved)
	for _, text := range []string{"mended: ", "left: /big: 4096 bytes at ", " left\n", "saved to " + saved} {
		require.Contains(t, r.out, text)
	}
	r = cloister(t, "fsck", "--image-key", e.key, "--json", e.image)
	require.Equal(t, fsckUncorrected, r.code)
	got = checkResult{}
	require.NoError(t, json.Unmarshal([]byte(r.out), &got))

	// Without the files of which blocks are lost it is clean.
	empty := e.path("empty")
	require.NoError(t, os.WriteFile(empty, nil, 0o644))
	for _, p := range got.Problems {
		require.Equal(t, sefs.ProblemData, p.Kind, "%+v", p)
		require.Len(t, p.Paths, 1)
		must(t, "import", "--image-key", e.key, e.image, empty, "--to", p.Paths[0])
	}
	require.Contains(t, must(t, "fsck", "--image-key", e.key, e.image), ": clean; ")

	seg = filepath.Join(e.image, "heads")
	flip(t, seg, 100)
	r = cloister(t, "fsck", "--image-key", e.key, e.image, "--repair")
	require.Equal(t, fsckCorrected, r.code, r.err)
	require.Contains(t, must(t, "fsck", "--image-key", e.key, e.image, "--repair"), ": clean; ")

	held, err := os.OpenFile(filepath.Join(e.image, "lock"), os.O_RDWR, 0)
	require.NoError(t, err)
	defer held.Close()
	require.NoError(t, unix.Flock(int(held.Fd()), unix.LOCK_SH))
	require.Contains(t, refused(t, fsckFailed, "fsck", "--image-key", e.key, e.image, "--repair"), "in use")
}

// TestCompact gives back what a file took that is no longer there.
func TestCompact(t *testing.T) {
	e := newEnv(t)
	big := e.path("big")
	require.NoError(t, os.Mkdir(e.source, 0o755))
	e.build()
	const files = 24
	for m := range files {
		require.NoError(t, os.WriteFile(big, []byte(strings.Repeat(fmt.Sprintf("%08d", m), 1<<20)), 0o644))
		must(t, "import", "--image-key", e.key, e.image, big, "--to", fmt.Sprint("/big", m))
	}
	require.NoError(t, os.Truncate(big, 0))
	for m := range files {
		if m%8 != 0 {
			must(t, "import", "--image-key", e.key, e.image, big, "--to", fmt.Sprint("/big", m))
		}
	}
	want := digestTree(t, e)
	var got compactResult
	require.NoError(t, json.Unmarshal([]byte(must(t, "compact", "--image-key", e.key, "--json", e.image)), &got))
	require.Less(t, got.After, got.Before)
	require.Equal(t, hostBytes(e.image), got.After)
	require.Equal(t, want, digestTree(t, e))
	require.Contains(t, must(t, "fsck", "--image-key", e.key, e.image), ": clean; ")
	require.Regexp(t, `^.*/image: .* on the host, .* before; 0 bytes moved in .* s\n$`, must(t, "compact", "--image-key", e.key, e.image), "there is nothing left to do")

	refused(t, exitUsage, "compact")
	refused(t, exitImage, "compact", "--image-key", e.key, e.path("missing"))
	held, err := os.OpenFile(filepath.Join(e.image, "lock"), os.O_RDWR, 0)
	require.NoError(t, err)
	defer held.Close()
	require.NoError(t, unix.Flock(int(held.Fd()), unix.LOCK_SH))
	refused(t, exitInUse, "compact", "--image-key", e.key, e.image)
}

// digestTree is a digest of what an image holds.
func digestTree(t testing.TB, e *env) string {
	tar := filepath.Join(t.TempDir(), "out.tar")
	must(t, "extract", "--image-key", e.key, e.image, "-o", tar)
	b, err := os.ReadFile(tar)
	require.NoError(t, err)
	return fmt.Sprintf("%x", sha256.Sum256(b))
}

// TestRepairIntegrityOnly refuses to change what is never changed.
func TestRepairIntegrityOnly(t *testing.T) {
	e := newEnv(t)
	e.tree()
	must(t, "build", "--integrity", "--from", e.source, "--image", e.image)
	flip(t, e.segments()[0], 0)
	before := digest(t, e.image)
	require.Contains(t, refused(t, fsckFailed, "fsck", "--repair", e.image), "what cannot be changed cannot be repaired")
	require.Contains(t, refused(t, exitImage, "compact", e.image), "never changed")
	require.Equal(t, fsckUncorrected, cloister(t, "fsck", e.image).code)
	require.Equal(t, before, digest(t, e.image))
}
