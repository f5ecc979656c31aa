package sefs_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs"
	"cloister/mountopt"
	"cloister/vfs"
)

// golden says to make the sample images anew. It is for images of a format that has not been
// released; the others are never changed.
var golden = flag.String("golden", "", "directory to make sample images in")

// A goldenImage is an image of an earlier version of this program, as a
// compressed tar file, with a list of what it holds.
type goldenImage struct {
	name string
	key  string
	make func(t *testing.T, g *goldenImage, dir string)
}

const longKey = "00-11-22-33-44-55-66-77-88-99-aa-bb-cc-dd-ee-ff-0f-1f-2f-3f-4f-5f-6f-7f-8f-9f-af-bf-cf-df-ef-ff"

var goldenImages = []goldenImage{
	{"v1-aes128", keyText, makeGolden},
	{"v1-aes256", longKey, makeSmallGolden},
}

func (g *goldenImage) config(t *testing.T) sefs.OpenConfig {
	key, err := mountopt.ParseKey(g.key)
	require.NoError(t, err)
	return sefs.OpenConfig{Key: key, CommitInterval: -1, Now: func() time.Time { return time.Unix(1_750_000_000, 123) }}
}

// TestGolden opens the sample images of all released versions, for reading and for writing, and
// looks at everything in them. One that was killed has a journal to replay and a file
// without a name.
func TestGolden(t *testing.T) {
	for _, g := range goldenImages {
		t.Run(g.name, func(t *testing.T) {
			if *golden != "" {
				g.remake(t, *golden)
			}
			list, err := os.ReadFile(filepath.Join("testdata", g.name+".txt"))
			require.NoError(t, err)
			want := strings.Split(strings.TrimSpace(string(list)), "\n")
			dir := t.TempDir()
			untar(t, filepath.Join("testdata", g.name+".tar.gz"), dir)
			before := content(t, dir)

			cfg := g.config(t)
			cfg.Access = sefs.ReadOnly
			require.Equal(t, want, g.list(t, dir, cfg), "read-only")
			for _, l := range locks(t) {
				if g.name != "v1-aes128" || l.name != "given" && l.name != "sealed" {
					continue
				}
				other := l.open()
				other.Access = sefs.ReadOnly
				require.Equal(t, want, g.list(t, dir, other), "with the key slot %q", l.name)
			}
			require.Equal(t, before, content(t, dir), "reading changes nothing")

			cfg = g.config(t)
			require.Equal(t, want, g.list(t, dir, cfg), "for writing, with recovery")
			x := &tree{t: t, cfg: cfg}
			x.fs, err = sefs.Open(t.Context(), dir, cfg)
			require.NoError(t, err)
			require.NoError(t, x.create("new file", 0o644, strings.Repeat("new", 30_000)))
			require.NoError(t, x.fs.Close(t.Context(), vfs.SafeClose))
			r, err := sefs.Check(t.Context(), dir, sefs.CheckConfig{OpenConfig: cfg, Depth: sefs.CheckTree})
			require.NoError(t, err)
			require.Empty(t, r.Problems)
			require.Zero(t, r.Orphans)
		})
	}
}

// list describes everything in the image in dir, one line for each name.
func (g *goldenImage) list(t *testing.T, dir string, cfg sefs.OpenConfig) (lines []string) {
	f, err := sefs.Open(t.Context(), dir, cfg)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close(context.Background(), vfs.SafeClose)) }()
	x := &tree{t: t, fs: f}
	dump := x.dump()
	large := 0
	for _, name := range slices.Sorted(maps.Keys(dump)) {
		if strings.HasPrefix(name, "/large/") {
			if large++; large%50 != 1 { // all are alike
				require.Equal(t, dump["/large/first"], dump[name], name)
				continue
			}
		}
		a := x.stat(name)
		line := fmt.Sprintf("%q %s | ino=%d size=%d blocks=%d rdev=%d mtime=%d.%09d btime=%d", name, dump[name], a.Ino, a.Size, a.Blocks, a.Rdev,
			a.Mtime.Sec, a.Mtime.Nsec, a.Btime.Sec)
		if a.Mode&unix.S_IFMT == unix.S_IFREG {
			line += " data=" + segments(t, x, name)
		}
		lines = append(lines, line)
	}
	return append(lines, fmt.Sprintf("%d names in /large", large))
}

