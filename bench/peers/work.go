package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	chunk      = 1 << 20 // of the large file
	block      = 4096
	smallFile  = 1024
	randWrites = 8192
	randSyncs  = 2048
	randReads  = 8192
	perDir     = 20 // files in a directory of the tree
)

// A client is who uses a file system in one round.
type client struct {
	c    *config
	root string
	buf  []byte
	note func(r row, value float64)
}

// round makes s below dir, measures it and removes it.
func (c *config) round(s *system, dir string, add func(*system, row, float64)) (err error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if s.prepare != nil {
		if err := s.prepare(dir); err != nil {
			return err
		}
	}
	m, err := s.mount(dir)
	if err != nil {
		return err
	}
	defer func() {
		if m != nil {
			err = errors.Join(err, m.unmount())
		}
	}()
	cl := &client{c: c, root: m.target, buf: make([]byte, chunk), note: func(r row, v float64) { add(s, r, v) }}
	for i := range cl.buf {
		cl.buf[i] = byte(i*i + i>>9)
	}
	if err := firstErr(cl.large, cl.random, cl.small, cl.makeTree); err != nil {
		return err
	}
	if s.serve != nil {
		start := time.Now()
		err := m.unmount()
		m = nil
		if err != nil {
			return err
		}
		if m, err = s.mount(dir); err != nil {
			return err
		}
		cl.rate(rowMountCycle, 1, start)
		if err := cl.walk(rowWalkCold); err != nil {
			return err
		}
	}
	return firstErr(func() error { return cl.walk(rowWalkWarm) }, cl.removeSmall)
}

// rate notes n things since start.
func (cl *client) rate(r row, n int, start time.Time) {
	cl.note(r, float64(n)/time.Since(start).Seconds())
}

// speed notes the bytes of the large file since start.
func (cl *client) speed(r row, start time.Time) {
	cl.note(r, float64(cl.c.size)/1e6/time.Since(start).Seconds())
}

func (cl *client) path(name string) string { return filepath.Join(cl.root, name) }

// large writes, overwrites and reads the large file.
func (cl *client) large() error {
	for _, r := range []row{rowWrite, rowOverwrite} {
		start := time.Now()
		f, err := os.OpenFile(cl.path("large"), os.O_CREATE|os.O_RDWR, 0o644)
		if err != nil {
			return err
		}
		for off := int64(0); off < cl.c.size; off += chunk {
			cl.buf[0]++
			if _, err := f.WriteAt(cl.buf, off); err != nil {
				return err
			}
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
		cl.speed(r, start)
	}
	f, err := os.Open(cl.path("large"))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := dropPages(f); err != nil {
		return err
	}
	for _, r := range []row{rowRead, rowReread} {
		start := time.Now()
		total := int64(0)
		for {
			n, err := f.ReadAt(cl.buf, total)
			total += int64(n)
			if err == io.EOF {
				break
			}
			if err != nil {
				return err
			}
		}
		if total != cl.c.size {
			return fmt.Errorf("read %d bytes of %d", total, cl.c.size)
		}
		cl.speed(r, start)
	}
	return nil
}

// dropPages makes the kernel forget what it has of a file.
func dropPages(f *os.File) error { return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) }

// random reads and writes blocks of the large file.
func (cl *client) random() error {
	rnd := rand.New(rand.NewPCG(1, 2))
	f, err := os.OpenFile(cl.path("large"), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := dropPages(f); err != nil {
		return err
	}
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_RANDOM); err != nil {
		return err
	}
	offset := func() int64 { return rnd.Int64N(cl.c.size/block) * block }
	for _, part := range []struct {
		row row
		n   int
		do  func() error
	}{
		{rowRandRead, randReads, func() error { _, err := f.ReadAt(cl.buf[:block], offset()); return err }},
		{rowRandWrite, randWrites, func() error { _, err := f.WriteAt(cl.buf[:block], offset()); return err }},
		{rowRandSync, randSyncs, func() error {
			if _, err := f.WriteAt(cl.buf[:block], offset()); err != nil {
				return err
			}
			return f.Sync()
		}},
	} {
		start := time.Now()
		for range part.n {
			if err := part.do(); err != nil {
				return fmt.Errorf("%s: %w", part.row.name, err)
			}
		}
		cl.rate(part.row, part.n, start)
	}
	return nil
}

