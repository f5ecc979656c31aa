package script

import (
	"strings"
	"unicode/utf8"
)

// Of a longer line, as a trace may hold, only what stands around the place is
// shown: so many bytes before it and from it on.
const (
	shownBefore = 100
	shownBehind = 60
)

// excerpt returns the line, and below it a caret under column col, which counts
// from 1 in bytes. What no terminal should get is replaced by a question mark.
func excerpt(line string, col int) string {
	at := min(max(col-1, 0), len(line))
	before, behind := line[:at], line[at:]
	if len(before) > shownBefore {
		cut := len(before) - shownBefore + len("...")
		for cut < len(before) && !utf8.RuneStart(before[cut]) {
			cut++
		}
		before = "..." + before[cut:]
	}
	if len(behind) > shownBehind {
		cut := shownBehind - len("...")
		for cut > 0 && !utf8.RuneStart(behind[cut]) {
			cut--
		}
		behind = behind[:cut] + "..."
	}
	before = printable(before)
	pad := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, before)
	return "\t" + before + printable(behind) + "\n\t" + pad + "^"
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || r != '\t' && (r < ' ' || 0x7f <= r && r < 0xa0) {
			return '?'
		}
		return r
	}, s)
}