// segments lists where a file has data.
func segments(t *testing.T, x *tree, name string) (text string) {
	h := x.handle(name)
	size := x.stat(name).Size
	for end := int64(0); end < size; {
		data, err := h.Seek(t.Context(), end, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return text
		}
		require.NoError(t, err)
		end, err = h.Seek(t.Context(), data, unix.SEEK_HOLE)
		require.NoError(t, err)
		text += fmt.Sprintf("[%d,%d)", data, end)
	}
	return text
}

// makeGolden makes an image with everything that an image can hold, and kills
// it with all kinds of operations in its journal.
func makeGolden(t *testing.T, g *goldenImage, dir string) {
	f, err := sefs.Make(t.Context(), dir, sefs.MakeConfig{OpenConfig: g.config(t), Mode: 0o750, UID: 3, GID: 4})
	require.NoError(t, err)
	x := &tree{t: t, fs: f, cfg: g.config(t)}
	must := func(err error) { t.Helper(); require.NoError(t, err) }
	must(x.create("inline", 0o644, "hello"))
	must(x.create("empty", 0o4600, ""))
	must(x.create("extents", 0o644, strings.Repeat("0123456789abcdef", 900)))
	must(x.create("sparse", 0o600, ""))
	must(x.write("sparse", "far away", 5<<20))
	must(x.create("to be removed", 0o644, strings.Repeat("r", 5000)))
	must(x.create("to be cut", 0o644, strings.Repeat("c", 9000)))
	must(x.create("to be shifted", 0o644, strings.Repeat("first...", 512)+strings.Repeat("second..", 512)+strings.Repeat("third...", 512)))
	must(x.create("to be punched", 0o644, strings.Repeat("p", 12288)))
	must(x.create("dir", unix.S_IFDIR|0o1777, ""))
	must(x.create("dir/sub", unix.S_IFDIR|0o700, ""))
	must(x.create("dir/sub/"+strings.Repeat("n", 255), 0o644, "longest name"))
	must(x.create("dir/\xff not UTF-8\n", 0o644, ""))
	must(x.create("link", unix.S_IFLNK, "dir/sub"))
	must(x.create("long link", unix.S_IFLNK, strings.Repeat("t", 4095)))
	must(x.create("fifo", unix.S_IFIFO|0o600, ""))
	must(x.create("socket", unix.S_IFSOCK|0o600, ""))
	must(x.create("char", unix.S_IFCHR|0o600, ""))
	must(x.create("block", unix.S_IFBLK|0o600, ""))
	must(x.link("inline", "dir/hard link"))
	must(x.whiteout("dir/whiteout"))
	must(x.setxattr("inline", "user.short", "value", 0))
	must(x.setxattr("inline", "user.empty", "", 0))
	must(x.setxattr("dir", "overlay.opaque", "y", 0))
	must(x.setxattr("dir/sub", "user.long", strings.Repeat("v", 5000), 0))
	must(x.on("empty", func(i vfs.Inode) error {
		return i.Setattr(t.Context(), vfs.SetAttr{Mask: unix.STATX_MTIME | unix.STATX_UID, UID: 1 << 31, Mtime: unix.Timespec{Sec: -1, Nsec: 999_999_999}})
	}))
	// Many names in one directory, in several nodes.
	must(x.create("large", unix.S_IFDIR|0o755, ""))
	must(x.create("large/first", 0o644, "all are this file"))
	for n := range 300 {
		must(x.link("large/first", fmt.Sprintf("large/%03d", n)))
	}
	must(f.Close(t.Context(), vfs.SafeClose))

	keys, err := sefs.OpenKeys(dir, sefs.KeysConfig{Key: g.config(t).Key, Now: g.config(t).Now})
	must(err)
	for _, l := range locks(t) {
		_, err := keys.Add(l.add)
		must(err)
	}
	must(keys.Remove(5))
	must(keys.Close())

	emptyJournal(t, dir)
	x.openDir(dir)
	sync := func() { t.Helper(); must(x.fs.Sync(t.Context())) }
	must(x.create("in the journal", 0o644, "small data travels in the record"))
	must(x.unlink("to be removed"))
	sync()
	must(x.write("to be shifted", strings.Repeat("changed.", 512), 8192)) // shifting needs it in a segment
	must(x.on("to be cut", func(i vfs.Inode) error {
		return i.Setattr(t.Context(), vfs.SetAttr{Mask: unix.STATX_SIZE, Size: 4100})
	}))
	must(x.handle("to be shifted").Fallocate(t.Context(), unix.FALLOC_FL_COLLAPSE_RANGE, 4096, 4096))
	must(x.handle("to be punched").Fallocate(t.Context(), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 4000, 5000))
	must(x.rename("dir/sub", "moved", 0))
	must(x.rename("fifo", "socket", unix.RENAME_EXCHANGE))
	must(x.rename("char", "dir/char", unix.RENAME_WHITEOUT))
	must(x.setxattr("moved", "user.late", "late", 0))
	sync()
	open, err := x.get("in the journal")
	must(err)
	must(x.create("open and removed", 0o644, "without a name"))
	orphan, err := x.get("open and removed")
	must(err)
	must(x.unlink("open and removed"))
	sync()
	require.NotNil(t, orphan)
	x.put(open)
	x.fs.Abandon()
}

