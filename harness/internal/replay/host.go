package replay

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"cloister/harness/internal/script"
)

// host is the untrusted host of a script. It acts below $HOST only: os.Root
// lets no path leave it.
type host struct {
	dir       string
	root      *os.Root
	snapshots map[string]map[string]string
}

func openHost(dir string) (*host, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &host{dir: dir, root: root, snapshots: map[string]map[string]string{}}, nil
}

func (h *host) close() { h.root.Close() }

// layOut writes the files behind a script: "host/a/b" becomes $HOST/a/b.
func (h *host) layOut(f *script.File) error {
	for _, s := range f.Sections {
		fail := func(msg string) error {
			return &script.Error{Pos: script.Pos{File: f.Name, Line: s.Line, Col: 1}, Line: "-- " + s.Name + " --", Msg: msg}
		}
		name, ok := strings.CutPrefix(s.Name, "host/")
		if !ok {
			return fail("files behind a script lie below host/")
		}
		if dir, ok := strings.CutSuffix(name, "/"); ok {
			if len(s.Data) > 0 {
				return fail("a directory has no content")
			}
			if err := h.root.MkdirAll(dir, 0o755); err != nil {
				return fail(err.Error())
			}
			continue
		}
		if dir := filepath.Dir(name); dir != "." {
			if err := h.root.MkdirAll(dir, 0o755); err != nil {
				return fail(err.Error())
			}
		}
		if err := h.root.WriteFile(name, s.Data, 0o644); err != nil {
			return fail(err.Error())
		}
	}
	return nil
}

// hostVerb is what the host can do.
type hostVerb struct {
	args string // for people, one word an argument
	// do acts; differs is not empty if it looked and saw something else than
	// the script says.
	do func(h *host, a []string) (differs string, err error)
	// look is do for verbs whose line may end in "= value".
	look func(h *host, a []string) (script.Value, error)
}

// A path argument of a verb is named in capitals by one of these.
var pathWords = set("PATH", "FILE", "DIR", "FROM", "TO")

var hostVerbs = map[string]hostVerb{
	"write":    {args: "FILE BYTES", do: func(h *host, a []string) (string, error) { return "", h.root.WriteFile(a[0], []byte(a[1]), 0o644) }},
	"append":   {args: "FILE BYTES", do: appendFile},
	"mkdir":    {args: "DIR", do: func(h *host, a []string) (string, error) { return "", h.root.MkdirAll(a[0], 0o755) }},
	"mkfifo":   {args: "PATH", do: mkfifo},
	"rm":       {args: "PATH", do: remove},
	"cp":       {args: "FROM TO", do: copyTree},
	"mv":       {args: "FROM TO", do: func(h *host, a []string) (string, error) { return "", h.root.Rename(a[0], a[1]) }},
	"symlink":  {args: "TARGET PATH", do: func(h *host, a []string) (string, error) { return "", h.root.Symlink(a[0], a[1]) }},
	"link":     {args: "FROM TO", do: func(h *host, a []string) (string, error) { return "", h.root.Link(a[0], a[1]) }},
	"chmod":    {args: "MODE PATH", do: chmod},
	"flip":     {args: "FILE OFFSET", do: flip},
	"truncate": {args: "FILE SIZE", do: truncate},

	"ls":  {args: "DIR", look: ls},
	"cat": {args: "FILE", look: cat},

	"grep":        {args: "DIR TEXT", do: func(h *host, a []string) (string, error) { return h.grep(a, true) }},
	"grep-absent": {args: "DIR TEXT", do: func(h *host, a []string) (string, error) { return h.grep(a, false) }},
	"snapshot":    {args: "DIR", do: takeSnapshot},
	"unchanged":   {args: "DIR", do: compareSnapshot},
}

// hostLine does what a host: line says.
func (r *runner) hostLine(l *script.Line, s *script.Host) error {
	col := 0 // of the argument that is looked at
	cannot := func(format string, args ...any) error {
		return l.Wrong(col, "host: "+s.Verb+": "+r.vars.hide(fmt.Sprintf(format, args...)))
	}
	v, ok := hostVerbs[s.Verb]
	if !ok {
		return cannot("the host cannot do this")
	}
	words := strings.Fields(v.args)
	if len(s.Args) != len(words) {
		return cannot("%s expected", v.args)
	}
	args := make([]string, len(words))
	for i, word := range words {
		col = l.Columns.Arg(i)
		text, unset := r.vars.expand(s.Args[i])
		if unset != "" && word != "BYTES" && word != "TEXT" {
			return cannot("$%s has no value", unset)
		}
		if pathWords[word] {
			rel, err := r.host.below(text)
			if err != nil {
				return cannot("%v", err)
			}
			text = rel
		}
		args[i] = text
	}
	col = l.Columns.Result
	if s.Want != nil && v.look == nil {
		return cannot("it has no result to compare")
	}
	if v.do != nil {
		col = 0
		differs, err := v.do(r.host, args)
		if err != nil {
			return cannot("%v", err)
		}
		if differs != "" {
			r.out.Failure = Differs(l, 0, "the host's files differ", "it holds", r.vars.hide(differs))
		}
		return nil
	}
	got, err := v.look(r.host, args)
	if err != nil {
		return cannot("%v", err)
	}
	if s.Want == nil {
		return nil
	}
	same, why := r.matchLook(s.Want, got)
	if why != "" {
		return cannot("%s", why)
	}
	if !same {
		r.out.Failure = Differs(l, col, "the host's files differ", script.Format(s.Want), r.vars.hide(script.Format(got)))
	}
	return nil
}

