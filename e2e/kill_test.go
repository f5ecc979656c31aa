package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
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

const childEnv = "CLOISTER_E2E_WRITER"

// TestWriterChild is the process that TestKillProcess kills.
func TestWriterChild(t *testing.T) {
	dirs := os.Getenv(childEnv)
	if dirs == "" {
		return // only as a child
	}
	dir, seed, _ := strings.Cut(dirs, "|")
	n, _ := strconv.ParseUint(seed, 10, 64)
	lib, err := libos.Start(context.Background(), libos.Config{Platform: platform(t, "m", "s")})
	require.NoError(t, err)
	task := lib.NewTask()
	mountUnion(t, task, filepath.Join(dir, "lower"), filepath.Join(dir, "upper"), keyA)
	var from [nFiles]int
	for f := range nFiles {
		if data, err := readFile(task, fmt.Sprintf("/data/file%d", f)); err == nil {
			from[f] = int(binary.LittleEndian.Uint64(data))
		}
	}
	writeUntilStopped(task, rand.New(rand.NewPCG(n, 10)), from, func(file, version int) {
		fmt.Fprintf(os.Stderr, "acked %d %d\n", file, version)
	})
}

// TestKillProcess kills a real process with SIGKILL.
func TestKillProcess(t *testing.T) {
	lower, upper := emptyLayers(t)
	p := platform(t, "m", "s")
	rng := rand.New(rand.NewPCG(11, 12))
	var acked [nFiles]int
	n, syncs := rounds(20, 500), 0
	for round := range n {
		cmd := exec.Command(os.Args[0], "-test.run=^TestWriterChild$", "-test.count=1")
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s|%d", childEnv, filepath.Dir(upper), round))
		out, err := cmd.StderrPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		delay := time.Duration(rng.IntN(60_000)) * time.Microsecond
		timer := time.AfterFunc(delay, func() { cmd.Process.Kill() })
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var file, version int
			if _, err := fmt.Sscanf(lines.Text(), "acked %d %d", &file, &version); err == nil {
				acked[file] = version
				syncs++
			}
		}
		cmd.Wait()
		timer.Stop()

		lib, err := libos.Start(context.Background(), libos.Config{Platform: p})
		require.NoError(t, err)
		task := lib.NewTask()
		mountUnion(t, task, lower, upper, keyA)
		acked = checkVersions(t, task, acked)
		lib.Kill()
	}
	t.Logf("%d processes killed, %d acknowledged versions, none lost", n, syncs)
}
