package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// rootMAC is the last line that build --integrity prints.
func rootMAC(t testing.TB, out string) string {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(out), "\n")
	mac, ok := strings.CutPrefix(lines[len(lines)-1], "root mac ")
	require.True(t, ok, out)
	require.Regexp(t, `^[0-9a-f]{64}$`, mac)
	return mac
}

func (e *env) buildIntegrity(args ...string) (mac string) {
	e.t.Helper()
	return rootMAC(e.t, must(e.t, append([]string{"build", "--integrity", "--from", e.source, "--image", e.image}, args...)...))
}

func TestBuildIntegrity(t *testing.T) {
	e := newEnv(t)
	t.Setenv("XDG_STATE_HOME", e.path("state"))
	t.Setenv(epochVariable, "")
	e.tree()
	out := must(t, "build", "--integrity", "--from", e.source, "--image", e.image)
	require.Regexp(t, `^built .*: 14 entries \(6 files, 4 directories, 3 links, 1 special, 0 left out\), .*\nroot mac .*\n$`, out)
	mac := rootMAC(t, out)
	other := strings.Repeat("0", 64)
	before := digest(t, e.image)

	t.Run("info", func(t *testing.T) {
		out := must(t, "info", e.image)
		require.Contains(t, out, "integrity only (SHA-256), deterministic")
		require.Contains(t, out, "root mac  "+mac+"\n")
		require.Contains(t, out, "pinned    no")
		require.Contains(t, must(t, "info", "--mac", mac, e.image), "pinned    yes")
		var info imageInfo
		require.NoError(t, json.Unmarshal([]byte(must(t, "info", "--json", e.image)), &info))
		require.Equal(t, []any{"integrity", "none", mac, true, false, ""}, []any{info.Mode, info.Key, info.MAC, info.Verified, info.Pinned, info.Freshness})
	})
	t.Run("keys", func(t *testing.T) {
		require.Contains(t, must(t, "key", "list", e.image), "has no keys")
		require.Contains(t, must(t, "key", "list", "--json", e.image), `"slots": []`)
	})
	t.Run("reading", func(t *testing.T) {
		r := cloister(t, "cat", e.image, "dir/link")
		require.Equal(t, "hello, world\n", r.out)
		require.Regexp(t, `^cloister: note: .* is integrity-only, .* --mac .*\n$`, r.err)
		r = cloister(t, "cat", "--mac", strings.ToUpper(mac), e.image, "dir/link")
		require.Equal(t, result{0, "hello, world\n", ""}, r)
		require.Regexp(t, `(?m)^-rwsr-xr-x   1 .* 1970-01-01 00:00:00 tool$`, must(t, "ls", "-l", "--mac", mac, e.image, "bin"))
		require.Contains(t, must(t, "tree", "--mac", mac, e.image), "deep")
		must(t, "scrub", "--mac", mac, e.image)
		must(t, "fsck", "--mac", mac, e.image)
	})
	t.Run("the tree comes back", func(t *testing.T) {
		dest := e.path("dest")
		must(t, "extract", "--mac", mac, e.image, dest)
		must(t, "build", "--integrity", "--from", dest, "--image", e.path("again"))
		require.Equal(t, digestFiles(t, e.image), digestFiles(t, e.path("again")))
		require.Empty(t, must(t, "diff", "--mac", mac, "--mac2", mac, e.image, e.path("again")))
	})
	t.Run("beside an encrypted image", func(t *testing.T) {
		must(t, "build", "--from", e.source, "--image", e.path("locked"), "--image-key", e.key)
		r := cloister(t, "diff", e.path("locked"), e.image, "--image-key", e.key)
		require.Equal(t, exitDiffer, r.code, "%s", r.err)
		for line := range strings.Lines(r.out) {
			require.Regexp(t, `^changed +/\S*: mtime \S+ -> 1970-01-01T00:00:00Z\n$`, line, "times are all that differs")
		}
		must(t, "mkfs", "--image", e.path("upper"), "--image-key", e.key)
		must(t, "import", "--mac", mac, e.image, e.key, "--to", "/", "--upper", e.path("upper"), "--image-key", e.key)
		require.Contains(t, must(t, "ls", "--mac", mac, e.image, "--upper", e.path("upper"), "--image-key", e.key), "key\n")
	})
	t.Run("refusals", func(t *testing.T) {
		for _, cmd := range []string{"ls", "tree", "scrub", "info"} {
			text := refused(t, exitKey, cmd, "--mac", other, e.image)
			require.Contains(t, text, "root MAC is another one", cmd)
			require.NotContains(t, text, "--image-key", cmd)
		}
		require.Contains(t, refused(t, exitKey, "ls", "--image-key", e.key, e.image), "has no key")
		require.Regexp(t, "never changed.*give --upper a layer", refused(t, exitImage, "import", e.image, e.key, "--to", "/"))
		refused(t, exitImage, "key", "add", e.image, "--image-key", e.key, "--new-key", e.key)
		require.Equal(t, fsckFailed, cloister(t, "fsck", "--mac", other, e.image).code)
	})
	t.Run("damage", func(t *testing.T) {
		bad := e.path("bad")
		require.NoError(t, os.CopyFS(bad, os.DirFS(e.image)))
		flip(t, filepath.Join(bad, "seg/00/00000000"), 5000)
		require.Contains(t, cloister(t, "scrub", "--mac", mac, bad).out, "not authentic")
	})
	require.Equal(t, before, digest(t, e.image), "nothing is written")
	require.NoDirExists(t, e.path("state"), "no machine secret is needed")
}

