// Command inenclave is a small program as it runs inside an enclave: it starts
// the library OS, mounts an encrypted union of two image directories of the
// untrusted host, works in it, unmounts it, mounts it again and finds its files.
//
//	go run ./examples/inenclave                        # simulated enclave, temporary directories
//	ego-go build -tags ego ./examples/inenclave        # for SGX; see enclave.json
//
// The flags name directories as the host has them. An empty lower directory is
// an empty layer, an empty upper directory becomes a new image.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"cloister/libos"
	"cloister/mountopt"
	"cloister/syscall"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "inenclave:", err)
		os.Exit(1)
	}
}

// options are where the program finds its images.
type options struct {
	lower, upper string // host directories of the read-only and the writable image
	key          string // text of the images' key; "" for the key that the enclave seals with
}

func run(ctx context.Context, args []string, out io.Writer) error {
	opt, cleanup, err := parse(args)
	if err != nil {
		return err
	}
	defer cleanup()

	// The platform says who this enclave is and gives it its keys.
	platform, err := newPlatform(out)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "platform: %s, product %d\n", platform.Kind(), platform.Identity().ProductID)

	// The mounts that the enclave was built with, if any, are part of its measurement.
	mounts, err := startupMounts(mountopt.ConfigFile)
	if err != nil {
		return err
	}
	lib, err := libos.Start(ctx, libos.Config{Platform: platform, Mounts: mounts})
	if err != nil {
		return err
	}
	task := lib.NewTask()
	if err := work(task, opt, out); err != nil {
		task.Exit()
		return errors.Join(err, lib.ForceClose(ctx))
	}
	task.Exit()
	return lib.Close(ctx)
}

// work is what the program is for. Every call is a system call of the library
// OS: nothing here reaches the host's file system but through a mount.
func work(task *syscall.Task, opt options, out io.Writer) error {
	data := "lowerdir=" + escape(opt.lower) + ",upperdir=" + escape(opt.upper)
	if opt.key != "" {
		data += ",key=" + opt.key
	}
	if err := task.Mkdir("/data", 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("mkdir /data: %w", err)
	}
	if err := task.Mount("unionfs", "/data", "unionfs", 0, data); err != nil {
		return fmt.Errorf("mount /data: %w", err)
	}
	if err := change(task, out); err != nil {
		return err
	}

	// An unmount makes everything durable. It fails with EBUSY while a file is
	// open or a working directory lies inside, as on Linux.
	if err := task.Umount2("/data", 0); err != nil {
		return fmt.Errorf("umount /data: %w", err)
	}
	var st unix.Stat_t
	if err := task.Stat("/data/notes", &st); !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("/data is still mounted: stat gives %w", err)
	}

	if err := task.Mount("unionfs", "/data", "unionfs", 0, data); err != nil {
		return fmt.Errorf("mount /data again: %w", err)
	}
	if err := verify(task, "/data/notes/today", greeting); err != nil {
		return err
	}
	fmt.Fprintln(out, "mounted again: /data/notes/today is as it was written")
	return task.Umount("/data")
}

const greeting = "Nobody outside can read this.\n"

// change makes a directory and a file, and renames the file.
func change(task *syscall.Task, out io.Writer) error {
	if err := task.Mkdir("/data/notes", 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("mkdir: %w", err)
	}
	fd, err := task.Open("/data/notes/draft", unix.O_RDWR|unix.O_CREAT|unix.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer task.Close(fd)
	if _, err := task.Write(fd, []byte(greeting)); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if err := task.Fsync(fd); err != nil { // from here on a crash does not lose it
		return fmt.Errorf("fsync: %w", err)
	}
	if err := verify(task, "/data/notes/draft", greeting); err != nil {
		return err
	}
	if err := task.Rename("/data/notes/draft", "/data/notes/today"); err != nil {
		return fmt.Errorf("rename: %w", err)
	}
	names, err := list(task, "/data/notes")
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "/data/notes holds:", strings.Join(names, " "))
	return nil
}

// verify reads the file at path and compares it.
func verify(task *syscall.Task, path, want string) error {
	fd, err := task.Open(path, unix.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	defer task.Close(fd)
	buf := make([]byte, len(want)+1)
	n, err := task.Read(fd, buf)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if string(buf[:n]) != want {
		return fmt.Errorf("%s does not hold what was written to it", path)
	}
	return nil
}

// list returns the names in a directory, without "." and "..".
func list(task *syscall.Task, path string) (names []string, err error) {
	fd, err := task.Open(path, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	defer task.Close(fd)
	buf := make([]byte, 4096)
	for {
		n, err := task.Getdents64(fd, buf)
		if err != nil {
			return nil, fmt.Errorf("getdents64 %s: %w", path, err)
		}
		if n == 0 {
			return names, nil
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}

// escape makes a path a value of an option.
func escape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `,`, `\,`, `:`, `\:`).Replace(path)
}

// startupMounts reads the start-up configuration, if the enclave has one.
func startupMounts(file string) ([]mountopt.Mount, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return mountopt.LoadConfig(f)
}

// parse reads the flags. Directories that are not named are temporary ones,
// which cleanup removes.
func parse(args []string) (opt options, cleanup func(), err error) {
	cleanup = func() {}
	flags := flag.NewFlagSet("inenclave", flag.ContinueOnError)
	flags.StringVar(&opt.lower, "lower", os.Getenv("INENCLAVE_LOWER"), "host `directory` of the read-only image")
	flags.StringVar(&opt.upper, "upper", os.Getenv("INENCLAVE_UPPER"), "host `directory` of the writable image")
	keyFile := flags.String("key", os.Getenv("INENCLAVE_KEY"), "`file` with the images' key; without it the key is sealed to the enclave")
	if err := flags.Parse(args); err != nil {
		return opt, cleanup, err
	}
	if *keyFile != "" {
		text, err := os.ReadFile(*keyFile)
		if err != nil {
			return opt, cleanup, err
		}
		opt.key = strings.TrimRight(string(text), "\r\n")
	}
	if opt.lower != "" && opt.upper != "" {
		return opt, cleanup, nil
	}
	dir, err := os.MkdirTemp("", "inenclave-")
	if err != nil {
		return opt, cleanup, err
	}
	cleanup = func() { os.RemoveAll(dir) }
	for name, where := range map[string]*string{"lower": &opt.lower, "upper": &opt.upper} {
		if *where != "" {
			continue
		}
		*where = filepath.Join(dir, name)
		if err := os.Mkdir(*where, 0o700); err != nil {
			cleanup()
			return opt, func() {}, err
		}
	}
	return opt, cleanup, nil
}
