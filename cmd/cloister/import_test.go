package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestImport(t *testing.T) {
	e := newEnv(t)
	e.tree()
	e.build()
	more := e.path("more")
	put := func(name, text string) string {
		path := filepath.Join(more, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o640))
		return path
	}
	cat := func(name string) string { return must(t, "cat", "--image-key", e.key, e.image, name) }
	run := func(args ...string) []string {
		return append([]string{"import", "--image-key", e.key, e.image}, args...)
	}

	t.Run("files go into a directory", func(t *testing.T) {
		out := must(t, run(put("one", "1"), put("two", "2"), "--to", "/dir")...)
		require.Regexp(t, `^imported to .*:/dir: 2 entries \(2 files, .*\n$`, out)
		require.Equal(t, "1", cat("dir/one"))
		require.Equal(t, "2", cat("dir/two"))
	})
	t.Run("one file gets a name", func(t *testing.T) {
		must(t, run(put("one", "new"), "--to", "/bin/fresh")...)
		require.Equal(t, "new", cat("bin/fresh"))
	})
	t.Run("a file is replaced, other names of it are not", func(t *testing.T) {
		must(t, run(put("hello.txt", "replaced"), "--to", "/")...)
		require.Equal(t, "replaced", cat("hello.txt"))
		require.Equal(t, "hello, world\n", cat("dir/hard"))
		require.Regexp(t, `-rw-r-----   1 .* hello.txt`, must(t, "ls", "-l", "--image-key", e.key, e.image))
	})
	t.Run("a symbolic link is replaced, what it leads to is not", func(t *testing.T) {
		must(t, run(put("x", "instead"), "--to", "/dir/link")...)
		require.Equal(t, "instead", cat("dir/link"))
		require.Equal(t, "replaced", cat("hello.txt"))
	})
	t.Run("a directory is reached through a link", func(t *testing.T) {
		must(t, run(put("linked", "l"), "--to", "abs")...)
		require.Equal(t, "l", cat("dir/sub/linked"))
	})
	t.Run("trees are merged", func(t *testing.T) {
		put("dir/sub/deep", "merged")
		put("dir/fresh/file", "f")
		require.NoError(t, os.Link(filepath.Join(more, "dir/fresh/file"), filepath.Join(more, "dir/hard")))
		var got importResult
		require.NoError(t, json.Unmarshal([]byte(must(t, run(filepath.Join(more, "dir"), "--to", "/", "--json")...)), &got))
		require.EqualValues(t, 3, got.Dirs)
		require.EqualValues(t, 1, got.HardLinks)
		require.Equal(t, "merged", cat("dir/sub/deep"))
		require.Equal(t, "f", cat("dir/hard"))
		require.Equal(t, "l", cat("dir/sub/linked"), "the rest stays")
	})
	t.Run("nothing else appears", func(t *testing.T) {
		require.NotContains(t, must(t, "tree", "--image-key", e.key, e.image), ".cloister")
	})
	t.Run("errors leave the image as it was", func(t *testing.T) {
		must(t, "extract", "--image-key", e.key, e.image, e.path("before"))
		must(t, "build", "--from", e.path("before"), "--image", e.path("before.image"), "--image-key", e.key)
		put("bad/a", "first")
		put("bad/hello.txt", "second")
		put("bad/private", "a file where a directory is")
		require.Contains(t, refused(t, exitHost, run(put("one", "changed"), filepath.Join(more, "bad/a"), filepath.Join(more, "bad/hello.txt"), filepath.Join(more, "bad/private"), "--to", "/")...), unchanged)
		refused(t, exitHost, run(filepath.Join(more, "none"), "--to", "/")...)
		refused(t, exitPath, run(put("one", "1"), "--to", "/none/file")...)
		refused(t, exitPath, run(put("one", "1"), "--to", "/none/")...)
		refused(t, exitPath, run(put("one", "1"), put("two", "1"), "--to", "/none")...)
		refused(t, exitPath, run(put("one", "1"), put("two", "1"), "--to", "/hello.txt")...)
		refused(t, exitImage, run(e.dir, "--to", "/")...) // the image lies inside
		refused(t, exitHost, run(filepath.Join(more, "dir"), "--to", "/hello.txt")...)
		e.same(e.image, e.path("before.image"))
	})
	t.Run("a layer", func(t *testing.T) {
		upper, before := e.path("upper"), digest(t, e.image)
		require.NoError(t, os.Mkdir(upper, 0o755))
		refused(t, exitImage, run(put("one", "above"), "--upper", upper, "--to", "/hello.txt")...)
		must(t, "mkfs", "--image", upper, "--image-key", e.key)
		must(t, run(put("one", "above"), "--upper", upper, "--to", "/hello.txt")...)
		refused(t, exitHost, run(put("one", "changed"), filepath.Join(more, "bad/private"), "--upper", upper, "--to", "/")...)
		require.Equal(t, "above", must(t, "cat", "--image-key", e.key, "--upper", upper, e.image, "hello.txt"))
		refused(t, exitPath, "cat", "--image-key", e.key, "--upper", upper, e.image, "one")
		require.Equal(t, before, digest(t, e.image), "the image is only read")
	})
	t.Run("sources that are relative", func(t *testing.T) {
		t.Chdir(filepath.Join(more, "dir"))
		must(t, run(".", "--to", "/bin")...)
		require.Equal(t, "merged", cat("bin/dir/sub/deep"))
	})
	e.leftovers()
}

