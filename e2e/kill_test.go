package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/libos"
	"cloister/syscall"
)

// The writer keeps nFiles files. A version of a file is its number and a body
// that follows from it, so a reader can tell whether a file is whole.
const nFiles = 8

func versionBody(file, version int) []byte {
	rng := rand.New(rand.NewPCG(uint64(file), uint64(version)))
	body := make([]byte, 16+rng.IntN(3)*rng.IntN(60_000))
	for i := 0; i+8 <= len(body); i += 8 {
		binary.LittleEndian.PutUint64(body[i:], rng.Uint64())
	}
	binary.LittleEndian.PutUint64(body, uint64(version))
	sum := sha256.Sum256(body)
	return append(body, sum[:]...)
}

// writeVersion replaces a file by a new version, as careful programs do, or
// writes it in place and only then syncs it.
func writeVersion(task *syscall.Task, file, version int) error {
	path := fmt.Sprintf("/data/file%d", file)
	tmp := path + ".tmp"
	if err := writeFile(task, tmp, versionBody(file, version)); err != nil {
		return err
	}
	fd, err := task.Open(tmp, unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer task.Close(fd)
	if err := task.Fsync(fd); err != nil {
		return err
	}
	if err := task.Rename(tmp, path); err != nil {
		return err
	}
	return task.Fsync(fd)
}

// writeUntilStopped writes versions and reports each that is durable, until a call fails.
func writeUntilStopped(task *syscall.Task, rng *rand.Rand, from [nFiles]int, acked func(file, version int)) {
	versions := from
	for {
		f := rng.IntN(nFiles)
		versions[f]++
		if writeVersion(task, f, versions[f]) != nil {
			return
		}
		acked(f, versions[f])
		// Noise that nobody syncs.
		if writeFile(task, fmt.Sprintf("/data/noise%d", rng.IntN(4)), make([]byte, rng.IntN(200_000))) != nil {
			return
		}
	}
}

// checkVersions requires every file to be whole and at least at the version that was acknowledged.
func checkVersions(t *testing.T, task *syscall.Task, acked [nFiles]int) (found [nFiles]int) {
	t.Helper()
	for f := range nFiles {
		data, err := readFile(task, fmt.Sprintf("/data/file%d", f))
		if acked[f] == 0 && err != nil {
			require.ErrorIs(t, err, unix.ENOENT)
			continue
		}
		require.NoError(t, err, "file%d, acknowledged at version %d", f, acked[f])
		require.GreaterOrEqual(t, len(data), 48)
		found[f] = int(binary.LittleEndian.Uint64(data))
		require.GreaterOrEqual(t, found[f], acked[f], "file%d lost what fsync acknowledged", f)
		require.True(t, bytes.Equal(versionBody(f, found[f]), data), "file%d is not whole", f)
	}
	return found
}

// TestKill kills the enclave at random moments while a task writes: the next
// mount works and holds everything that was synced.
func TestKill(t *testing.T) {
	lower, upper := emptyLayers(t)
	p := platform(t, "m", "s")
	rng := rand.New(rand.NewPCG(7, 8))
	var acked [nFiles]int
	n, syncs := rounds(150, 500), 0
	for round := range n {
		lib, err := libos.Start(context.Background(), libos.Config{Platform: p})
		require.NoError(t, err)
		task := lib.NewTask()
		mountUnion(t, task, lower, upper, keyA)
		found := checkVersions(t, task, acked)

		killed := make(chan struct{})
		delay := time.Duration(rng.IntN(20_000)) * time.Microsecond
		go func() {
			defer close(killed)
			time.Sleep(delay)
			lib.Kill()
		}()
		acked = found
		writeUntilStopped(task, rand.New(rand.NewPCG(uint64(round), 9)), found, func(file, version int) {
			acked[file] = version
			syncs++
		})
		<-killed
	}
	t.Logf("%d kills, %d acknowledged versions, none lost", n, syncs)
	require.Positive(t, syncs)
}
