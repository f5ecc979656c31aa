package main

import (
	"archive/tar"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// same requires that two images hold the same tree.
func (e *env) same(one, two string) {
	e.t.Helper()
	r := cloister(e.t, "diff", "--image-key", e.key, one, two)
	require.Equal(e.t, result{}, r, "%s and %s are equal", one, two)
}

func (e *env) path(name string) string { return filepath.Join(e.dir, name) }

// leftovers requires that nothing hidden is left in the scratch place.
func (e *env) leftovers() {
	e.t.Helper()
	left, err := filepath.Glob(filepath.Join(e.dir, ".*"))
	require.NoError(e.t, err)
	require.Empty(e.t, left)
}

func TestMkfs(t *testing.T) {
	e := newEnv(t)
	require.Regexp(t, `^made .*: an empty image; .* on the host\n$`, must(t, "mkfs", "--image", e.image, "--image-key", e.key))
	require.Empty(t, must(t, "ls", "--image-key", e.key, e.image))
	before := digest(t, e.image)
	require.Contains(t, refused(t, exitImage, "mkfs", "--image", e.image, "--image-key", e.key), unix.ENOTEMPTY.Error())
	require.Equal(t, before, digest(t, e.image))

	sealed := e.path("sealed")
	var made builtResult
	require.NoError(t, json.Unmarshal([]byte(must(t, "mkfs", "--image", sealed, "--machine-secret", e.machine, "--json")), &made))
	require.Equal(t, sealed, made.Image)
	require.Positive(t, made.HostBytes)
	require.Zero(t, made.Entries)
	must(t, "ls", "--machine-secret", e.machine, sealed)
	e.leftovers()
}

func TestBuildFromTar(t *testing.T) {
	e := newEnv(t)
	e.tree()
	e.build()
	plain := e.path("source.tar")
	must(t, "extract", "--image-key", e.key, e.image, "-o", plain)
	for _, name := range []string{"a.tar", "a.tar.gz", "a.tgz", "a.tar.zst"} {
		file := e.path(name)
		must(t, "extract", "--image-key", e.key, e.image, "-o", file)
		image := file + ".image"
		out := must(t, "build", "--from", file, "--image", image, "--image-key", e.key)
		require.Regexp(t, `^built .*: 14 entries \(6 files, 4 directories, 3 links, 1 special, 0 left out\), .*\n$`, out)
		e.same(e.image, image)
	}
	archive, err := os.ReadFile(plain)
	require.NoError(t, err)

	t.Run("from standard input", func(t *testing.T) {
		image := e.path("stdin.image")
		r := cloisterIn(t, string(archive), "build", "--from", "-", "--image", image, "--image-key", e.key, "--json")
		require.Zero(t, r.code, r.err)
		var built builtResult
		require.NoError(t, json.Unmarshal([]byte(r.out), &built))
		require.EqualValues(t, 14, built.Entries)
		require.EqualValues(t, 1, built.HardLinks)
		e.same(e.image, image)
	})
	t.Run("from a FIFO", func(t *testing.T) {
		fifo, image := e.path("fifo"), e.path("fifo.image")
		require.NoError(t, unix.Mkfifo(fifo, 0o600))
		go func() { _ = os.WriteFile(fifo, archive, 0) }()
		must(t, "build", "--from", fifo, "--image", image, "--image-key", e.key)
		e.same(e.image, image)
	})
	t.Run("from GNU tar", func(t *testing.T) {
		image := e.path("gnu.image")
		cmd := exec.CommandContext(t.Context(), "tar", "--format=pax", "--xattrs", "--sparse", "--numeric-owner", "-czf", e.path("gnu.tgz"), "-C", e.source, ".")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Skipf("GNU tar is not installed: %s", out)
		}
		must(t, "build", "--from", e.path("gnu.tgz"), "--image", image, "--image-key", e.key)
		e.same(e.image, image)
	})
	for name, text := range map[string]string{
		"cut off": string(archive[:len(archive)-1000]), "no archive": strings.Repeat("text", 1000), "nothing": "",
		"xz": "\xfd7zXZ\x00....", "a damaged gzip": "\x1f\x8b.........",
	} {
		t.Run(name, func(t *testing.T) {
			r := cloisterIn(t, text, "build", "--from", "-", "--image", e.path("no.image"), "--image-key", e.key)
			require.Equal(t, exitHost, r.code)
			require.Regexp(t, `^cloister: build: read standard input(: |.*: ).*; the image was not made\n$`, r.err)
			require.NoDirExists(t, e.path("no.image"))
		})
	}
	t.Run("a name that leads up", func(t *testing.T) {
		out, err := exec.CommandContext(t.Context(), "tar", "-cf", e.path("up.tar"), "-P", "-C", e.source, "../key").CombinedOutput()
		if err != nil {
			t.Skipf("GNU tar is not installed: %s", out)
		}
		require.Contains(t, refused(t, exitHost, "build", "--from", e.path("up.tar"), "--image", e.path("no.image"), "--image-key", e.key), "up.tar: ../key: a name with '..'")
	})
	t.Run("an interrupt while a pipe gives nothing", func(t *testing.T) {
		in, out, err := os.Pipe()
		require.NoError(t, err)
		defer in.Close()
		defer out.Close()
		p := spawnIn(t, in, "build", "--from", "-", "--image", e.path("no.image"), "--image-key", e.key, "--sign-tool", e.key)
		p.err.wait(t, p, "note: ") // the archive is read soon
		require.NoError(t, p.cmd.Process.Signal(unix.SIGINT))
		require.Equal(t, exitInterrupted, p.exit(t), "%s", p.err)
		require.NoDirExists(t, e.path("no.image"))
	})
	e.leftovers()
}

