package testenv_test

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"cloister/internal/testenv"
)

// A recorder is a test whose end can be looked at.
type recorder struct {
	testing.TB // of the real test, for all else
	skipped    string
	failed     string
	cleanups   []func()
}

func (r *recorder) Helper()          {}
func (r *recorder) Failed() bool     { return r.failed != "" }
func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

func (r *recorder) Skip(args ...any) {
	r.skipped = fmt.Sprint(args...)
	runtime.Goexit()
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.failed = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Errorf(format string, args ...any) { r.failed = fmt.Sprintf(format, args...) }

// record runs f as a test of its own, with its clean-ups.
func record(t *testing.T, f func(testing.TB)) *recorder {
	t.Helper()
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			for _, f := range slices.Backward(r.cleanups) {
				f()
			}
		}()
		f(r)
	}()
	<-done
	return r
}

var needs = map[string]func(testing.TB){
	"NeedRoot":           testenv.NeedRoot,
	"NeedFUSE":           testenv.NeedFUSE,
	"NeedKernelOverlay":  testenv.NeedKernelOverlay,
	"NeedUserNamespaces": testenv.NeedUserNamespaces,
}

// TestNeeds holds that what a machine lacks is skipped with a reason, fails in
// CI, and that looking leaves nothing behind.
func TestNeeds(t *testing.T) {
	testenv.CheckLeaks(t)
	mounts := readMounts(t)
	for name, need := range needs {
		t.Setenv("CI", "")
		r := record(t, need)
		if r.failed != "" {
			t.Errorf("%s fails outside of CI: %s", name, r.failed)
		}
		if r.skipped != "" && !strings.HasPrefix(r.skipped, "needs ") {
			t.Errorf("%s skips without a reason: %q", name, r.skipped)
		}
		t.Setenv("CI", "true")
		ci := record(t, need)
		if ci.skipped != "" {
			t.Errorf("%s skips in CI: %s", name, ci.skipped)
		}
		if (ci.failed != "") != (r.skipped != "") || !strings.Contains(ci.failed, r.skipped) {
			t.Errorf("%s: outside of CI %q, in CI %q", name, r.skipped, ci.failed)
		}
		t.Logf("%s: %q", name, r.skipped)
	}
	if after := readMounts(t); after != mounts {
		t.Errorf("mounts were\n%s\nand are\n%s", mounts, after)
	}
}

// TestNeedsWithoutPrivilege runs itself as another user, so that something is
// lacking for sure.
func TestNeedsWithoutPrivilege(t *testing.T) {
	if os.Getenv("TESTENV_CHILD") != "" {
		testenv.NeedRoot(t)
		return
	}
	for ci, want := range map[string]string{"": "--- SKIP", "true": "--- FAIL"} {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestNeedsWithoutPrivilege$", "-test.v")
		cmd.Dir = "/"
		cmd.Env = append(os.Environ(), "TESTENV_CHILD=1", "CI="+ci)
		if os.Geteuid() == 0 {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		}
		out, err := cmd.CombinedOutput()
		if (err != nil) != (ci == "true") {
			t.Errorf("CI=%s: %v", ci, err)
		}
		if !strings.Contains(string(out), want) || !strings.Contains(string(out), "needs root") {
			t.Errorf("CI=%s: want %q with a reason, got\n%s", ci, want, out)
		}
	}
}

func readMounts(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestCheckLeaks(t *testing.T) {
	for _, tc := range []struct {
		name string
		leak func() (end func())
		says string // "" for no leak
	}{
		{"nothing", func() func() { return func() {} }, ""},
		{"closed file", func() func() {
			f, _ := os.Open(os.DevNull)
			f.Close()
			return func() {}
		}, ""},
		{"ended goroutine", func() func() {
			done := make(chan struct{})
			go close(done)
			return func() { <-done }
		}, ""},
		{"open file", func() func() {
			f, _ := os.Open(os.DevNull)
			return func() { f.Close() }
		}, ": /dev/null"},
		{"goroutine", func() func() {
			stop := make(chan struct{})
			go leakedRoutine(stop)
			return func() { close(stop) }
		}, "leakedRoutine"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var end func()
			r := record(t, func(t testing.TB) {
				testenv.CheckLeaks(t)
				end = tc.leak()
			})
			end()
			if tc.says == "" && r.failed != "" || !strings.Contains(r.failed, tc.says) {
				t.Errorf("want %q, got %q", tc.says, r.failed)
			}
		})
	}
}

func leakedRoutine(stop chan struct{}) { <-stop }

// TestCheckLeaksWaitsForCleanups holds that what the test's own clean-ups end is
// no leak, and that a failed test is not blamed for leaks as well.
func TestCheckLeaksWaitsForCleanups(t *testing.T) {
	r := record(t, func(t testing.TB) {
		testenv.CheckLeaks(t)
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatalf("%v", err)
		}
		t.Cleanup(func() { f.Close() })
	})
	if r.failed != "" {
		t.Error(r.failed)
	}
	var f *os.File
	r = record(t, func(t testing.TB) {
		testenv.CheckLeaks(t)
		f, _ = os.Open(os.DevNull)
		t.Errorf("broken")
	})
	f.Close()
	if r.failed != "broken" {
		t.Error(r.failed)
	}
}
