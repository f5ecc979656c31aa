package ramfs_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/ramfs"
	"cloister/internal/testenv"
	"cloister/vfs"
)

// limitScript is one script of testdata/limits.txt.
type limitScript struct {
	name, options string
	lines         []string
}

func limitScripts(t *testing.T) (scripts []limitScript) {
	t.Helper()
	data, err := os.ReadFile("testdata/limits.txt")
	require.NoError(t, err)
	for _, part := range strings.Split(string(data), "\n## ")[1:] {
		lines := strings.Split(strings.TrimSpace(part), "\n")
		name, options, ok := strings.Cut(lines[0], ": ")
		require.True(t, ok, "%s", lines[0])
		scripts = append(scripts, limitScript{name, options, lines[1:]})
	}
	require.NotEmpty(t, scripts)
	return scripts
}

// TestLimits makes calls at the limits of size and nr_inodes. The file holds what Linux's tmpfs answers.
func TestLimits(t *testing.T) {
	for _, s := range limitScripts(t) {
		t.Run(s.name, func(t *testing.T) {
			task, err := newTask(t, s.options)
			require.NoError(t, err)
			require.Equal(t, s.lines, run(t, task, "/m", s.lines))
		})
	}
}

// TestLimitsOfKernel holds that the file is right: it makes the same calls on the kernel's tmpfs.
func TestLimitsOfKernel(t *testing.T) {
	testenv.NeedRoot(t)
	for _, s := range limitScripts(t) {
		t.Run(s.name, func(t *testing.T) {
			root := filepath.Join(t.TempDir(), "m")
			require.NoError(t, os.Mkdir(root, 0o755))
			require.NoError(t, unix.Mount("none", root, "tmpfs", 0, s.options))
			defer func() { require.NoError(t, unix.Unmount(root, 0)) }()
			require.Equal(t, s.lines, run(t, kernelCalls{}, root, s.lines))
		})
	}
}

// randomScript makes n calls at random, on a few names and sizes. FIFOs are left out: the kernel can open them.
func randomScript(seed uint64, n int) (script []string) {
	r := rand.New(rand.NewPCG(seed, 0))
	pick := func(words ...string) string { return words[r.IntN(len(words))] }
	name := func() string { return pick("a", "b", "c", "d", "e/a", "e/b") }
	offset := func() string { return pick("0", "1", "4095", "4096", "5000", "8192", "12288", "20000") }
	length := func() string { return pick("1", "4095", "4096", "4097", "8192", "12288", "16384") }
	tmp := 0 // temporary files that are open; their names are T0, T1, …
	for range n {
		var line string
		switch verb := pick("write", "write", "write", "truncate", "truncate", "fallocate", "reserve", "punch", "blocks", "size", "mkdir", "rmdir",
			"symlink", "link", "link", "rename", "rename", "exchange", "unlink", "unlink", "tmpfile", "linkfile", "setxattr", "removexattr"); verb {
		case "write", "fallocate", "reserve", "punch":
			line = fmt.Sprint(verb, " ", name(), " ", length(), " ", offset())
			if verb != "write" {
				line = fmt.Sprint(verb, " ", name(), " ", offset(), " ", length())
			}
		case "truncate":
			line = fmt.Sprint(verb, " ", name(), " ", offset())
		case "mkdir", "rmdir":
			line = fmt.Sprint(verb, " ", pick("e", "e", "f", "a"))
		case "unlink", "blocks", "size":
			line = fmt.Sprint(verb, " ", name())
		case "symlink":
			line = fmt.Sprint(verb, " ", pick("5", "127", "128", "4000"), " ", name())
		case "link", "rename", "exchange":
			line = fmt.Sprint(verb, " ", name(), " ", name())
		case "tmpfile":
			if tmp == 2 {
				tmp = 0
				script = append(script, "close T0", "close T1")
			}
			line = fmt.Sprint(verb, " T", tmp)
			tmp++
		case "linkfile":
			if tmp == 0 {
				continue
			}
			line = fmt.Sprint(verb, " T", r.IntN(tmp), " ", name())
		case "setxattr":
			line = fmt.Sprint(verb, " ", name(), " user.", pick("x", "y"), " ", pick("0", "100", "900", "2000"))
		case "removexattr":
			line = fmt.Sprint(verb, " ", name(), " user.", pick("x", "y"))
		}
		script = append(script, line)
	}
	return script
}

