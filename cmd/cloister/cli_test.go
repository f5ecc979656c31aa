package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestUsageErrors(t *testing.T) {
	e := newEnv(t)
	require.NoError(t, os.Mkdir(e.source, 0o755))
	mnt := filepath.Join(e.dir, "mnt")
	require.NoError(t, os.Mkdir(mnt, 0o755))
	missing := filepath.Join(e.dir, "missing")
	nokey := filepath.Join(e.dir, "nokey")
	require.NoError(t, os.WriteFile(nokey, []byte("not a key\n"), 0o600))
	for name, args := range map[string][]string{
		"unknown command":           {"frobnicate"},
		"unknown flag":              {"mount", "--frobnicate", mnt},
		"mount without a path":      {"mount", "--image", e.source},
		"mount without an image":    {"mount", mnt},
		"mount with two paths":      {"mount", "--image", e.source, mnt, mnt},
		"mount with an empty path":  {"mount", "--image", e.source, ""},
		"empty image key":           {"mount", "--image-key", "", "--image", e.source, mnt},
		"empty sign key":            {"mount", "--sign-key=", "--image", e.source, mnt},
		"empty sign tool":           {"mount", "--sign-tool=", "--image", e.source, mnt},
		"empty upper":               {"mount", "--upper=", "--image", e.source, mnt},
		"flag without a value":      {"mount", "--image"},
		"build without a source":    {"build", "--image", e.image},
		"build without an image":    {"build", "--from", e.source},
		"build from nothing":        {"build", "--from", missing, "--image", e.image, "--image-key", e.key},
		"mkfs without an image":     {"mkfs"},
		"two keys":                  {"build", "--from", e.source, "--image", e.image, "--image-key", e.key, "--key-fd", "3"},
		"a key from stdin by fd":    {"mkfs", "--image", e.image, "--key-fd", "0"},
		"a closed fd":               {"mkfs", "--image", e.image, "--key-fd", "999"},
		"a command that fails":      {"mkfs", "--image", e.image, "--key-cmd", "false"},
		"a command without a key":   {"mkfs", "--image", e.image, "--key-cmd", "echo no key"},
		"no such command":           {"mkfs", "--image", e.image, "--key-cmd", "/no/such/program"},
		"an empty command":          {"mkfs", "--image", e.image, "--key-cmd", ""},
		"archive and key by stdin":  {"build", "--from", "-", "--image", e.image, "--image-key", "-"},
		"extract to nowhere":        {"extract", e.source},
		"extract to two places":     {"extract", e.source, mnt, "-o", "-"},
		"extract -o with --json":    {"extract", e.source, "-o", "-", "--json"},
		"import without --to":       {"import", e.source, e.key},
		"import of nothing":         {"import", e.source, "--to", "/"},
		"import of the root":        {"import", e.source, "/", "--to", "/"},
		"tree with a bad level":     {"tree", "-L", "0", e.source},
		"missing key file":          {"build", "--from", e.source, "--image", e.image, "--image-key", missing},
		"malformed key file":        {"build", "--from", e.source, "--image", e.image, "--image-key", nokey},
		"missing sign key":          {"build", "--from", e.source, "--image", e.image, "--image-key", e.key, "--sign-key", missing},
		"malformed sign key":        {"build", "--from", e.source, "--image", e.image, "--image-key", e.key, "--sign-key", nokey},
		"missing sign tool":         {"build", "--from", e.source, "--image", e.image, "--image-key", e.key, "--sign-tool", missing},
		"cat without a path":        {"cat", e.source},
		"ls without an image":       {"ls"},
		"info of two":               {"info", e.source, e.source},
		"gen-image-key without one": {"gen-image-key"},
		"version with an argument":  {"version", "1"},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, exitUsage, args...)
			require.NoDirExists(t, e.image)
		})
	}
}

func TestGenImageKey(t *testing.T) {
	e := newEnv(t)
	text, err := os.ReadFile(e.key)
	require.NoError(t, err)
	require.Regexp(t, `^[0-9a-f]{2}(-[0-9a-f]{2}){15}\n$`, string(text))
	info, err := os.Stat(e.key)
	require.NoError(t, err)
	require.EqualValues(t, 0o600, info.Mode())

	require.Contains(t, refused(t, exitHost, "gen-image-key", e.key), "--force")
	again, err := os.ReadFile(e.key)
	require.NoError(t, err)
	require.Equal(t, text, again, "an existing key is kept")

	out := must(t, "gen-image-key", "--force", e.key)
	other, err := os.ReadFile(e.key)
	require.NoError(t, err)
	require.NotEqual(t, text, other)
	require.NotContains(t, out, strings.TrimSpace(string(other)), "the key is not printed")

	refused(t, exitHost, "gen-image-key", filepath.Join(e.dir, "no", "such", "dir"))
	left, err := filepath.Glob(filepath.Join(e.dir, ".*"))
	require.NoError(t, err)
	require.Empty(t, left, "temporary files")
}

