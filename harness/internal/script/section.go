package script

import (
	"bytes"
	"path"
	"strings"
)

// sectionName reads a txtar marker, "-- name --".
func sectionName(line string) (string, bool) {
	line = strings.TrimRight(line, " \t\r")
	if len(line) < 7 || !strings.HasPrefix(line, "-- ") || !strings.HasSuffix(line, " --") {
		return "", false
	}
	return strings.TrimSpace(line[3 : len(line)-3]), true
}

// sections reads the files behind the script; src begins with a marker.
func (p *parser) sections(pos Pos, src []byte) error {
	for len(src) > 0 {
		raw, rest, _ := bytes.Cut(src, []byte("\n"))
		if name, ok := sectionName(string(raw)); ok {
			if name == "" || path.Clean("/"+name) != "/"+strings.TrimSuffix(name, "/") || len(name) == 1 && name[0] == '/' {
				return &Error{Pos: pos, Line: string(raw), Msg: "a plain relative path expected, such as host/lower/README"}
			}
			p.file.Sections = append(p.file.Sections, Section{Name: name, Line: pos.Line})
		} else {
			s := &p.file.Sections[len(p.file.Sections)-1]
			s.Data = append(s.Data, src[:len(src)-len(rest)]...)
			if len(s.Data) > 0 && s.Data[len(s.Data)-1] != '\n' {
				s.Data = append(s.Data, '\n')
			}
		}
		pos.Line++
		src = rest
	}
	return nil
}