// TestLimitsRandomly makes random calls on a small file system and on the kernel's tmpfs, which must agree on each.
func TestLimitsRandomly(t *testing.T) {
	testenv.NeedRoot(t)
	for seed := range uint64(30) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			options := fmt.Sprintf("size=%dk,nr_inodes=%d", 4*(2+seed%7), 3+seed%5)
			root := filepath.Join(t.TempDir(), "m")
			require.NoError(t, os.Mkdir(root, 0o755))
			require.NoError(t, unix.Mount("none", root, "tmpfs", 0, options))
			defer func() { require.NoError(t, unix.Unmount(root, 0)) }()
			task, err := newTask(t, options)
			require.NoError(t, err)
			script := randomScript(seed, 400)
			want := run(t, kernelCalls{}, root, script)
			got := run(t, task, "/m", script)
			for i := range want {
				require.Equal(t, want[i], got[i], "after\n%s", strings.Join(want[max(0, i-30):i], "\n"))
			}
		})
	}
}

// TestWhiteoutAtLimit holds that a whiteout, which is an inode, is refused where there is no room, and that
// nothing has happened then.
func TestWhiteoutAtLimit(t *testing.T) {
	ctx := t.Context()
	fs := ramfs.New(ramfs.Config{MaxInodes: 3})
	root := fs.Root()
	f, err := root.Create(ctx, "f", vfs.CreateAttr{Mode: 0o644})
	require.NoError(t, err)
	d, err := root.Mkdir(ctx, "d", vfs.CreateAttr{Mode: 0o755})
	require.NoError(t, err)
	names := func() (names []string) {
		h, err := root.OpenDir(ctx)
		require.NoError(t, err)
		require.NoError(t, h.ReadDir(ctx, 0, func(e vfs.Dirent) bool {
			names = append(names, fmt.Sprint(e.Name, " ", e.Type))
			return true
		}))
		return names
	}
	full := []string{"f 8", "d 4"}
	rename := vfs.Rename{OldName: "f", Child: f, NewDir: root, NewName: "g", Flags: unix.RENAME_WHITEOUT}
	require.Equal(t, unix.ENOSPC, root.Rename(ctx, rename))
	require.Equal(t, unix.ENOSPC, root.Whiteout(ctx, "d", d))
	require.Equal(t, unix.ENOSPC, root.Whiteout(ctx, "n", nil))
	require.Equal(t, full, names())

	require.NoError(t, root.Rmdir(ctx, "d", d))
	require.Equal(t, unix.ENOSPC, root.Rename(ctx, rename), "the directory is in use")
	require.NoError(t, vfs.UnpinInode(ctx, d))
	require.NoError(t, root.Rename(ctx, rename))
	require.Equal(t, []string{"g 8", "f 2"}, names())
	require.Equal(t, unix.ENOSPC, root.Whiteout(ctx, "g", f))

	l, err := root.Create(ctx, "f", vfs.CreateAttr{Mode: 0o644})
	require.Equal(t, unix.ENOSPC, err, "the whiteout goes once the file is there")
	require.Nil(t, l)
	require.NoError(t, root.Unlink(ctx, "g", f))
	require.NoError(t, vfs.UnpinInode(ctx, f))
	l, err = root.Create(ctx, "f", vfs.CreateAttr{Mode: 0o644})
	require.NoError(t, err)
	require.Equal(t, []string{"f 8"}, names())
	require.NoError(t, vfs.UnpinInode(ctx, l))
	st, err := fs.Statfs(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 1, st.Ffree)
}