func TestVersion(t *testing.T) {
	require.Regexp(t, `^cloister \S+\n$`, must(t, "version"))
}

func TestBuildAndRead(t *testing.T) {
	e := newEnv(t)
	e.tree()
	out := must(t, "build", "--from", e.source, "--image", e.image, "--image-key", e.key)
	require.Regexp(t, `^built .*: 14 entries \(6 files, 4 directories, 3 links, 1 special, 0 left out\), .*\n$`, out)
	before := digest(t, e.image)

	t.Run("ls", func(t *testing.T) {
		out := must(t, "ls", "--image-key", e.key, e.image)
		require.Equal(t, "abs\nbig\nbin\ndir\nempty\nfifo\nhello.txt\nhole\nprivate\n", out)
	})
	t.Run("ls of a file", func(t *testing.T) {
		require.Equal(t, "hello.txt\n", must(t, "ls", "--image-key", e.key, e.image, "hello.txt"))
	})
	t.Run("ls -l", func(t *testing.T) {
		out := must(t, "ls", "-l", "--image-key", e.key, e.image, "/")
		require.Regexp(t, `(?m)^-rw-r--r--   2 .* 13 2009-02-13 23:31:30 hello.txt$`, out)
		require.Regexp(t, `(?m)^lrwxrwxrwx   1 .* abs -> /dir/sub$`, out)
		require.Regexp(t, `(?m)^prw--w----   1 .* fifo$`, out)
		require.Regexp(t, `(?m)^drwxrwx--T   2 .* private$`, out)
		require.Regexp(t, `(?m)^-rw-.* 8388608 .* hole$`, out)
		out = must(t, "ls", "-l", "--image-key", e.key, e.image, "bin")
		require.Regexp(t, `(?m)^-rwsr-xr-x   1 .* tool$`, out)
	})
	t.Run("ls -R through a link", func(t *testing.T) {
		out := must(t, "ls", "-R", "--image-key", e.key, e.image, "dir")
		require.Equal(t, "dir:\nhard\nlink\nsub\n\ndir/sub:\ndeep\n", out)
		require.Equal(t, "deep\n", must(t, "ls", "--image-key", e.key, e.image, "abs"))
	})
	t.Run("cat", func(t *testing.T) {
		for _, name := range []string{"hello.txt", "dir/link", "/dir/hard", "dir/../hello.txt"} {
			require.Equal(t, "hello, world\n", must(t, "cat", "--image-key", e.key, e.image, name), name)
		}
		for _, name := range []string{"big", "hole", "empty"} {
			want, err := os.ReadFile(filepath.Join(e.source, name))
			require.NoError(t, err)
			require.True(t, string(want) == must(t, "cat", "--image-key", e.key, e.image, name), name)
		}
		key, err := os.ReadFile(e.key)
		require.NoError(t, err)
		r := cloisterIn(t, string(key), "cat", "--image-key", "-", e.image, "hello.txt")
		require.Equal(t, result{0, "hello, world\n", ""}, r)
	})
	t.Run("paths that cannot be read", func(t *testing.T) {
		require.Contains(t, refused(t, exitPath, "cat", "--image-key", e.key, e.image, "none"), unix.ENOENT.Error())
		require.Contains(t, refused(t, exitPath, "cat", "--image-key", e.key, e.image, "dir"), unix.EISDIR.Error())
		refused(t, exitPath, "cat", "--image-key", e.key, e.image, "fifo")
		refused(t, exitPath, "ls", "--image-key", e.key, e.image, "hello.txt/x")
	})
	t.Run("info", func(t *testing.T) {
		out := must(t, "info", e.image)
		require.Contains(t, out, "key       given")
		require.Contains(t, out, "verified  no")
		out = must(t, "info", "--image-key", e.key, e.image)
		require.Contains(t, out, "verified  yes")
		var info imageInfo
		require.NoError(t, json.Unmarshal([]byte(must(t, "info", "--json", "--image-key", e.key, e.image)), &info))
		require.True(t, info.Verified)
		require.Len(t, info.UUID, 32)
		require.Equal(t, "given", info.Key)
		require.Positive(t, info.Counts.UsedBytes)
		require.Positive(t, info.Counts.HostBytes)
	})
	t.Run("a key others can read is warned of", func(t *testing.T) {
		require.NoError(t, os.Chmod(e.key, 0o644))
		defer os.Chmod(e.key, 0o600)
		r := cloister(t, "cat", "--image-key", e.key, e.image, "empty")
		require.Zero(t, r.code)
		require.Contains(t, r.err, "warning: "+e.key)
	})
	require.Equal(t, before, digest(t, e.image), "reading changes nothing on the host")
}

