package replay

import (
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
// sizes and the identifier are the system's own.
func (c *call) statfs(out int, get func(*unix.Statfs_t) error) (int64, error) {
	var st unix.Statfs_t
	if err := get(&st); err != nil {
		return 0, err
	}
	if c.unwritable(out) {
		return 0, unix.EFAULT
	}
	c.checkFields(out, statfsFields)
	c.came(out, script.Struct{More: true, Fields: []script.Field{
		{Name: "f_type", Value: script.Hex(uint64(st.Type))},
		{Name: "f_namelen", Value: script.Decimal(st.Namelen)},
		{Name: "f_flags", Value: script.Hex(uint64(st.Flags))},
	}})
	return 0, nil
}

func set(names ...string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}
