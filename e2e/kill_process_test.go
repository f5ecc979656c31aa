package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
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

const childEnv = "CLOISTER_E2E_WRITER"

// progress is what a writer has been told is durable. It is also what the next
// one finds at least.
type progress struct {
	Files  [nFiles]int  // versions, replaced by rename
	Log    int          // records that were appended
	Blocks [nBlocks]int // versions, written in place
}

const nBlocks = 24

// A childTask is what a writer process gets from the test.
type childTask struct {
	Dir   string
	Seed  uint64
	Acked progress
}

// TestWriterChild is the process that TestKillProcess kills.
func TestWriterChild(t *testing.T) {
	text := os.Getenv(childEnv)
	if text == "" {
		return // only as a child
	}
	var c childTask
	require.NoError(t, json.Unmarshal([]byte(text), &c))
	lib, err := libos.Start(context.Background(), libos.Config{Platform: platform(t, "m", "s")})
	require.NoError(t, err)
	task := lib.NewTask()
	mountUnion(t, task, filepath.Join(c.Dir, "lower"), filepath.Join(c.Dir, "upper"), keyA)

	w := &writer{task: task, rng: rand.New(rand.NewPCG(c.Seed, 10)), told: os.NewFile(3, "progress"), at: c.Acked}
	w.at.Files = checkVersions(t, task, c.Acked.Files)
	w.checkLog(t)
	w.checkBlocks(t)
	found, err := json.Marshal(w.at)
	require.NoError(t, err)
	w.tell("found %s", found)
	for {
		require.NoError(t, w.work(), "only a kill ends this")
	}
}

// A writer makes things durable and tells which.
type writer struct {
	task *syscall.Task
	rng  *rand.Rand
	told *os.File
	at   progress
}

func (w *writer) tell(format string, args ...any) { fmt.Fprintf(w.told, format+"\n", args...) }

func (w *writer) work() error {
	switch w.rng.IntN(6) {
	case 0, 1:
		f := w.rng.IntN(nFiles)
		w.at.Files[f]++
		if err := writeVersion(w.task, f, w.at.Files[f]); err != nil {
			return err
		}
		w.tell("file %d %d", f, w.at.Files[f])
	case 2, 3:
		w.at.Log++
		err := w.on("/data/log", unix.O_CREAT|unix.O_WRONLY|unix.O_APPEND, func(fd int) error {
			_, err := w.task.Write(fd, logRecord(w.at.Log))
			return err
		})
		if err != nil {
			return err
		}
		w.tell("log %d 0", w.at.Log)
	case 4:
		b := w.rng.IntN(nBlocks)
		w.at.Blocks[b]++
		err := w.on("/data/blocks", unix.O_CREAT|unix.O_WRONLY, func(fd int) error {
			_, err := w.task.Pwrite64(fd, blockBody(b, w.at.Blocks[b]), int64(b)*blockSize)
			return err
		})
		if err != nil {
			return err
		}
		w.tell("block %d %d", b, w.at.Blocks[b])
	case 5: // noise that nobody syncs
		return writeFile(w.task, fmt.Sprintf("/data/noise%d", w.rng.IntN(4)), make([]byte, w.rng.IntN(200_000)))
	}
	return nil
}

// on opens a file, does something to it and syncs it.
func (w *writer) on(path string, flags int, fn func(fd int) error) error {
	fd, err := w.task.Open(path, flags, 0o644)
	if err != nil {
		return err
	}
	defer w.task.Close(fd)
	if err := fn(fd); err != nil {
		return err
	}
	return w.task.Fdatasync(fd)
}

// logRecord is record n of the log: length, number, random bytes, checksum.
func logRecord(n int) []byte {
	rng := rand.New(rand.NewPCG(uint64(n), 3))
	b := make([]byte, 16+rng.IntN(300))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	binary.LittleEndian.PutUint64(b, uint64(len(b)))
	binary.LittleEndian.PutUint64(b[8:], uint64(n))
	return b
}

// checkLog requires the log to hold whole records, and all that were acknowledged.
func (w *writer) checkLog(t *testing.T) {
	data, err := readFile(w.task, "/data/log")
	if w.at.Log > 0 || !errors.Is(err, unix.ENOENT) {
		require.NoError(t, err)
	}
	n := 0
	for len(data) > 0 {
		n++
		want := logRecord(n)
		require.True(t, bytes.HasPrefix(data, want), "record %d of the log is not whole", n)
		data = data[len(want):]
	}
	require.GreaterOrEqual(t, n, w.at.Log, "the log lost what fdatasync acknowledged")
	w.at.Log = n
}