func TestBuildRefusals(t *testing.T) {
	e := newEnv(t)
	e.tree()
	build := func(args ...string) []string {
		return append([]string{"build", "--image-key", e.key}, args...)
	}
	t.Run("a directory that is not empty", func(t *testing.T) {
		dir := filepath.Join(e.dir, "full")
		require.NoError(t, os.Mkdir(dir, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "f"), nil, 0o600))
		before := digest(t, dir)
		refused(t, exitImage, build("--from", e.source, "--image", dir)...)
		require.Equal(t, before, digest(t, dir))
	})
	t.Run("a file", func(t *testing.T) {
		refused(t, exitImage, build("--from", e.source, "--image", e.key)...)
	})
	t.Run("inside the source", func(t *testing.T) {
		refused(t, exitImage, build("--from", e.source, "--image", filepath.Join(e.source, "dir", "image"))...)
		refused(t, exitImage, build("--from", e.source, "--image", e.source)...)
	})
	t.Run("no parent directory", func(t *testing.T) {
		refused(t, exitImage, build("--from", e.source, "--image", filepath.Join(e.dir, "no", "image"))...)
	})
	t.Run("an image is not replaced", func(t *testing.T) {
		e.build()
		before := digest(t, e.image)
		refused(t, exitImage, build("--from", e.source, "--image", e.image)...)
		require.Equal(t, before, digest(t, e.image))
	})
	t.Run("an empty directory is used", func(t *testing.T) {
		dir := filepath.Join(e.dir, "empty")
		require.NoError(t, os.Mkdir(dir, 0o755))
		must(t, build("--from", e.source, "--image", dir)...)
		require.Contains(t, must(t, "ls", "--image-key", e.key, dir), "hello.txt")
	})
	t.Run("a whiteout is left out with a warning", func(t *testing.T) {
		from := filepath.Join(e.dir, "whiteout")
		require.NoError(t, os.Mkdir(from, 0o755))
		if err := unix.Mknod(filepath.Join(from, "w"), unix.S_IFCHR, 0); err != nil {
			t.Skipf("mknod: %v", err)
		}
		image := from + ".image"
		r := cloister(t, build("--from", from, "--image", image)...)
		require.Zero(t, r.code, r.err)
		require.Contains(t, r.err, "warning: "+filepath.Join(from, "w"))
		require.Contains(t, r.out, "1 left out")
	})
	left, err := filepath.Glob(filepath.Join(e.dir, ".*"))
	require.NoError(t, err)
	require.Empty(t, left, "half-built images")
}

func TestImageRefusals(t *testing.T) {
	e := newEnv(t)
	e.tree()
	e.build()
	other := filepath.Join(e.dir, "other")
	must(t, "gen-image-key", other)
	empty := filepath.Join(e.dir, "empty")
	require.NoError(t, os.Mkdir(empty, 0o755))
	before := digest(t, e.image)
	for name, row := range map[string]struct {
		code int
		args []string
	}{
		"wrong key":       {exitKey, []string{"ls", "--image-key", other, e.image}},
		"no key":          {exitKey, []string{"ls", "--machine-secret", e.machine, e.image}},
		"wrong key, info": {exitKey, []string{"info", "--image-key", other, e.image}},
		"no image":        {exitImage, []string{"ls", "--image-key", e.key, filepath.Join(e.dir, "none")}},
		"a file":          {exitImage, []string{"info", e.key}},
		"no superblock":   {exitImage, []string{"ls", "--image-key", e.key, e.source}},
		"empty directory": {exitImage, []string{"ls", "--image-key", e.key, empty}},
		"missing upper":   {exitImage, []string{"ls", "--image-key", e.key, "--upper", filepath.Join(e.dir, "none"), e.image}},
	} {
		t.Run(name, func(t *testing.T) { refused(t, row.code, row.args...) })
	}
	require.Equal(t, before, digest(t, e.image))
	require.NoFileExists(t, e.machine, "no machine secret is made for an image with a key")
	names, err := os.ReadDir(empty)
	require.NoError(t, err)
	require.Empty(t, names)

	t.Run("a flipped bit is damage", func(t *testing.T) {
		var seg string
		require.NoError(t, filepath.WalkDir(filepath.Join(e.image, "seg"), func(path string, d os.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				seg = path
			}
			return err
		}))
		require.NotEmpty(t, seg)
		data, err := os.ReadFile(seg)
		require.NoError(t, err)
		for i := 0; i < len(data); i += 512 {
			data[i] ^= 1
		}
		require.NoError(t, os.WriteFile(seg, data, 0o600))
		require.Equal(t, exitImage, cloister(t, "cat", "--image-key", e.key, e.image, "big").code)
	})
}

