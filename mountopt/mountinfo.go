package mountopt

import (
	"strings"

	"golang.org/x/sys/unix"
)

// EscapePath prints a path for a field of /proc/self/mounts or
// /proc/self/mountinfo: blank, tab, newline and backslash as \040, \011, \012
// and \134. See fs/proc_namespace.c: show_mountinfo.
func EscapePath(path string) string { return escapeOctal(path, " \t\n\\") }

// EscapeSource prints a mount source, or any other text that is not a path, for
// such a field. It also escapes '#', which would start a comment in fstab(5);
// see fs/proc_namespace.c: mangle.
func EscapeSource(source string) string { return escapeOctal(source, " \t\n\\#") }

func escapeOctal(s, special string) string {
	if !strings.ContainsAny(s, special) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if strings.IndexByte(special, c) < 0 {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'\\', '0' + c>>6, '0' + c>>3&7, '0' + c&7})
	}
	return b.String()
}

// UnescapeField is the inverse of EscapePath and of EscapeSource.
//
// Errors: EINVAL for a backslash without three octal digits of one byte after it.
func UnescapeField(field string) (string, error) {
	if strings.IndexByte(field, '\\') < 0 {
		return field, nil
	}
	b := make([]byte, 0, len(field))
	for i := 0; i < len(field); i++ {
		c := field[i]
		if c == '\\' {
			if i+3 >= len(field) {
				return "", unix.EINVAL
			}
			hi, mid, lo := field[i+1]-'0', field[i+2]-'0', field[i+3]-'0'
			if hi > 3 || mid > 7 || lo > 7 {
				return "", unix.EINVAL
			}
			c = hi<<6 | mid<<3 | lo
			i += 3
		}
		b = append(b, c)
	}
	return string(b), nil
}