// digestFiles is the content of every file below a directory, by name.
func digestFiles(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	segments, err := filepath.Glob(filepath.Join(dir, "seg", "*", "*"))
	require.NoError(t, err)
	for _, name := range append(names, segments...) {
		if st, err := os.Stat(name); err != nil || st.IsDir() {
			continue
		}
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		files[strings.TrimPrefix(name, dir)] = string(data)
	}
	return files
}

func TestBuildIntegrityOptions(t *testing.T) {
	e := newEnv(t)
	e.tree()
	t.Setenv(epochVariable, "")
	usage := func(args ...string) {
		refused(t, exitUsage, append([]string{"build", "--from", e.source, "--image", e.image}, args...)...)
		require.NoDirExists(t, e.image)
	}
	usage("--integrity", "--image-key", e.key)
	usage("--integrity", "--sign-key", e.key)
	usage("--image-key", e.key, "--mtime", "5")
	usage("--image-key", e.key, "--owner", "0:0")
	for _, text := range []string{"", "x", "-1", "1.5", "99999999999999999999"} {
		usage("--integrity", "--mtime", text)
	}
	for _, text := range []string{"", "0", "0:", ":0", "root:root", "-1:0", "4294967295:0", "0:4294967296"} {
		usage("--integrity", "--owner", text)
	}
	refused(t, exitUsage, "ls", "--mac", "00", e.source)
	t.Setenv(epochVariable, "yesterday")
	usage("--integrity")

	mac := e.buildIntegrity("--mtime", "1300000000", "--owner", "7:8")
	require.Regexp(t, `(?m)7 +8 .* 2009-02-13 23:31:30 hello.txt$`, must(t, "ls", "-l", "--mac", mac, e.image), "an older time stays")
	require.Regexp(t, `(?m)7 +8 .* 2011-03-13 07:06:40 fifo$`, must(t, "ls", "-l", "--mac", mac, e.image))
	require.NoError(t, os.RemoveAll(e.image))
	t.Setenv(epochVariable, "1300000000")
	require.Equal(t, mac, e.buildIntegrity("--owner", "7:8"))
}

