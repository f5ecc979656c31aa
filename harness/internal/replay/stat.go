package replay

import (
	"strings"

	"golang.org/x/sys/unix"

	"cloister/harness/internal/script"
)

// stat makes a call of the stat family, whose structure is argument out.
func (c *call) stat(out int, get func(*unix.Stat_t) error) (int64, error) {
	var st unix.Stat_t
	if err := get(&st); err != nil {
		return 0, err
	}
	if c.unwritable(out) {
		return 0, unix.EFAULT
	}
	c.checkFields(out, statFields)
	c.came(out, c.run.statStruct(&st))
	return 0, nil
}

// checkFields refuses members that the structure of argument out has not.
func (c *call) checkFields(out int, known map[string]bool) {
	s, ok := c.src.Args[out].(script.Struct)
	if !ok {
		return
	}
	for _, f := range s.Fields {
		if !known[f.Name] {
			c.cannot("no member %q in this structure", f.Name)
		}
	}
}

// statFields are the members of struct stat as strace names them.
var statFields = set("st_dev", "st_ino", "st_mode", "st_nlink", "st_uid", "st_gid", "st_rdev", "st_size", "st_blksize", "st_blocks",
	"st_atime", "st_atime_nsec", "st_mtime", "st_mtime_nsec", "st_ctime", "st_ctime_nsec")

// statStruct returns the members of st that are comparable between two
// systems. Size and link count of a directory are not, nor are times that the
// script has not set.
func (r *runner) statStruct(st *unix.Stat_t) script.Struct {
	s := script.Struct{More: true}
	add := func(name string, v script.Value) { s.Fields = append(s.Fields, script.Field{Name: name, Value: v}) }
	add("st_mode", modeValue(st.Mode))
	dir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	if !dir {
		add("st_nlink", script.Decimal(int64(st.Nlink)))
	}
	add("st_uid", script.Decimal(int64(st.Uid)))
	add("st_gid", script.Decimal(int64(st.Gid)))
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
	case unix.S_IFCHR, unix.S_IFBLK:
		add("st_rdev", script.Func{Name: "makedev", Args: []script.Value{
			script.Hex(uint64(unix.Major(st.Rdev))), script.Hex(uint64(unix.Minor(st.Rdev))),
		}})
	default:
		add("st_size", script.Decimal(st.Size))
	}
	for _, t := range []struct {
		name string
		ts   unix.Timespec
	}{{"st_atime", st.Atim}, {"st_mtime", st.Mtim}} {
		if r.timesSet[t.ts] {
			add(t.name, script.Decimal(t.ts.Sec))
			add(t.name+"_nsec", script.Decimal(t.ts.Nsec))
		}
	}
	return s
}

// statx makes statx(2). Of the structure the members are compared that stat has,
// too: the masks say what a file system knows.
func statx(c *call) (int64, error) {
	var stx unix.Statx_t
	if err := c.Statx(c.int(0), c.args[1].str, c.int(2), c.u32(3), &stx); err != nil {
		return 0, err
	}
	if c.unwritable(4) {
		return 0, unix.EFAULT
	}
	c.checkFields(4, statxFields)
	plain := c.run.statStruct(&unix.Stat_t{
		Mode: uint32(stx.Mode), Nlink: uint64(stx.Nlink), Uid: stx.Uid, Gid: stx.Gid, Size: int64(stx.Size),
		Rdev: unix.Mkdev(stx.Rdev_major, stx.Rdev_minor),
	})
	s := script.Struct{More: true}
	for _, f := range plain.Fields {
		if f.Name != "st_rdev" {
			s.Fields = append(s.Fields, script.Field{Name: "stx_" + strings.TrimPrefix(f.Name, "st_"), Value: f.Value})
		}
	}
	for _, t := range []struct {
		name string
		ts   unix.StatxTimestamp
	}{{"stx_atime", stx.Atime}, {"stx_mtime", stx.Mtime}} {
		if c.run.timesSet[unix.Timespec{Sec: t.ts.Sec, Nsec: int64(t.ts.Nsec)}] {
			s.Fields = append(s.Fields, script.Field{Name: t.name, Value: script.Struct{Fields: []script.Field{
				{Name: "tv_sec", Value: script.Decimal(t.ts.Sec)}, {Name: "tv_nsec", Value: script.Decimal(int64(t.ts.Nsec))},
			}}})
		}
	}
	c.came(4, s)
	return 0, nil
}

// statxFields are the members of struct statx as strace names them.
var statxFields = set("stx_mask", "stx_blksize", "stx_attributes", "stx_nlink", "stx_uid", "stx_gid", "stx_mode", "stx_ino", "stx_size",
	"stx_blocks", "stx_attributes_mask", "stx_atime", "stx_btime", "stx_ctime", "stx_mtime", "stx_rdev_major", "stx_rdev_minor",
	"stx_dev_major", "stx_dev_minor", "stx_mnt_id", "stx_dio_mem_align", "stx_dio_offset_align", "stx_subvol", "stx_atomic_write_unit_min",
	"stx_atomic_write_unit_max", "stx_atomic_write_segments_max", "stx_dio_read_offset_align", "stx_atomic_write_unit_max_opt")

// modeValue prints a mode as strace does: S_IFREG|0644.
func modeValue(mode uint32) script.Value {
	perm := script.Octal(uint64(mode &^ unix.S_IFMT))
	for _, name := range []string{"S_IFREG", "S_IFDIR", "S_IFLNK", "S_IFIFO", "S_IFSOCK", "S_IFCHR", "S_IFBLK"} {
		if constants[name] == uint64(mode&unix.S_IFMT) {
			return script.Or{Parts: []script.Value{script.Const{Name: name}, perm}}
		}
	}
	return script.Octal(uint64(mode))
}

// statfsFields are the members of struct statfs.
var statfsFields = set("f_type", "f_bsize", "f_blocks", "f_bfree", "f_bavail", "f_files", "f_ffree", "f_fsid", "f_namelen", "f_frsize", "f_flags")

// statfs makes statfs or fstatfs. Type, name length and flags are compared;
// sizes and the identifier are the system's own. In the trace of a program type
// and flags are those of the machine that it ran on.
func (c *call) statfs(out int, get func(*unix.Statfs_t) error) (int64, error) {
	var st unix.Statfs_t
	if err := get(&st); err != nil {
		return 0, err
	}
	if c.unwritable(out) {
		return 0, unix.EFAULT
	}
	c.checkFields(out, statfsFields)
	actual := script.Struct{More: true, Fields: []script.Field{{Name: "f_namelen", Value: script.Decimal(st.Namelen)}}}
	if c.run.cfg.Below == "" { // else it says what the program was recorded on
		actual.Fields = append(actual.Fields, script.Field{Name: "f_type", Value: script.Hex(uint64(st.Type))},
			script.Field{Name: "f_flags", Value: script.Hex(uint64(st.Flags))})
	}
	c.came(out, actual)
	return 0, nil
}

func set(names ...string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}