// TestLimitsAtOnce holds that tasks that compete for the last room get all of it and no more, and that
// all of it comes back.
func TestLimitsAtOnce(t *testing.T) {
	const limit, workers = 50, 4
	task, err := newTask(t, fmt.Sprintf("size=%d,nr_inodes=%d", limit*4096, limit+1))
	require.NoError(t, err)
	var free unix.Statfs_t
	require.NoError(t, task.Statfs("/m", &free))
	for range 5 {
		var made, pages atomic.Int64
		var wg sync.WaitGroup
		for w := range workers {
			child := task.Fork()
			wg.Go(func() {
				defer child.Exit()
				for i := range limit {
					fd, err := child.Openat(unix.AT_FDCWD, fmt.Sprintf("/m/%d-%d", w, i), unix.O_RDWR|unix.O_CREAT, 0o644)
					if err != nil {
						require.ErrorIs(t, err, unix.ENOSPC)
						continue
					}
					made.Add(1)
					if n, err := child.Pwrite64(fd, []byte("data"), 0); err == nil {
						pages.Add(1)
						require.Equal(t, 4, n)
					}
					require.NoError(t, child.Close(fd))
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, limit, made.Load())
		require.EqualValues(t, limit, pages.Load())
		var st unix.Statfs_t
		require.NoError(t, task.Statfs("/m", &st))
		require.Zero(t, st.Bfree)
		require.Zero(t, st.Ffree)
		for w := range workers {
			for i := range limit {
				_ = task.Unlink(fmt.Sprintf("/m/%d-%d", w, i))
			}
		}
		require.NoError(t, task.Statfs("/m", &st))
		require.Equal(t, free.Bfree, st.Bfree)
		require.Equal(t, free.Ffree, st.Ffree)
	}
}

// TestNamesAtOnce holds that the account of names stays exact while tasks give names to one file, take them away, and
// exchange them.
func TestNamesAtOnce(t *testing.T) {
	const workers, rounds, limit = 4, 300, 8
	task, err := newTask(t, fmt.Sprintf("nr_inodes=%d", limit))
	require.NoError(t, err)
	free := func() uint64 {
		var st unix.Statfs_t
		require.NoError(t, task.Statfs("/m", &st))
		return st.Ffree
	}
	for w := range workers {
		require.NoError(t, task.Mkdir(fmt.Sprintf("/m/%d", w), 0o755))
	}
	fd, err := task.Open("/m/f", unix.O_CREAT|unix.O_RDWR, 0o644)
	require.NoError(t, err)
	require.NoError(t, task.Close(fd))
	require.EqualValues(t, limit-2-workers, free())
	var wg sync.WaitGroup
	var refused atomic.Int64
	for w := range workers {
		child := task.Fork()
		dir := fmt.Sprintf("/m/%d/", w)
		wg.Go(func() {
			defer child.Exit()
			for i := range rounds {
				for _, name := range []string{"a", "b", "c"} {
					err := child.Link("/m/f", dir+name)
					switch {
					case err == nil:
					case vfs.Errno(err) == unix.ENOSPC:
						refused.Add(1)
					default:
						require.ErrorIs(t, err, unix.ENOENT, "link %s", name)
					}
				}
				_ = child.Rename(dir+"a", fmt.Sprintf("/m/%d/%d", (w+1)%workers, w))
				_ = child.Rename(dir+"b", "/m/f")
				for _, name := range []string{"a", "b", "c", fmt.Sprint((w + workers - 1) % workers)} {
					_ = child.Unlink(dir + name)
				}
				if i%10 == 0 {
					_ = child.Unlink("/m/f")
					if fd, err := child.Open("/m/f", unix.O_CREAT|unix.O_RDWR, 0o644); err == nil {
						require.NoError(t, child.Close(fd))
					}
				}
			}
		})
	}
	wg.Wait()
	require.Positive(t, refused.Load(), "the limit is never reached")
	for w := range workers {
		for _, name := range []string{"a", "b", "c", "0", "1", "2", "3"} {
			_ = task.Unlink(fmt.Sprintf("/m/%d/%s", w, name))
		}
	}
	_ = task.Unlink("/m/f")
	require.EqualValues(t, limit-1-workers, free(), "all names are gone")
}
