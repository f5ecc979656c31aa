package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/syscall"
)

// makeOddTree lays out what the Go source tree lacks: links, odd names and
// modes, times, holes, empty and large files.
func makeOddTree(t *testing.T, dir string) {
	t.Helper()
	must := func(err error) { t.Helper(); require.NoError(t, err) }
	path := func(p string) string { return filepath.Join(dir, p) }
	for _, d := range []string{"empty", "deep/a/b/c/d/e/f/g/h", "sticky", "names"} {
		must(os.MkdirAll(path(d), 0o755))
	}
	must(os.Chmod(path("sticky"), 0o777|os.ModeSticky))
	must(os.WriteFile(path("zero"), nil, 0o600))
	must(os.WriteFile(path("setuid"), []byte("#!/bin/true\n"), 0o755))
	must(os.Chmod(path("setuid"), 0o755|os.ModeSetuid))
	must(os.WriteFile(path("deep/a/b/c/d/e/f/g/h/leaf"), bytes.Repeat([]byte("leaf of the deep tree "), 200), 0o444))
	must(os.Link(path("setuid"), path("deep/hardlink")))
	must(os.Symlink("../zero", path("deep/link")))
	must(os.Symlink("/no/such/place", path("dangling")))
	for _, name := range []string{" blank", "new\nline", "comma,colon:back\\slash", "\xff\xfe not UTF-8", string(bytes.Repeat([]byte("long-"), 49))} {
		must(os.WriteFile(path("names/"+name), []byte("content of "+name), 0o640))
	}
	big, err := os.Create(path("big"))
	must(err)
	rng := rand.New(rand.NewPCG(1, 2))
	buf := make([]byte, 5<<20+123)
	for i := 0; i+8 <= len(buf); i += 8 {
		binary.LittleEndian.PutUint64(buf[i:], rng.Uint64())
	}
	_, err = big.WriteAt(buf, 3<<20+77) // a hole first
	must(err)
	must(big.Close())
	for _, size := range []int{1, 2047, 2048, 2049, 4095, 4096, 4097, 1<<20 - 1, 1 << 20, 1<<20 + 1} {
		must(os.WriteFile(path(fmt.Sprintf("size-%d", size)), buf[:size], 0o644))
	}
	must(os.Lchown(path("zero"), 1234, 5678))
	when := time.Date(2001, 2, 3, 4, 5, 6, 789012345, time.UTC)
	must(os.Chtimes(path("zero"), when.Add(time.Hour), when))
	must(os.Chtimes(path("empty"), when, when))
}

// compareTree requires the tree below vpath to be the one in dir: names,
// types, modes, owners, times, links and contents. It returns how many entries
// it compared.
func compareTree(t *testing.T, task *syscall.Task, vpath, dir string) int {
	t.Helper()
	entries := 0
	inodes := map[uint64]uint64{} // source inode to ours: hard links stay together
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		ours := filepath.Join(vpath, rel)
		entries++
		var want, got unix.Stat_t
		require.NoError(t, unix.Lstat(path, &want))
		require.NoError(t, task.Lstat(ours, &got), "lstat %s", ours)
		require.Equal(t, want.Mode, got.Mode, "mode of %s", ours)
		require.Equal(t, [2]uint32{want.Uid, want.Gid}, [2]uint32{got.Uid, got.Gid}, "owner of %s", ours)
		require.Equal(t, want.Mtim, got.Mtim, "mtime of %s", ours)
		switch want.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			names, err := readDir(task, ours)
			require.NoError(t, err, "getdents64 %s", ours)
			slices.Sort(names)
			list, err := os.ReadDir(path)
			require.NoError(t, err)
			wantNames := make([]string, len(list))
			for i, e := range list {
				wantNames[i] = e.Name()
			}
			slices.Sort(wantNames)
			require.True(t, slices.Equal(wantNames, names), "names in %s: %q", ours, names)
		case unix.S_IFLNK:
			target, err := os.Readlink(path)
			require.NoError(t, err)
			buf := make([]byte, 4096)
			n, err := task.Readlink(ours, buf)
			require.NoError(t, err)
			require.Equal(t, target, string(buf[:n]), "readlink %s", ours)
		case unix.S_IFREG:
			require.Equal(t, want.Size, got.Size, "size of %s", ours)
			require.Equal(t, uint64(want.Nlink), uint64(got.Nlink), "links of %s", ours)
			if ino, ok := inodes[want.Ino]; ok {
				require.Equal(t, ino, got.Ino, "hard links of %s", ours)
			}
			inodes[want.Ino] = got.Ino
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			mine, err := readFile(task, ours)
			require.NoError(t, err, "read %s", ours)
			require.True(t, bytes.Equal(data, mine), "content of %s", ours)
		}
		return nil
	}))
	return entries
}

