// Package permtest tries thousands of combinations of a call, who makes it, and
// the owners and modes of the files concerned, and compares what happens with
// ext4: the errno, which times of the file and of its directories change, and
// the attributes afterwards. It does so on tmpfs, to see that the matrix says
// nothing about ext4 alone, and through FUSE on each file system of the project.
//
// The test needs root and FUSE.
package permtest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/internal/testenv"
)

func TestPermissions(t *testing.T) {
	testenv.NeedRoot(t)
	testenv.NeedFUSE(t)
	cells := every(stride, matrix())
	defer unix.Umask(unix.Umask(0))
	reference := "ext4"
	dir := t.TempDir()
	var st unix.Statfs_t
	require.NoError(t, unix.Statfs(dir, &st))
	if st.Type != unix.EXT4_SUPER_MAGIC {
		reference = "tmpfs"
		dir = shm(t)
	}
	want, err := play(dir, dir, cells)
	require.NoError(t, err)
	t.Logf("%d cells; the reference is %s", len(cells), reference)
	compare := func(t *testing.T, name string, got []string) {
		t.Helper()
		differ := 0
		for i, c := range cells {
			if got[i] == want[i] || declared(name, c, want[i], got[i]) {
				continue
			}
			if differ++; differ <= 20 {
				t.Errorf("%s\n\t%s: %s\n\there: %s", c, reference, want[i], got[i])
			}
		}
		require.Zero(t, differ, "cells that differ")
	}
	t.Run("tmpfs", func(t *testing.T) {
		dir := shm(t)
		got, err := play(dir, dir, cells)
		require.NoError(t, err)
		compare(t, "tmpfs", got)
	})
	for _, f := range filesystems {
		t.Run(f.name, func(t *testing.T) {
			started := time.Now()
			got := f.play(t, cells)
			t.Logf("%v", time.Since(started).Round(time.Millisecond))
			compare(t, f.name, got)
		})
	}
}

// every returns each n-th cell.
func every(n int, cells []*cell) (some []*cell) {
	for i := 0; i < len(cells); i += n {
		some = append(some, cells[i])
	}
	return some
}

// shm returns a directory on a tmpfs.
func shm(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "permtest-")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	var st unix.Statfs_t
	require.NoError(t, unix.Statfs(dir, &st))
	require.EqualValues(t, unix.TMPFS_MAGIC, st.Type, "/dev/shm is a tmpfs")
	return dir
}

// filesystem is one that is served through FUSE. If it prepares by another kind,
// the files are made there, and are in a lower layer during the calls.
type filesystem struct {
	name          string
	prepare, call string
}

var filesystems = []filesystem{
	{name: "ramfs", call: "ramfs"},
	{name: "hostfs", call: "hostfs"},
	{name: "sefs", call: "sefs"},
	{name: "union", call: "union"},
	{name: "union, files in the lower layer", prepare: "lower", call: "union"},
}

func (f *filesystem) play(t *testing.T, cells []*cell) []string {
	state := shm(t)
	for _, name := range []string{"data", "lower", "mnt"} {
		require.NoError(t, os.Mkdir(filepath.Join(state, name), 0o755))
	}
	if f.prepare != "" {
		s := startServer(t, f.prepare, state)
		require.NoError(t, prepare(s.mnt, cells))
		s.stop(t)
	}
	s := startServer(t, f.call, state)
	if f.prepare == "" {
		require.NoError(t, prepare(s.mnt, cells))
	}
	got, err := perform(s.mnt, cells)
	require.NoError(t, err)
	s.stop(t)
	return got
}

// play prepares the files in one place and makes the calls in another, which
// shows the same files.
func play(prepareDir, callDir string, cells []*cell) ([]string, error) {
	if err := prepare(prepareDir, cells); err != nil {
		return nil, err
	}
	return perform(callDir, cells)
}

// declared reports whether a cell differs as it is meant to.
func declared(name string, c *cell, want, got string) bool {
	for _, d := range deviations {
		if !strings.HasPrefix(name, d.filesystem) {
			continue
		}
		if d.ignored != nil {
			want, got = d.ignored.ReplaceAllString(want, "$1$2"), d.ignored.ReplaceAllString(got, "$1$2")
		}
		if want == got || d.applies != nil && d.applies(c, want, got) {
			return true
		}
	}
	return false
}

// A deviation says where a file system differs from Linux's as it is meant to.

type deviation struct {
	filesystem string // the beginning of its name
	reason     string
	ignored    *regexp.Regexp // what does not count, but for its two groups; or:
	applies    func(c *cell, want, got string) bool
}

var deviations = []deviation{
	{
		filesystem: "union, files in the lower layer",
		reason: "as on Linux's overlayfs a directory of several layers has a link count of 1 (docs/unionfs.md), and its change time is " +
			"that of its copy-up, which shows once what the kernel has cached has expired",
		ignored: regexp.MustCompile(`( 04\d{4,5} \d+:\d+) nlink=\d+( size=0(?: mtime changed)?)(?: ctime changed)?`),
	},
	{
		filesystem: "hostfs",
		reason:     "HostFS makes no special files (docs/hostfs.md)",
		applies: func(c *cell, want, got string) bool {
			return strings.HasPrefix(c.call.name, "mknod S_IFIFO") || strings.HasPrefix(c.call.name, "mknod S_IFCHR")
		},
	},
	{
		reason: "the kernel passes chown(2) without ids on as what it also asks for before a write, so that EPERM for another's set-id file cannot be told",
		applies: func(c *cell, want, got string) bool {
			return c.call.name == "chown -1:-1" && strings.Replace(want, "EPERM", "0", 1) == got
		},
	},
	{
		filesystem: "union, files in the lower layer",
		reason:     "a directory of a lower layer cannot be renamed (docs/unionfs.md)",
		applies: func(c *cell, want, got string) bool {
			return strings.HasPrefix(c.call.name, "rename") && strings.HasPrefix(got, "EXDEV") && c.object.kind == unix.S_IFDIR
		},
	},
	{
		reason: "who is in a file's group only the kernel knows: chown(2) without ids keeps the set-group-ID bit of a file that nobody executes",
		applies: func(c *cell, want, got string) bool {
			return c.call.name == "chown -1:-1" && c.object.mode&(unix.S_ISGID|unix.S_IXGRP) == unix.S_ISGID
		},
	},
}

func (c *cell) String() string {
	s := fmt.Sprintf("%s by %s; p/ %s", c.call.name, c.actor.name, &c.parent)
	if c.object.kind != 0 {
		s += fmt.Sprintf(", p/o %s", &c.object)
	}
	if c.dest.kind != 0 {
		s += fmt.Sprintf(", q/ %s", &c.dest)
	}
	if c.target.kind != 0 {
		s += fmt.Sprintf(", q/t %s", &c.target)
	}
	return s
}