// matchLook compares names as a set and bytes as they are.
func (r *runner) matchLook(want, got script.Value) (bool, string) {
	w, isArray := want.(script.Array)
	g, isNames := got.(script.Array)
	if !isArray || !isNames {
		return r.match(want, got)
	}
	texts := func(a script.Array) (list []string, ok bool) {
		for _, e := range a.Elems {
			s, ok := e.(script.String)
			if !ok {
				return nil, false
			}
			text, _ := r.vars.expand(s)
			list = append(list, text)
		}
		return list, true
	}
	wanted, ok := texts(w)
	if !ok {
		return false, "names in quotes expected"
	}
	have, _ := texts(g)
	return matchNames(wanted, w.More, have), ""
}

// below returns path, which is absolute below $HOST or relative to it, in the
// form that os.Root takes.
func (h *host) below(path string) (string, error) {
	if filepath.IsAbs(path) {
		rel, ok := strings.CutPrefix(filepath.Clean(path), h.dir)
		if !ok || rel != "" && rel[0] != '/' {
			return "", fmt.Errorf("%s is not below $HOST", path)
		}
		path = strings.TrimPrefix(rel, "/")
	}
	path = filepath.Clean(path)
	if !filepath.IsLocal(path) {
		return "", fmt.Errorf("%s is not below $HOST", path)
	}
	return path, nil
}

func appendFile(h *host, a []string) (string, error) {
	f, err := h.root.OpenFile(a[0], os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return "", err
	}
	_, err = f.WriteString(a[1])
	return "", errors.Join(err, f.Close())
}

func mkfifo(h *host, a []string) (string, error) {
	dir, err := h.root.Open(filepath.Dir(a[0]))
	if err != nil {
		return "", err
	}
	defer dir.Close()
	return "", unix.Mkfifoat(int(dir.Fd()), filepath.Base(a[0]), 0o644)
}

// remove deletes a file or a tree; a missing one is a slip of the script.
func remove(h *host, a []string) (string, error) {
	if _, err := h.root.Lstat(a[0]); err != nil {
		return "", err
	}
	return "", h.root.RemoveAll(a[0])
}

func chmod(h *host, a []string) (string, error) {
	var mode uint32
	if _, err := fmt.Sscanf(a[0], "%o", &mode); err != nil || mode > 0o777 {
		return "", fmt.Errorf("%s is no octal mode", a[0])
	}
	return "", h.root.Chmod(a[1], fs.FileMode(mode))
}

// flip inverts the lowest bit of one byte; a negative offset counts from the
// end.
func flip(h *host, a []string) (string, error) {
	var off int64
	if _, err := fmt.Sscan(a[1], &off); err != nil {
		return "", fmt.Errorf("%s is no offset", a[1])
	}
	f, err := h.root.OpenFile(a[0], os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if off < 0 {
		off += info.Size()
	}
	var b [1]byte
	if _, err := f.ReadAt(b[:], off); err != nil {
		return "", fmt.Errorf("no byte %s in a file of %d", a[1], info.Size())
	}
	b[0] ^= 1
	_, err = f.WriteAt(b[:], off)
	return "", err
}

func truncate(h *host, a []string) (string, error) {
	var size int64
	if _, err := fmt.Sscan(a[1], &size); err != nil || size < 0 {
		return "", fmt.Errorf("%s is no size", a[1])
	}
	f, err := h.root.OpenFile(a[0], os.O_WRONLY, 0)
	if err != nil {
		return "", err
	}
	return "", errors.Join(f.Truncate(size), f.Close())
}

func ls(h *host, a []string) (script.Value, error) {
	list, err := fs.ReadDir(h.root.FS(), a[0])
	if err != nil {
		return nil, err
	}
	var names script.Array
	for _, e := range list {
		names.Elems = append(names.Elems, script.Text(e.Name()))
	}
	return names, nil
}

func cat(h *host, a []string) (script.Value, error) {
	p, err := h.root.ReadFile(a[0])
	return script.Text(string(p)), err
}