func TestImportInterrupted(t *testing.T) {
	e := newEnv(t)
	e.tree()
	e.build()
	must(t, "build", "--from", e.source, "--image", e.path("before"), "--image-key", e.key)
	many := e.path("many")
	require.NoError(t, os.Mkdir(many, 0o755))
	for i := range 3000 {
		require.NoError(t, os.WriteFile(filepath.Join(many, fmt.Sprint(i)), []byte(strings.Repeat("x", 3000)), 0o600))
	}
	p := spawn(t, "import", "--image-key", e.key, e.image, many, "--to", "/")
	for !p.has(e.image) {
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
		e.same(e.image, e.path("before"))
	}
	must(t, "import", "--image-key", e.key, e.image, many, "--to", "/")
	require.Contains(t, must(t, "ls", "--image-key", e.key, e.image, "many"), "2999")
}

// has reports whether the process has something open in a directory.
func (p *process) has(dir string) bool {
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.cmd.Process.Pid))
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, dir+"/") {
			return true
		}
	}
	return false
}

func TestKeySources(t *testing.T) {
	e := newEnv(t)
	e.tree()
	e.build()
	text, err := os.ReadFile(e.key)
	require.NoError(t, err)
	t.Run("command, split at blanks", func(t *testing.T) {
		require.Equal(t, "hello, world\n", must(t, "cat", "--key-cmd", "cat "+e.key, e.image, "hello.txt"))
	})
	t.Run("command, word by word", func(t *testing.T) {
		odd := e.path("odd name")
		require.NoError(t, os.WriteFile(odd, text, 0o600))
		require.Equal(t, "hello, world\n", must(t, "cat", "--key-cmd", "cat", "--key-cmd", odd, e.image, "hello.txt"))
	})
	t.Run("no shell", func(t *testing.T) {
		r := cloister(t, "cat", "--key-cmd", "cat "+e.key+";true", e.image, "hello.txt")
		require.Equal(t, exitUsage, r.code)
		require.Contains(t, r.err, "exit status 1")
	})
	t.Run("command that fails after the key", func(t *testing.T) {
		r := cloister(t, "cat", "--key-cmd", "sh", "--key-cmd", "-c", "--key-cmd", "cat "+e.key+"; echo no >&2; exit 3", e.image, "hello.txt")
		require.Equal(t, exitUsage, r.code)
		require.Contains(t, r.err, "sh: exit status 3")
		require.Contains(t, r.err, "no\n", "the program's own words are shown")
	})
	t.Run("descriptor", func(t *testing.T) {
		f, err := os.Open(e.key)
		require.NoError(t, err)
		defer f.Close()
		cmd := exec.CommandContext(t.Context(), os.Args[0], "cat", "--key-fd", "3", e.image, "hello.txt")
		cmd.Env = append(os.Environ(), envMain+"=1")
		cmd.ExtraFiles = []*os.File{f}
		out, err := cmd.Output()
		require.NoError(t, err)
		require.Equal(t, "hello, world\n", string(out))
	})
	t.Run("secrets stay out of messages", func(t *testing.T) {
		secret := strings.TrimSpace(string(text))
		for _, args := range [][]string{
			{"cat", "--key-cmd", "echo x" + secret, e.image, "hello.txt"},
			{"cat", "--key-cmd", "echo " + secret, e.image, "none"},
		} {
			r := cloister(t, args...)
			require.NotZero(t, r.code)
			require.NotContains(t, r.err, secret)
		}
	})
	t.Run("an interrupt while the program runs", func(t *testing.T) {
		p := spawn(t, "cat", "--key-cmd", "sh", "--key-cmd", "-c", "--key-cmd", "echo waiting >&2; exec sleep 100", e.image, "hello.txt")
		p.err.wait(t, p, "waiting")
		require.NoError(t, p.cmd.Process.Signal(unix.SIGINT))
		require.Equal(t, exitInterrupted, p.exit(t), "%s", p.err)
	})
}