func (cl *client) smallName(i int) string { return cl.path(fmt.Sprintf("small/file%05d", i)) }

// small makes the small files in one directory and looks at them.
func (cl *client) small() error {
	if err := os.Mkdir(cl.path("small"), 0o755); err != nil {
		return err
	}
	var st unix.Stat_t
	for _, part := range []struct {
		row row
		do  func(name string) error
	}{
		{rowCreate, func(name string) error { return writeFile(name, cl.buf[:smallFile]) }},
		{rowStat, func(name string) error { return unix.Lstat(name, &st) }},
		{rowSmallRead, func(name string) error { return readFile(name, cl.buf[:smallFile]) }},
	} {
		if err := cl.each(part.row, part.do); err != nil {
			return err
		}
	}
	start := time.Now()
	n, err := list(cl.path("small"), func(string) error { return nil })
	if err != nil {
		return err
	}
	if n != cl.c.files {
		return fmt.Errorf("%d names of %d", n, cl.c.files)
	}
	cl.rate(rowList, n, start)
	return nil
}

// removeSmall renames and removes the small files.
func (cl *client) removeSmall() error {
	return firstErr(
		func() error {
			return cl.each(rowRename, func(name string) error { return unix.Rename(name, name+"r") })
		},
		func() error { return cl.each(rowUnlink, func(name string) error { return unix.Unlink(name + "r") }) },
	)
}

// each calls do for each small file.
func (cl *client) each(r row, do func(name string) error) error {
	start := time.Now()
	for i := range cl.c.files {
		if err := do(cl.smallName(i)); err != nil {
			return fmt.Errorf("%s: %s: %w", r.name, cl.smallName(i), err)
		}
	}
	cl.rate(r, cl.c.files, start)
	return nil
}

// writeFile makes a file as programs do, without a look at what it is.
func writeFile(name string, data []byte) error {
	fd, err := unix.Open(name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	_, err = unix.Write(fd, data)
	return errors.Join(err, unix.Close(fd))
}

func readFile(name string, buf []byte) error {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	n, err := unix.Read(fd, buf)
	if err == nil && n != len(buf) {
		err = fmt.Errorf("%d bytes", n)
	}
	return errors.Join(err, unix.Close(fd))
}

// makeTree makes as many small files again in many directories.
func (cl *client) makeTree() error {
	for i := range cl.c.files {
		dir := cl.path(fmt.Sprintf("tree/%d/%d", i/perDir/20, i/perDir))
		if i%perDir == 0 {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
		}
		if err := writeFile(fmt.Sprintf("%s/file%d", dir, i), cl.buf[:100]); err != nil {
			return err
		}
	}
	return nil
}

// walk lists the tree and looks at each file, as git status does.
func (cl *client) walk(r row) error {
	start, n := time.Now(), 0
	var visit func(dir string) error
	visit = func(dir string) error {
		_, err := list(dir, func(name string) error {
			var st unix.Stat_t
			path := dir + "/" + name
			if err := unix.Lstat(path, &st); err != nil {
				return err
			}
			n++
			if st.Mode&unix.S_IFMT == unix.S_IFDIR {
				return visit(path)
			}
			return nil
		})
		return err
	}
	if err := visit(cl.path("tree")); err != nil {
		return err
	}
	if n < cl.c.files {
		return fmt.Errorf("%d files of %d in the tree", n, cl.c.files)
	}
	cl.rate(r, n, start)
	return nil
}

// list calls f for each entry of a directory and returns how many there are.
func list(dir string, f func(name string) error) (n int, err error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	buf := make([]byte, 32<<10)
	for {
		size, err := unix.Getdents(fd, buf)
		if err != nil || size == 0 {
			return n, err
		}
		_, count, names := unix.ParseDirent(buf[:size], -1, nil)
		n += count
		for _, name := range names {
			if err := f(name); err != nil {
				return n, err
			}
		}
	}
}