func TestExtract(t *testing.T) {
	e := newEnv(t)
	e.tree()
	e.build()
	before := digest(t, e.image)
	run := func(args ...string) []string { return append([]string{"extract", "--image-key", e.key}, args...) }

	t.Run("a new directory", func(t *testing.T) {
		out := must(t, run(e.image, e.path("new"))...)
		require.Regexp(t, `^extracted .* to .*: 14 entries \(6 files, .*\n$`, out)
		must(t, "build", "--from", e.path("new"), "--image", e.path("new.image"), "--image-key", e.key)
		e.same(e.image, e.path("new.image"))
	})
	t.Run("an empty directory", func(t *testing.T) {
		require.NoError(t, os.Mkdir(e.path("empty"), 0o700))
		must(t, run(e.image, e.path("empty"))...)
		must(t, "build", "--from", e.path("empty"), "--image", e.path("empty.image"), "--image-key", e.key)
		e.same(e.image, e.path("empty.image"))
	})
	t.Run("a directory that holds something", func(t *testing.T) {
		full := e.path("full")
		require.NoError(t, os.Mkdir(full, 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(full, "hello.txt"), []byte("mine"), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(full, "other"), []byte("mine"), 0o600))
		unchanged := digest(t, full)
		require.Contains(t, refused(t, exitHost, run(e.image, full)...), "--force")
		require.Equal(t, unchanged, digest(t, full))
		var got extractResult
		require.NoError(t, json.Unmarshal([]byte(must(t, run(e.image, full, "--force", "--json")...)), &got))
		require.EqualValues(t, 14, got.Entries)
		text, err := os.ReadFile(filepath.Join(full, "hello.txt"))
		require.NoError(t, err)
		require.Equal(t, "hello, world\n", string(text))
		require.FileExists(t, filepath.Join(full, "other"))
	})
	t.Run("a part", func(t *testing.T) {
		must(t, run(e.image+":/dir", e.path("part"))...)
		require.FileExists(t, e.path("part/sub/deep"))
		must(t, run(e.image+":abs", e.path("through-a-link"))...)
		require.FileExists(t, e.path("through-a-link/deep"))
	})
	t.Run("a file", func(t *testing.T) {
		must(t, "cp", "--image-key", e.key, e.image+":bin/tool", e.path("renamed"))
		require.FileExists(t, e.path("renamed"))
		must(t, "cp", "--image-key", e.key, e.image+":/bin/tool", e.dir)
		info, err := os.Stat(e.path("tool"))
		require.NoError(t, err)
		require.Equal(t, 0o755|os.ModeSetuid, info.Mode())
		require.Contains(t, refused(t, exitHost, run(e.image+":bin/tool", e.path("renamed"))...), "--force")
		must(t, run("--force", e.image+":hello.txt", e.path("renamed"))...)
		text, err := os.ReadFile(e.path("renamed"))
		require.NoError(t, err)
		require.Equal(t, "hello, world\n", string(text))
	})
	t.Run("an archive", func(t *testing.T) {
		one := must(t, run(e.image, "-o", "-")...)
		require.Equal(t, one, must(t, run(e.image, "-o", "-")...), "the same bytes each time")
		must(t, run(e.image, "-o", e.path("a.tar"))...)
		two, err := os.ReadFile(e.path("a.tar"))
		require.NoError(t, err)
		require.True(t, one == string(two))
		require.Contains(t, refused(t, exitHost, run(e.image, "-o", e.path("a.tar"))...), "--force")
		must(t, run(e.image, "-o", e.path("a.tar"), "--force")...)
		single := must(t, run(e.image+":bin/tool", "-o", "-")...)
		h, err := tar.NewReader(strings.NewReader(single)).Next()
		require.NoError(t, err)
		require.Equal(t, "tool", h.Name)
	})
	t.Run("colons", func(t *testing.T) {
		image := e.path("with:colon")
		must(t, "build", "--from", e.source, "--image", image, "--image-key", e.key)
		must(t, run(image, e.path("colon1"))...)
		must(t, run(image+":/dir", e.path("colon2"))...)
		require.FileExists(t, e.path("colon2/sub/deep"))
	})
	t.Run("refusals", func(t *testing.T) {
		refused(t, exitPath, run(e.image+":/none", e.path("none"))...)
		refused(t, exitImage, run(e.path("no-image")+":/x", e.path("none"))...)
		refused(t, exitHost, run(e.image, e.path("no/parent"))...)
		refused(t, exitHost, run(e.image, e.key)...)
		refused(t, exitHost, run(e.image+":bin/tool", e.path("none")+"/")...)
		require.Contains(t, refused(t, exitHost, run("--force", e.image, e.image)...), "lies inside")
		require.Contains(t, refused(t, exitHost, run(e.image, filepath.Join(e.image, "x"))...), "lies inside")
		require.NoDirExists(t, e.path("none"))
	})
	require.Equal(t, before, digest(t, e.image), "reading changes nothing on the host")
	e.leftovers()
}