// TestBuildIntegrityFails shows that nothing is left of an image that cannot be made.
func TestBuildIntegrityFails(t *testing.T) {
	e := newEnv(t)
	e.tree()
	e.file("cut.tar", strings.Repeat("x", 700))
	refused(t, exitHost, "build", "--integrity", "--from", e.path("cut.tar"), "--image", e.image)
	refused(t, exitUsage, "build", "--integrity", "--from", e.path("missing"), "--image", e.image)
	refused(t, exitImage, "build", "--integrity", "--from", e.source, "--image", filepath.Join(e.source, "inside"))
	require.NoDirExists(t, e.image)
	require.NoDirExists(t, filepath.Join(e.source, "inside"))
	e.leftovers()
	mac := e.buildIntegrity()
	before := digest(t, e.image)
	refused(t, exitImage, "build", "--integrity", "--from", e.source, "--image", e.image)
	require.Equal(t, before, digest(t, e.image), "what exists is kept")
	must(t, "scrub", "--mac", mac, e.image)
}

// A plant is one entry of a tree that is made in several ways.
type plant struct {
	name, data string
	mode       uint32
	hole       int64  // bytes of zeros before data
	link       string // another plant that is the same file
}

var plants = []plant{
	{name: "d", mode: unix.S_IFDIR | 0o755},
	{name: "d/e", mode: unix.S_IFDIR | 0o2710},
	{name: "d/empty", mode: unix.S_IFDIR | 0o1777},
	{name: "a", mode: unix.S_IFREG | 0o644, data: "small"},
	{name: "B", mode: unix.S_IFREG | 0o4711, data: strings.Repeat("b", 5000)},
	{name: "d/ä", mode: unix.S_IFREG | 0o600, data: strings.Repeat("large ", 500_000)},
	{name: "d/hole", mode: unix.S_IFREG | 0o600, data: "behind", hole: 3 << 20},
	{name: "d/e/nothing", mode: unix.S_IFREG}, // nobody may read it
	{name: "d/e/again", link: "a"},
	{name: "fifo", mode: unix.S_IFIFO | 0o622},
	{name: "symlink", mode: unix.S_IFLNK | 0o777, data: "d/../a"},
}

// grow makes the plants in any order below dir.
func grow(t *testing.T, dir string, r *rand.Rand, attributes bool) {
	for _, p := range plants { // directories first
		if p.mode&unix.S_IFMT == unix.S_IFDIR {
			require.NoError(t, os.MkdirAll(filepath.Join(dir, p.name), 0o755))
		}
	}
	made := make(map[string]bool)
	for _, i := range append(r.Perm(len(plants)), r.Perm(len(plants))...) { // twice: links need their file
		p := plants[i]
		path := filepath.Join(dir, p.name)
		if made[p.name] || p.link != "" && !made[p.link] {
			continue
		}
		made[p.name] = true
		switch {
		case p.link != "":
			require.NoError(t, os.Link(filepath.Join(dir, p.link), path))
			continue
		case p.mode&unix.S_IFMT == unix.S_IFLNK:
			require.NoError(t, os.Symlink(p.data, path))
			continue
		case p.mode&unix.S_IFMT == unix.S_IFIFO:
			require.NoError(t, unix.Mkfifo(path, 0o600))
		case p.mode&unix.S_IFMT == unix.S_IFREG:
			f, err := os.Create(path)
			require.NoError(t, err)
			if r.IntN(2) == 0 { // zeros or a hole
				_, err = f.Write(make([]byte, p.hole))
				require.NoError(t, err)
			}
			_, err = f.WriteAt([]byte(p.data), p.hole)
			require.NoError(t, err)
			require.NoError(t, f.Close())
			if attributes {
				require.NoError(t, unix.Setxattr(path, "user.name", []byte(p.name), 0))
			}
		}
	}
	for _, p := range plants {
		if p.mode != 0 && p.mode&unix.S_IFMT != unix.S_IFLNK {
			require.NoError(t, unix.Chmod(filepath.Join(dir, p.name), p.mode&0o7777))
		}
	}
	require.NoError(t, unix.Chmod(dir, 0o750))
}

