package vfs_test

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"cloister/vfs"
)

func BenchmarkStat(b *testing.B) {
	for _, user := range []struct {
		name string
		uid  uint32
	}{{"root", 0}, {"user", 1000}} {
		for _, depth := range []int{1, 4, 8} {
			w := newWorld(b)
			path := ""
			for i := range depth {
				path += fmt.Sprintf("/dir%d", i)
				w.ok(w.mkdir(path), "mkdir")
			}
			w.v.SetCred(&vfs.Cred{EUID: user.uid})
			b.Run(fmt.Sprintf("%s/depth=%d", user.name, depth), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, _, err := w.v.GetattrAt(w.ctx, cwd, path, vfs.WalkFollow, unix.STATX_BASIC_STATS); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run(fmt.Sprintf("%s/depth=%d/pinned", user.name, depth), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					p, err := w.v.Walk(w.ctx, cwd, path, vfs.WalkFollow)
					if err != nil {
						b.Fatal(err)
					}
					if _, err := vfs.Getattr(w.ctx, p, unix.STATX_BASIC_STATS); err != nil {
						b.Fatal(err)
					}
					p.Put()
				}
			})
		}
	}
}

func BenchmarkStatParallel(b *testing.B) {
	w := newWorld(b, "/d", "/d/e", "/d/e/f")
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if w.stat("/d/e/f") != nil {
				b.Fatal("stat")
			}
		}
	})
}

func BenchmarkMountUmount(b *testing.B) {
	w := newWorld(b, "/m")
	b.ReportAllocs()
	for b.Loop() {
		if w.mount("/m", 0) != nil || w.umount("/m", 0) != nil {
			b.Fatal("mount")
		}
	}
}

func BenchmarkCreateUnlink(b *testing.B) {
	w := newWorld(b, "/d")
	b.ReportAllocs()
	for b.Loop() {
		f, err := w.v.OpenAt(w.ctx, cwd, "/d/f", vfs.OpenHow{Flags: unix.O_CREAT | unix.O_WRONLY})
		if err != nil || f.Close(w.ctx) != nil || w.v.UnlinkAt(w.ctx, cwd, "/d/f") != nil {
			b.Fatal("create", err)
		}
	}
}

func BenchmarkOpenClose(b *testing.B) {
	w := newWorld(b, "/d")
	w.touch("/d/f")
	b.ReportAllocs()
	for b.Loop() {
		f, err := w.v.OpenAt(w.ctx, cwd, "/d/f", vfs.OpenHow{})
		if err != nil || f.Close(w.ctx) != nil {
			b.Fatal("open", err)
		}
	}
}

func BenchmarkReadWrite(b *testing.B) {
	for _, size := range []int{4096, 1 << 20} {
		w := newWorld(b)
		f := w.open("/f", unix.O_CREAT|unix.O_RDWR)
		buf := make([]byte, size)
		b.Run(fmt.Sprintf("write/%d", size), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				if _, err := f.WriteAt(w.ctx, buf, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("read/%d", size), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				if _, err := f.ReadAt(w.ctx, buf, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
		w.ok(f.Close(w.ctx), "close")
	}
}
