package replay

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// walk calls fn with every file below dir: its path, mode, and content or
// link target.
func (h *host) walk(dir string, fn func(path string, info fs.FileInfo, content []byte) error) error {
	return fs.WalkDir(h.root.FS(), dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := h.root.Lstat(path)
		if err != nil {
			return err
		}
		var content []byte
		switch {
		case info.Mode().IsRegular():
			content, err = h.root.ReadFile(path)
		case info.Mode()&fs.ModeSymlink != 0:
			var target string
			target, err = h.root.Readlink(path)
			content = []byte(target)
		}
		if err != nil {
			return err
		}
		return fn(path, info, content)
	})
}

// copyTree copies a file over TO, or a tree to TO, which must not exist.
func copyTree(h *host, a []string) (string, error) {
	from, to := a[0], a[1]
	if info, err := h.root.Lstat(to); err == nil && info.IsDir() {
		return "", fmt.Errorf("%s exists", to)
	}
	return "", h.walk(from, func(path string, info fs.FileInfo, content []byte) error {
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		dst := filepath.Join(to, rel)
		switch {
		case info.IsDir():
			return h.root.Mkdir(dst, info.Mode().Perm())
		case info.Mode()&fs.ModeSymlink != 0:
			return h.root.Symlink(string(content), dst)
		case info.Mode().IsRegular():
			return h.root.WriteFile(dst, content, info.Mode().Perm())
		}
		return fmt.Errorf("%s: only files, directories and links are copied", path)
	})
}

// grep looks for text in names, contents and link targets below a directory.
// The text is found wherever it lies in one file.
func (h *host) grep(a []string, present bool) (differs string, err error) {
	if a[1] == "" {
		return "", errors.New("what to look for?")
	}
	found := ""
	err = h.walk(a[0], func(path string, info fs.FileInfo, content []byte) error {
		switch {
		case found != "":
		case path != a[0] && strings.Contains(info.Name(), a[1]):
			found = "the name " + path
		case bytes.Contains(content, []byte(a[1])):
			found = path
		}
		return nil
	})
	switch {
	case err != nil:
		return "", err
	case present && found == "":
		return "nothing holds it", nil
	case !present && found != "":
		return found + " holds it", nil
	}
	return "", nil
}

// state returns path -> type, permission and content of a tree.
func (h *host) state(dir string) (map[string]string, error) {
	m := map[string]string{}
	err := h.walk(dir, func(path string, info fs.FileInfo, content []byte) error {
		m[path] = info.Mode().String() + "\n" + string(content)
		return nil
	})
	return m, err
}

func takeSnapshot(h *host, a []string) (string, error) {
	m, err := h.state(a[0])
	h.snapshots[a[0]] = m
	return "", err
}

// compareSnapshot compares names, types, permissions and every byte with the
// last snapshot of the directory.
func compareSnapshot(h *host, a []string) (differs string, err error) {
	before, ok := h.snapshots[a[0]]
	if !ok {
		return "", errors.New("no snapshot of this directory")
	}
	now, err := h.state(a[0])
	if err != nil {
		return "", err
	}
	var changes []string
	for path, s := range before {
		if t, ok := now[path]; !ok {
			changes = append(changes, path+" is gone")
		} else if s != t {
			changes = append(changes, path+" is changed")
		}
	}
	for path := range now {
		if _, ok := before[path]; !ok {
			changes = append(changes, path+" is new")
		}
	}
	slices.Sort(changes)
	return strings.Join(changes, ", "), nil
}
