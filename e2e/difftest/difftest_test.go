// Package difftest makes the same random system calls on the library OS and on
// the real kernel and compares every result.
//
// A world is an empty file system with four processes on each side: ramfs or SEFS
// and the kernel's tmpfs, HostFS and a directory of the kind that it stands on, or
// UnionFS and the kernel's overlayfs, which begin as plain layers (layer_test.go).
// Each process has its own ids, umask, working directory and descriptors; on the
// kernel it is a thread, in a private mount namespace. A run makes many worlds,
// of some thousand calls each, and is the same for the same seed. On a
// difference the calls before it are left out as far as it stays, and what
// remains is printed in strace's notation.
//
//	go test ./e2e/difftest -run Ramfs -ops 10000000 -seed 42
//
// The test needs root.
package difftest

import (
	"flag"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/internal/testenv"
)

var (
	opsFlag   = flag.Int("ops", 0, "number of calls to compare (default: as many as take a few seconds)")
	seedFlag  = flag.Uint64("seed", 1, "seed of the calls")
	worldFlag = flag.Int("world", -1, "only the world with this number")
	lenFlag   = flag.Int("len", 3000, "calls in one world")
)

// A target is what is compared.
type target struct {
	fs     fsType
	disk   bool   // HostFS on a directory of the machine's disk; else of a tmpfs
	parent string // where directories for it can be made
	ops    int    // by default
}

// fsType is the type of the root of a world; several can be in a set.
type fsType uint8

const (
	ramFS fsType = 1 << iota
	hostFS
	seFS
	unionFS // of SEFS images

	onImages = seFS | unionFS
)

// is reports whether the target's type is in set.
func (tg *target) is(set fsType) bool { return tg.fs&set != 0 }

func TestRamfs(t *testing.T) {
	compare(t, &target{fs: ramFS, ops: 200_000})
}

func TestSefs(t *testing.T) {
	compare(t, &target{fs: seFS, parent: onTmpfs(t), ops: 60_000})
}

func TestUnionfs(t *testing.T) {
	testenv.NeedKernelOverlay(t)
	compare(t, &target{fs: unionFS, parent: onTmpfs(t), ops: 60_000})
}

func TestHostfsOnTmpfs(t *testing.T) {
	compare(t, &target{fs: hostFS, parent: onTmpfs(t), ops: 80_000})
}

func TestHostfsOnDisk(t *testing.T) {
	compare(t, &target{fs: hostFS, disk: true, parent: os.TempDir(), ops: 40_000})
}

// onTmpfs returns a directory of the machine that is in memory.
func onTmpfs(t *testing.T) string {
	const dir = "/dev/shm"
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil || st.Type != unix.TMPFS_MAGIC {
		t.Fatal("needs a tmpfs on " + dir)
	}
	return dir
}

// compare runs one target.
func compare(t *testing.T, target *target) {
	testenv.NeedRoot(t)
	if err := protections(); err != nil {
		t.Logf("all processes stay root's: %v", err)
	}
	dir, err := os.MkdirTemp(target.parent, "difftest-")
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	k, err := newKernel(target, dir)
	require.NoError(t, err)
	defer k.close()

	total := *opsFlag
	if total == 0 {
		total = target.ops
	}
	started := time.Now()
	c := &comparison{target: target, dir: dir, kernel: k, seed: *seedFlag}
	first, worlds := 0, (total+*lenFlag-1)/(*lenFlag)
	if *worldFlag >= 0 {
		first, worlds = *worldFlag, 1
	}
	found, err := c.worlds(first, worlds, *lenFlag)
	require.NoError(t, err)
	took := time.Since(started)
	t.Logf("seed %d: %d calls compared, %d left out as declared, in %v: %.0f calls/s",
		c.seed, c.compared, c.skipped, took.Round(time.Millisecond), float64(c.compared)/took.Seconds())
	if found != nil {
		t.Error(found.report(c))
	}
}
