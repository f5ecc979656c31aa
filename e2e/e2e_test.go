// Package e2e tests the whole stack as its users meet it: images built by the
// cloister command, mounted by tasks of a library OS in a simulated enclave.
//
// CLOISTER_E2E=full runs the long forms; without it the same tests run on
// fewer rounds.
package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/enclave"
	"cloister/enclave/sim"
	"cloister/libos"
	"cloister/syscall"
)

const (
	keyA = "c7-32-b3-ed-44-df-ec-7b-25-2d-9a-32-38-8d-58-61"
	keyB = "00-00-b3-ed-44-df-ec-7b-25-2d-9a-32-38-8d-58-61"
)

// long reports whether the long crash runs are asked for (make crash).
func long() bool { return os.Getenv("CLOISTER_CRASH") == "full" }

// rounds returns full with CLOISTER_E2E=full or CLOISTER_CRASH=full and short otherwise; a quarter of
// that under the race detector.
func rounds(short, full int) int {
	switch {
	case os.Getenv("CLOISTER_E2E") == "full", long():
		return full
	case underRace:
		return short / 4
	}
	return short
}

// scratch returns a directory on a tmpfs where there is one: the tests look at
// what is in the host's files, not at the disk's speed.
func scratch(t testing.TB) string {
	t.Helper()
	var st unix.Statfs_t
	if unix.Statfs("/dev/shm", &st) != nil || st.Type != unix.TMPFS_MAGIC || st.Bavail*uint64(st.Bsize) < 2<<30 {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp("/dev/shm", "cloister-e2e-")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// emptyLayers returns two empty directories for a lower and an upper image.
func emptyLayers(t testing.TB) (lower, upper string) {
	t.Helper()
	dir := scratch(t)
	lower, upper = filepath.Join(dir, "lower"), filepath.Join(dir, "upper")
	require.NoError(t, os.Mkdir(lower, 0o755))
	require.NoError(t, os.Mkdir(upper, 0o755))
	return lower, upper
}

// commands builds the commands once and returns their directory.
var commands = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "cloister-bin-")
	if err != nil {
		return "", err
	}
	out, err := exec.Command("go", "build", "-o", dir+"/", "cloister/cmd/cloister", "cloister/harness").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := commands(); err == nil {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// cloister runs the cloister command, which must succeed.
func cloister(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	dir, err := commands()
	require.NoError(t, err)
	cmd := exec.Command(filepath.Join(dir, "cloister"), args...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "cloister %s:\n%s", strings.Join(args, " "), out)
	return cmd
}

// buildImage builds an image of tree with keyA.
func buildImage(t testing.TB, tree, image string) {
	t.Helper()
	key := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(key, []byte(keyA+"\n"), 0o600))
	cloister(t, "build", "--from", tree, "--image", image, "--image-key", key)
}

// goTree returns the source tree of Go, about 11,000 files.
func goTree(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	require.NoError(t, err, "go env GOROOT")
	return filepath.Join(strings.TrimSpace(string(out)), "src")
}

// platform returns a simulated enclave platform.
func platform(t testing.TB, machine, signer string) enclave.Platform {
	t.Helper()
	secret := sha256.Sum256([]byte(machine))
	p, err := sim.New(sim.Config{MachineSecret: secret[:], Signer: sha256.Sum256([]byte(signer)), ProductID: 1, SecurityVersion: 1})
	require.NoError(t, err)
	return p
}

// start starts a library OS with one task; both end with the test.
func start(t testing.TB, p enclave.Platform) (*libos.LibOS, *syscall.Task) {
	t.Helper()
	lib, err := libos.Start(context.Background(), libos.Config{Platform: p})
	require.NoError(t, err)
	t.Cleanup(lib.Kill)
	return lib, lib.NewTask()
}

// mountUnion mounts the union of lower and upper on /data.
func mountUnion(t testing.TB, task *syscall.Task, lower, upper, key string) {
	t.Helper()
	if err := task.Mkdir("/data", 0o755); err != nil {
		require.ErrorIs(t, err, unix.EEXIST)
	}
	require.NoError(t, task.Mount("unionfs", "/data", "unionfs", 0, options(lower, upper, key)))
}

func options(lower, upper, key string) string {
	o := "lowerdir=" + lower + ",upperdir=" + upper
	if key != "" {
		o += ",key=" + key
	}
	return o
}

// readDir returns the names in a directory, through getdents64(2).
func readDir(task *syscall.Task, path string) ([]string, error) {
	fd, err := task.Open(path, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer task.Close(fd)
	var names []string
	buf := make([]byte, 16<<10)
	for {
		n, err := task.Getdents64(fd, buf)
		if err != nil || n == 0 {
			return names, err
		}
		for b := buf[:n]; len(b) > 0; b = b[binary.NativeEndian.Uint16(b[16:]):] {
			name, _, _ := strings.Cut(string(b[19:binary.NativeEndian.Uint16(b[16:])]), "\x00")
			if name != "." && name != ".." {
				names = append(names, name)
			}
		}
	}
}

// readFile reads a whole file with 64 KiB reads.
func readFile(task *syscall.Task, path string) ([]byte, error) {
	fd, err := task.Open(path, unix.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer task.Close(fd)
	var data []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := task.Read(fd, buf)
		if err != nil || n == 0 {
			return data, err
		}
		data = append(data, buf[:n]...)
	}
}

// writeFile writes a whole file.
func writeFile(task *syscall.Task, path string, data []byte) error {
	fd, err := task.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer task.Close(fd)
	for len(data) > 0 {
		n, err := task.Write(fd, data)
		if err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// hashDir hashes everything below dir: names, modes, times, contents.
func hashDir(t testing.TB, dir string) [32]byte {
	t.Helper()
	h := sha256.New()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%s %v %d %d\n", path, info.Mode(), info.Size(), info.ModTime().UnixNano())
		if !info.Mode().IsRegular() {
			return nil
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(h, f)
		return err
	})
	require.NoError(t, err)
	return [32]byte(h.Sum(nil))
}
