package replay

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"

	"cloister/harness/internal/script"
)

// getdents makes getdents64 and getdents. Names are compared as a set, types where given.
func (c *call) getdents(get func(fd int, p []byte) (int, error), layout direntLayout) (int64, error) {
	p, bad := c.buffer(1, c.args[2].num)
	if c.problem != nil {
		return 0, nil
	}
	n, err := get(c.int(0), p)
	if err != nil {
		return 0, err
	}
	if bad && n > 0 {
		return 0, unix.EFAULT
	}
	want, ok := c.src.Args[1].(script.Array)
	if !ok {
		return int64(n), nil
	}
	got, types, broken := dirents(p[:n], layout)
	names := make([]string, 0, len(got))
	for _, e := range want.Elems {
		name, typ := e, script.Value(nil)
		if s, ok := e.(script.Struct); ok {
			name, typ = s.Get("d_name"), s.Get("d_type")
		}
		s, ok := name.(script.String)
		if !ok {
			c.cannot("a name or {d_name=...} expected, not %s", script.Format(e))
			return 0, nil
		}
		text, _ := c.run.vars.expand(s)
		names = append(names, text)
		if typ == nil {
			continue
		}
		if t, has := types[text]; has && uint64(t) != uint64(c.number(typ)) && t != unix.DT_UNKNOWN {
			broken = true
		}
	}
	if broken || !matchNames(names, want.More, append([]string(nil), got...)) {
		actual := script.Array{}
		for _, name := range got {
			actual.Elems = append(actual.Elems, script.Struct{Fields: []script.Field{
				{Name: "d_type", Value: direntType(types[name])}, {Name: "d_name", Value: script.Text(name)},
			}})
		}
		c.shown[1] = actual
		c.differ(1, want, actual)
	}
	return int64(n), nil
}

// direntLayout says where a directory record holds what (getdents(2)), in bytes.
// d_ino 8, d_off 8 and d_reclen 2 come first.
type direntLayout struct {
	name int
	typ  int // negative: from the end of the record
}

var (
	direntAt    = direntLayout{name: 19, typ: 18} // struct linux_dirent64
	oldDirentAt = direntLayout{name: 18, typ: -1} // struct linux_dirent
)

// dirents takes directory records apart; broken says that they are not well
// formed.
func dirents(p []byte, layout direntLayout) (names []string, types map[string]byte, broken bool) {
	types = map[string]byte{}
	for len(p) > 0 {
		if len(p) < layout.name {
			return names, types, true
		}
		size := int(binary.NativeEndian.Uint16(p[16:]))
		if size <= layout.name || size > len(p) {
			return names, types, true
		}
		name, _, ended := bytes.Cut(p[layout.name:size], []byte{0})
		if !ended || len(name) == 0 {
			return names, types, true
		}
		names = append(names, string(name))
		at := layout.typ
		if at < 0 {
			at += size
		}
		types[string(name)] = p[at]
		p = p[size:]
	}
	return names, types, false
}

func direntType(t byte) script.Value {
	for _, name := range []string{"DT_REG", "DT_DIR", "DT_LNK", "DT_FIFO", "DT_SOCK", "DT_CHR", "DT_BLK", "DT_UNKNOWN"} {
		if constants[name] == uint64(t) {
			return script.Const{Name: name}
		}
	}
	return script.Decimal(int64(t))
}