func TestInterrupt(t *testing.T) {
	e := newEnv(t)
	e.tree()
	t.Run("while waiting for the key", func(t *testing.T) {
		in, out, err := os.Pipe()
		require.NoError(t, err)
		defer in.Close()
		defer out.Close()
		p := spawnIn(t, in, "build", "--from", e.source, "--image", e.image, "--image-key", "-", "--sign-tool", e.key)
		p.err.wait(t, p, "note: ") // the key is read next
		require.NoError(t, p.cmd.Process.Signal(unix.SIGINT))
		require.Equal(t, exitInterrupted, p.exit(t))
		require.NoDirExists(t, e.image)
	})
	t.Run("while building", func(t *testing.T) {
		for i := range 1000 {
			require.NoError(t, os.WriteFile(filepath.Join(e.source, "private", fmt.Sprint(i)), []byte("x"), 0o600))
		}
		p := spawn(t, "build", "--from", e.source, "--image", e.image, "--image-key", e.key)
		for { // the hidden directory appears when copying begins
			half, err := filepath.Glob(filepath.Join(e.dir, ".image.*"))
			require.NoError(t, err)
			if len(half) > 0 {
				break
			}
			select {
			case <-p.done:
				t.Fatalf("the build ended at once: %s", p.err)
			default:
				runtime.Gosched()
			}
		}
		require.NoError(t, p.cmd.Process.Signal(unix.SIGTERM))
		if code := p.exit(t); code != exitOK { // it may have been done by then
			require.Equal(t, exitInterrupted, code, "%s", p.err)
			require.NoDirExists(t, e.image)
		}
		half, err := filepath.Glob(filepath.Join(e.dir, ".image.*"))
		require.NoError(t, err)
		require.Empty(t, half)
	})
}

func TestSealedImages(t *testing.T) {
	e := newEnv(t)
	e.tree()
	signer, otherSigner := filepath.Join("testdata", "signer.pem"), filepath.Join("testdata", "other.pem")
	otherMachine := filepath.Join(e.dir, "other-machine")
	must(t, "build", "--from", e.source, "--image", e.image, "--sign-key", signer, "--machine-secret", e.machine)
	before := digest(t, e.image)

	out := must(t, "ls", "--sign-key", signer, "--machine-secret", e.machine, e.image)
	require.Contains(t, out, "hello.txt")
	require.Contains(t, must(t, "info", e.image), `sealed by platform "simulation", policy "product"`)

	for name, args := range map[string][]string{
		"another signer":  {"--sign-key", otherSigner, "--machine-secret", e.machine},
		"no signer":       {"--machine-secret", e.machine},
		"another machine": {"--sign-key", signer, "--machine-secret", otherMachine},
		"a key":           {"--image-key", e.key},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, exitKey, append([]string{"ls", e.image}, args...)...)
		})
	}
	require.Equal(t, before, digest(t, e.image))

	t.Run("the default machine file", func(t *testing.T) {
		state := filepath.Join(e.dir, "state")
		t.Setenv("XDG_STATE_HOME", state)
		image := e.image + "2"
		must(t, "build", "--from", e.source, "--image", image)
		info, err := os.Stat(filepath.Join(state, "cloister", "machine"))
		require.NoError(t, err)
		require.EqualValues(t, 0o600, info.Mode())
		require.Contains(t, must(t, "ls", image), "hello.txt")
	})
}