// windows are 8-byte pieces of plaintext, to be looked for in the host's bytes.
type windows map[uint64]string

func (w windows) add(b []byte, from string) {
	if len(b) < 8 {
		return
	}
	// Padding and counters can come about in any file; text does not.
	distinct := map[byte]bool{}
	for _, c := range b[:8] {
		distinct[c] = true
	}
	if len(distinct) < 5 {
		return
	}
	w[binary.LittleEndian.Uint64(b)] = from
}

// addTree takes a window of every name of 8 bytes and more and one of each 512 bytes of content.
func (w windows) addTree(t *testing.T, dir string) {
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		w.add([]byte(d.Name()), "the name of "+path)
		if !d.Type().IsRegular() {
			return nil
		}
		data, err := os.ReadFile(path)
		for off := 0; off+8 <= len(data); off += 512 {
			w.add(data[off:], "the content of "+path)
		}
		return err
	}))
}

// requireAbsent looks at every offset of every file below dir, and at the files' names.
func (w windows) requireAbsent(t *testing.T, dir string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for off := 0; off+8 <= len(data); off++ {
			if from, ok := w[binary.LittleEndian.Uint64(data[off:])]; ok {
				require.Fail(t, "plaintext on the host", "%s at %d holds part of %s", path, off, from)
			}
		}
		return nil
	}))
}

// changeMuch does what programs do to a tree, all over it.
func changeMuch(t *testing.T, task *syscall.Task, vpath, dir string) {
	t.Helper()
	rng := rand.New(rand.NewPCG(3, 4))
	var files []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			rel, _ := filepath.Rel(dir, path)
			files = append(files, filepath.Join(vpath, rel))
		}
		return err
	}))
	for i, f := range files {
		var err error
		switch rng.IntN(12) {
		case 0:
			err = task.Unlink(f)
		case 1:
			err = task.Rename(f, f+".moved")
		case 2:
			err = task.Chmod(f, 0o600)
		case 3:
			err = task.Truncate(f, int64(rng.IntN(9000)))
		case 4:
			err = task.Link(f, f+".link")
		case 5:
			err = writeFile(task, f, []byte(fmt.Sprintf("new content of file number %d\n", i)))
		case 6:
			err = task.Mkdir(f+".d", 0o755)
		case 7:
			err = task.Symlink("target number one", f+".sym")
		case 8:
			var fd int
			if fd, err = task.Open(f, unix.O_WRONLY|unix.O_APPEND, 0); err == nil {
				_, err = task.Write(fd, []byte("appended to the file\n"))
				task.Close(fd)
			}
		}
		require.NoError(t, err, "%s", f)
	}
}

// TestMergedView shows that the merged view of an image is the tree it was
// built from, that nothing below lowerdir changes, and that no name or content
// of the tree is on the host.
func TestMergedView(t *testing.T) {
	odd := filepath.Join(scratch(t), "odd tree")
	require.NoError(t, os.Mkdir(odd, 0o755))
	makeOddTree(t, odd)
	trees := map[string]string{"odd": odd, "go": goTree(t)}
	if underRace {
		trees["go"] = filepath.Join(trees["go"], "net")
	}
	for name, tree := range trees {
		t.Run(name, func(t *testing.T) {
			dir := scratch(t)
			lower, upper := filepath.Join(dir, "lower"), filepath.Join(dir, "upper")
			buildImage(t, tree, lower)
			require.NoError(t, os.Mkdir(upper, 0o755))
			before := hashDir(t, lower)

			lib, task := start(t, platform(t, "m", "s"))
			mountUnion(t, task, lower, upper, keyA)
			n := compareTree(t, task, "/data", tree)
			t.Logf("%d entries are those of the source", n)

			changeMuch(t, task, "/data", tree)
			require.NoError(t, task.Umount2("/data", 0))
			task.Exit()
			require.NoError(t, lib.Close(context.Background()))
			require.Equal(t, before, hashDir(t, lower), "nothing below lowerdir changed")

			w := windows{}
			w.addTree(t, tree)
			for _, s := range []string{"new content of file", "appended to the file", "target number one"} {
				w.add([]byte(s), s)
			}
			w.requireAbsent(t, lower)
			w.requireAbsent(t, upper)
			t.Logf("none of %d pieces of plaintext is on the host", len(w))
		})
	}
}
