package treecopy

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// copied reports whether a copy keeps an extended attribute.
func copied(name string) bool {
	return strings.HasPrefix(name, "user.") || strings.HasPrefix(name, "trusted.") || name == "security.capability"
}

// hostXattrs reads attributes of the host's files.
type hostXattrs struct {
	names, value []byte // buffers
}

// read returns the attributes of an open file that a copy keeps; nil: none.
func (h *hostXattrs) read(fd int, path string) (map[string][]byte, error) {
	if h.names == nil {
		h.names = make([]byte, 64<<10) // the largest list (XATTR_LIST_MAX)
		h.value = make([]byte, 64<<10) // the largest value (XATTR_SIZE_MAX)
	}
	n, err := unix.Flistxattr(fd, h.names)
	if n == 0 || errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	if err != nil {
		return nil, &Error{"list attributes of", path, err}
	}
	var xattrs map[string][]byte
	for raw := range bytes.SplitSeq(h.names[:n], []byte{0}) {
		name := string(raw)
		if !copied(name) {
			continue
		}
		n, err := unix.Fgetxattr(fd, name, h.value)
		if errors.Is(err, unix.ENODATA) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, &Error{"read attribute of", path, err}
		}
		if xattrs == nil {
			xattrs = make(map[string][]byte)
		}
		xattrs[name] = slices.Clone(h.value[:n])
	}
	return xattrs, nil
}

// sortedNames returns the names of both sets of attributes.
func sortedNames(a, b map[string][]byte) []string {
	names := slices.Collect(maps.Keys(a))
	for name := range b {
		if _, ok := a[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