const blockSize = 5000 // not that of the image

func blockBody(block, version int) []byte {
	b := make([]byte, blockSize)
	rng := rand.New(rand.NewPCG(uint64(block), uint64(version)))
	for i := 0; i+8 <= len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], rng.Uint64())
	}
	binary.LittleEndian.PutUint64(b, uint64(version))
	return b
}

// checkBlocks requires every block to be whole and at least as new as was acknowledged.
func (w *writer) checkBlocks(t *testing.T) {
	data, err := readFile(w.task, "/data/blocks")
	if !errors.Is(err, unix.ENOENT) {
		require.NoError(t, err)
	}
	data = append(data, make([]byte, max(0, nBlocks*blockSize-len(data)))...)
	for b := range nBlocks {
		got := data[b*blockSize : (b+1)*blockSize]
		version := int(binary.LittleEndian.Uint64(got))
		require.GreaterOrEqual(t, version, w.at.Blocks[b], "block %d lost what fdatasync acknowledged", b)
		if version > 0 {
			require.True(t, bytes.Equal(blockBody(b, version), got), "block %d is not whole", b)
		}
		w.at.Blocks[b] = version
	}
}

// TestKillProcess kills real processes with SIGKILL while they start, recover and
// write. Each checks what the one before has left.
func TestKillProcess(t *testing.T) {
	const lanes, perImage = 2, 400
	n := rounds(60, 10_000)
	var syncs, early [lanes]int
	begun := time.Now()
	t.Run("lanes", func(t *testing.T) {
		for lane := range lanes {
			t.Run(strconv.Itoa(lane), func(t *testing.T) {
				t.Parallel()
				rng := rand.New(rand.NewPCG(11, uint64(lane)))
				for done := 0; done < n/lanes; done += perImage {
					lower, upper := emptyLayers(t)
					c := childTask{Dir: filepath.Dir(upper)}
					for range min(perImage, n/lanes-done) {
						c.Seed = rng.Uint64()
						acks := killChild(t, rng, &c)
						syncs[lane] += acks
						if acks == 0 {
							early[lane]++
						}
					}
					require.NoError(t, os.RemoveAll(lower))
					require.NoError(t, os.RemoveAll(upper))
				}
			})
		}
	})
	t.Logf("%d processes killed in %v, %d of them before anything was acknowledged; %d acknowledged changes, none lost",
		n, time.Since(begun).Round(time.Second), early[0]+early[1], syncs[0]+syncs[1])
	require.Positive(t, syncs[0])
}

// killChild starts a writer and kills it. c.Acked becomes what it said.
func killChild(t *testing.T, rng *rand.Rand, c *childTask) (acks int) {
	task, err := json.Marshal(c)
	require.NoError(t, err)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	var out bytes.Buffer
	cmd := exec.Command(os.Args[0], "-test.run=^TestWriterChild$", "-test.count=1")
	cmd.Env = append(os.Environ(), childEnv+"="+string(task))
	cmd.ExtraFiles = []*os.File{w}
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Start())
	w.Close()
	kill := func(most time.Duration) *time.Timer {
		return time.AfterFunc(time.Duration(rng.Int64N(int64(most))), func() { cmd.Process.Kill() })
	}
	if rng.IntN(5) == 0 {
		defer kill(20 * time.Millisecond).Stop() // while it starts and recovers
	}
	for lines := bufio.NewScanner(r); lines.Scan(); {
		kind, rest, _ := strings.Cut(lines.Text(), " ")
		if kind == "found" {
			require.NoError(t, json.Unmarshal([]byte(rest), &c.Acked))
			defer kill(25 * time.Millisecond).Stop()
			continue
		}
		var a, b int
		_, err := fmt.Sscanf(rest, "%d %d", &a, &b)
		require.NoError(t, err, "%s", lines.Text())
		switch kind {
		case "file":
			c.Acked.Files[a] = b
		case "log":
			c.Acked.Log = a
		case "block":
			c.Acked.Blocks[a] = b
		}
		acks++
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, "the writer ended by itself:\n%s", out.String())
	require.Equal(t, -1, exit.ExitCode(), "the writer ended by itself:\n%s", out.String())
	return acks
}
