package replay

import (
	"slices"
	"strings"

	"cloister/harness/internal/script"
)

// match compares an out-parameter with what the script gives for it; why is
// not empty if the script's value cannot stand there.
func (r *runner) match(want, got script.Value) (same bool, why string) {
	if _, open := want.(script.Rest); open {
		return true, ""
	}
	switch g := got.(type) {
	case script.String:
		w, ok := want.(script.String)
		if !ok {
			return false, "a string expected, not " + script.Format(want)
		}
		text, _ := r.vars.expand(w)
		return text == g.Text || w.Cut && strings.HasPrefix(g.Text, text), ""
	case script.Array:
		w, ok := want.(script.Array)
		if !ok {
			return false, "an array expected, not " + script.Format(want)
		}
		if len(g.Elems) < len(w.Elems) || !w.More && len(g.Elems) != len(w.Elems) {
			return false, ""
		}
		for i := range w.Elems {
			if same, why := r.match(w.Elems[i], g.Elems[i]); !same || why != "" {
				return false, why
			}
		}
		return true, ""
	case script.Struct:
		w, ok := want.(script.Struct)
		if !ok {
			return false, "a structure expected, not " + script.Format(want)
		}
		for _, f := range w.Fields {
			v := g.Get(f.Name)
			if v == nil {
				continue // the decoder has refused unknown names and left out what is not compared
			}
			if same, why := r.match(f.Value, v); !same || why != "" {
				return false, why
			}
		}
		return true, ""
	}
	w, why := evaluate(want)
	if why != "" {
		return false, why
	}
	g, why := evaluate(got)
	return w == g, why
}

// matchNames compares the names of a directory as sets. Without "." and ".."
// in want they are left out of got, too; got must hold no name twice.
func matchNames(want []string, more bool, got []string) bool {
	slices.Sort(want)
	slices.Sort(got)
	for i := 1; i < len(got); i++ {
		if got[i] == got[i-1] {
			return false
		}
	}
	if !slices.Contains(want, ".") && !slices.Contains(want, "..") {
		got = slices.DeleteFunc(got, func(s string) bool { return s == "." || s == ".." })
	}
	if !more {
		return slices.Equal(want, got)
	}
	for _, name := range want {
		if _, ok := slices.BinarySearch(got, name); !ok {
			return false
		}
	}
	return true
}