// pack writes the plants as an archive, in any order in which links come behind their files.
func pack(t *testing.T, file string, r *rand.Rand, attributes bool) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	write := func(p plant) {
		h := &tar.Header{
			Name: p.name, Mode: int64(p.mode & 0o7777), Uid: os.Getuid(), Gid: os.Getgid(), Format: tar.FormatPAX,
			ModTime: time.Unix(r.Int64N(1<<30), 5), PAXRecords: make(map[string]string),
		}
		data := ""
		switch p.mode & unix.S_IFMT {
		case unix.S_IFDIR:
			h.Typeflag = tar.TypeDir
		case unix.S_IFIFO:
			h.Typeflag = tar.TypeFifo
		case unix.S_IFLNK:
			h.Typeflag, h.Linkname = tar.TypeSymlink, p.data
		case unix.S_IFREG:
			data = string(make([]byte, p.hole)) + p.data
			h.Typeflag, h.Size = tar.TypeReg, int64(len(data))
			if attributes {
				h.PAXRecords["SCHILY.xattr.user.name"] = p.name
			}
		default:
			h.Typeflag, h.Linkname = tar.TypeLink, p.link
		}
		require.NoError(t, w.WriteHeader(h))
		_, err := w.Write([]byte(data))
		require.NoError(t, err)
	}
	var links []plant
	for _, i := range r.Perm(len(plants)) {
		if plants[i].link != "" {
			links = append(links, plants[i])
			continue
		}
		write(plants[i])
	}
	for _, p := range links {
		write(p)
	}
	write(plant{name: "./", mode: unix.S_IFDIR | 0o750})
	require.NoError(t, w.Close())
	require.NoError(t, os.WriteFile(file, b.Bytes(), 0o600))
}

// TestBuildIntegrityDeterministic builds one tree that was made in many ways: every file of the
// image is the same.
func TestBuildIntegrityDeterministic(t *testing.T) {
	memory, err := os.MkdirTemp("/dev/shm", "cloister")
	if err != nil {
		memory = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(memory) })
	disk := t.TempDir()
	attributes := true
	for _, dir := range []string{memory, disk} {
		attributes = attributes && unix.Setxattr(dir, "user.try", nil, 0) == nil
		_ = unix.Removexattr(dir, "user.try")
	}
	old := unix.Umask(0)
	unix.Umask(old)
	defer unix.Umask(old)
	t.Setenv(epochVariable, "")

	var want map[string]string
	for i, tt := range []struct {
		name, place, zone, procs string
		umask                    int
		archive                  bool
	}{
		{"on disk", disk, "UTC", "2", 0o022, false},
		{"in memory, in another order", memory, "Asia/Tokyo", "1", 0o077, false},
		{"on disk, with many processors", disk, "America/New_York", "8", 0o027, false},
		{"in memory, once more", memory, "", "2", 0, false},
		{"from an archive", disk, "Asia/Tokyo", "2", 0o077, true},
		{"from an archive in another order", memory, "UTC", "1", 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(i), 1))
			dir := filepath.Join(tt.place, "case", tt.name)
			require.NoError(t, os.MkdirAll(dir, 0o755))
			source, image := filepath.Join(dir, "source"), filepath.Join(dir, "image")
			unix.Umask(tt.umask)
			defer unix.Umask(old)
			if tt.archive {
				pack(t, source, r, attributes)
			} else {
				require.NoError(t, os.Mkdir(source, 0o755))
				grow(t, source, r, attributes)
			}
			t.Setenv("TZ", tt.zone)
			t.Setenv("GOMAXPROCS", tt.procs)
			p := spawn(t, "build", "--integrity", "--from", source, "--image", image)
			require.Zero(t, p.exit(t))
			got := digestFiles(t, image)
			if want == nil {
				want = got
			}
			require.Len(t, got, 4)
			for name, data := range want {
				require.True(t, data == got[name], "%s differs", name)
			}
			left, err := filepath.Glob(filepath.Join(dir, ".*"))
			require.NoError(t, err)
			require.Empty(t, left, "temporary files")
		})
	}
}
