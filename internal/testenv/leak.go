package testenv

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// grace is how long what was open or ran in a test may take to end.
const grace = 2 * time.Second

// CheckLeaks fails the test if, when it has ended with all its other clean-ups,
// file descriptors are open or goroutines run that were not there when
// CheckLeaks was called. Call it first in the test. The test, and others at the
// same time, must not be parallel: their descriptors and goroutines count.
func CheckLeaks(t testing.TB) {
	t.Helper()
	startPoller()
	files, routines := openFiles(t), goroutines()
	t.Cleanup(func() {
		t.Helper()
		if t.Failed() {
			return // what a failed test leaves behind says nothing
		}
		var leaks []string
		for deadline := time.Now().Add(grace); ; time.Sleep(time.Millisecond) {
			leaks = append(added(files, openFiles(t)), added(routines, goroutines())...)
			if len(leaks) == 0 {
				return
			}
			if time.Now().After(deadline) {
				break
			}
		}
		t.Errorf("the test leaves behind:\n%s", strings.Join(leaks, "\n"))
	})
}

// added returns the values of after whose keys before does not have, sorted.
func added(before, after map[string]string) (values []string) {
	for _, key := range slices.Sorted(maps.Keys(after)) {
		if _, ok := before[key]; !ok {
			values = append(values, after[key])
		}
	}
	return values
}

// startPoller makes the runtime open the descriptors of its poller, which it
// keeps.
func startPoller() {
	if r, w, err := os.Pipe(); err == nil {
		r.Close()
		w.Close()
	}
}

// openFiles returns the open descriptors: number and target.
func openFiles(t testing.TB) map[string]string {
	t.Helper()
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatalf("open descriptors: %v", err)
	}
	files := make(map[string]string, len(entries))
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil {
			continue // the one that read the directory
		}
		files[e.Name()+" "+target] = fmt.Sprintf("descriptor %s: %s", e.Name(), target)
	}
	return files
}

// goroutines returns the stacks of all goroutines but those of the runtime and
// the caller's own, by number.
func goroutines() map[string]string {
	buf := make([]byte, 1<<20)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	routines := map[string]string{}
	for i, stack := range strings.Split(string(buf), "\n\n") {
		number, _, ok := strings.Cut(strings.TrimPrefix(stack, "goroutine "), " ")
		if ok && i > 0 { // the first is the caller
			routines[number] = stack
		}
	}
	return routines
}
