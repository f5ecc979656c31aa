package replay

import (
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"cloister/harness/internal/script"
)

// below reports whether a call of a recorded trace lies below Config.Below:
// every path it names, or the descriptors it acts on. What it opens elsewhere
// is foreign, so that later calls on it are skipped.
func (r *runner) below(p *process, s *script.Call, e *entry) bool {
	if r.cfg.Below == "" {
		return true
	}
	words := strings.Fields(e.args)
	paths := 0
	for i, word := range words {
		if word != "path" || i >= len(s.Args) || isTarget(s.Name, i) {
			continue
		}
		paths++
		var dir script.Value
		if i > 0 && words[i-1] == "fd" {
			dir = unwrap(s.Args[i-1])
		}
		if !r.pathBelow(p, dir, unwrap(s.Args[i])) {
			return false
		}
	}
	switch {
	case paths > 0:
		return true
	case s.Name == "mount":
		return r.pathBelow(p, nil, unwrap(s.Args[1]))
	case s.Name == "getcwd":
		return p.inside
	}
	return true // descriptors know themselves; umask and the like belong to the process
}

// isTarget reports whether argument i of a call is the text of a link, which
// is looked up by nobody.
func isTarget(name string, i int) bool {
	return i == 0 && (name == "symlink" || name == "symlinkat")
}

// pathBelow reports whether a path that starts at dir (nil: the working
// directory) is below Config.Below.
func (r *runner) pathBelow(p *process, dir, name script.Value) bool {
	text := ""
	if s, ok := name.(script.String); ok {
		text, _ = r.vars.expand(s)
	}
	if fd, ok := procFD(text); ok {
		d, open := p.fds.byScript[fd]
		return open && !d.foreign
	}
	if strings.HasPrefix(text, "/") {
		text = path.Clean(text)
		return text == r.cfg.Below || strings.HasPrefix(text, strings.TrimSuffix(r.cfg.Below, "/")+"/")
	}
	if dir != nil {
		if n, why := evaluate(dir); why == "" && int32(n) != unix.AT_FDCWD {
			d, open := p.fds.byScript[int(int32(n))]
			return open && !d.foreign
		}
	}
	return p.inside
}

// elsewhere keeps track of a call that is not made because it is not below
// Config.Below.
func (r *runner) elsewhere(p *process, s *script.Call, e *entry) {
	r.foreignCall(p, s, e)
	if s.Name == "chdir" && s.Result.Kind != script.Fails {
		p.inside = false
	}
}

// makeBelow makes the directory Config.Below for the first process.
func makeBelow(t Task, dir string) error {
	for i := 1; i <= len(dir); i++ {
		if i < len(dir) && dir[i] != '/' {
			continue
		}
		if err := t.Mkdirat(unix.AT_FDCWD, dir[:i], 0o755); err != nil && errno(err) != unix.EEXIST {
			return err
		}
	}
	return nil
}