// makeSmallGolden makes an image with a 32-byte key, closed.
func makeSmallGolden(t *testing.T, g *goldenImage, dir string) {
	f, err := sefs.Make(t.Context(), dir, sefs.MakeConfig{OpenConfig: g.config(t)})
	require.NoError(t, err)
	x := &tree{t: t, fs: f}
	require.NoError(t, x.create("file", 0o644, strings.Repeat("data", 2000)))
	require.NoError(t, x.create("link", unix.S_IFLNK, "file"))
	require.NoError(t, f.Close(t.Context(), vfs.SafeClose))
	emptyJournal(t, dir)
}

// emptyJournal removes what is left of earlier records behind the last one, which
// means nothing and does not compress.
func emptyJournal(t *testing.T, dir string) {
	require.NoError(t, os.WriteFile(filepath.Join(dir, "journal"), make([]byte, 4<<20), 0o600))
}

// openDir opens the image in dir for writing.
func (x *tree) openDir(dir string) {
	f, err := sefs.Open(context.Background(), dir, x.cfg)
	require.NoError(x.t, err)
	x.fs = f
}

// remake makes the image anew.
func (g *goldenImage) remake(t *testing.T, to string) {
	dir := t.TempDir()
	g.make(t, g, dir)
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	require.NoError(t, err)
	w := tar.NewWriter(z)
	require.NoError(t, fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Size: int64(len(data))}); err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	}))
	require.NoError(t, w.Close())
	require.NoError(t, z.Close())
	require.NoError(t, os.MkdirAll(to, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(to, g.name+".tar.gz"), b.Bytes(), 0o644))
	cfg := g.config(t)
	cfg.Access = sefs.ReadOnly
	list := strings.Join(g.list(t, dir, cfg), "\n") + "\n"
	require.NoError(t, os.WriteFile(filepath.Join(to, g.name+".txt"), []byte(list), 0o644))
}

func untar(t *testing.T, file, dir string) {
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return
		}
		require.NoError(t, err)
		name := filepath.Join(dir, h.Name)
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		data, err := io.ReadAll(r)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(name, data, 0o600))
	}
}