func TestDamagedImages(t *testing.T) {
	e := newEnv(t)
	e.tree()
	e.build()
	two := e.path("two")
	must(t, "build", "--from", e.source, "--image", two, "--image-key", e.key)
	require.NoError(t, filepath.WalkDir(filepath.Join(two, "seg"), func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		for i := 0; i < len(data); i += 512 {
			data[i] ^= 1
		}
		return os.WriteFile(path, data, 0o600)
	}))
	before := digest(t, two)
	refused(t, exitImage, "extract", "--image-key", e.key, two, e.path("new"))
	require.NoDirExists(t, e.path("new"))
	refused(t, exitImage, "extract", "--image-key", e.key, two, "-o", e.path("new.tar"))
	require.NoFileExists(t, e.path("new.tar"))
	require.Contains(t, refused(t, exitImage, "diff", "--image-key", e.key, e.image, two), two)
	require.Equal(t, before, digest(t, two))
	e.leftovers()
}

func TestExtractInterrupted(t *testing.T) {
	e := newEnv(t)
	e.tree()
	for i := range 2000 {
		require.NoError(t, os.WriteFile(filepath.Join(e.source, "private", strings.Repeat("n", 1+i%200)+string(rune('a'+i/200))), []byte("x"), 0o600))
	}
	e.build()
	require.NoError(t, os.Mkdir(e.path("empty"), 0o755))
	for dest, begun := range map[string]string{e.path("new"): e.path(".new.*/private/*"), e.path("empty"): e.path("empty/private/*")} {
		p := spawn(t, "extract", "--image-key", e.key, e.image, dest)
		for {
			half, err := filepath.Glob(begun)
			require.NoError(t, err)
			if len(half) > 0 {
				break
			}
			select {
			case <-p.done:
				t.Fatalf("the command ended at once: %s", p.err)
			default:
				runtime.Gosched()
			}
		}
		require.NoError(t, p.cmd.Process.Signal(unix.SIGINT))
		if code := p.exit(t); code != exitOK { // it may have been done by then
			require.Equal(t, exitInterrupted, code, "%s", p.err)
			names, _ := os.ReadDir(dest)
			require.Empty(t, names)
		}
	}
	e.leftovers()
}

func TestTree(t *testing.T) {
	e := newEnv(t)
	e.tree()
	e.build()
	require.Equal(t, `/
├── abs -> /dir/sub
├── big
├── bin
│   └── tool
├── dir
│   ├── hard
│   ├── link -> ../hello.txt
│   └── sub
│       └── deep
├── empty
├── fifo
├── hello.txt
├── hole
└── private

4 directories, 10 files
`, must(t, "tree", "--image-key", e.key, e.image))
	require.Equal(t, "dir\n├── hard\n├── link -> ../hello.txt\n└── sub\n\n1 directory, 2 files\n",
		must(t, "tree", "-L", "1", "--image-key", e.key, e.image, "dir"))
	refused(t, exitPath, "tree", "--image-key", e.key, e.image, "hello.txt")
	refused(t, exitPath, "tree", "--image-key", e.key, e.image, "none")
}

// TestHelp holds that every command explains itself, with an example.
func TestHelp(t *testing.T) {
	var all func(cmd *cobra.Command, args []string)
	all = func(cmd *cobra.Command, args []string) {
		for _, sub := range cmd.Commands() {
			path := append(args[:len(args):len(args)], sub.Name())
			if sub.Name() == "completion" || sub.Name() == "help" {
				continue
			}
			out := must(t, append(path, "--help")...)
			require.Contains(t, out, "Usage:", path)
			if sub.HasSubCommands() {
				all(sub, path)
				continue
			}
			if sub.Name() != "version" {
				require.Contains(t, out, "Examples:\n  cloister ", "cloister %s", strings.Join(path, " "))
			}
		}
	}
	all(newRoot(streams{}), nil)
}
