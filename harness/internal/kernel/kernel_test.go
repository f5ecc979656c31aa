package kernel_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cloister/harness/internal/kernel"
	"cloister/harness/internal/replay"
	"cloister/harness/internal/script"
	"cloister/internal/testenv"
)

// TestLinuxAgrees runs the scripts on the real kernel: where Linux has the
// file system, it judges what the scripts expect.
func TestLinuxAgrees(t *testing.T) {
	testenv.NeedRoot(t)
	testenv.NeedKernelOverlay(t)
	scripts, err := filepath.Glob("../../testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, scripts)
	for _, path := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			src, err := os.ReadFile(path)
			require.NoError(t, err)
			f, err := script.Parse(path, src)
			require.NoError(t, err)
			out, err := replay.Run(t.Context(), replay.Config{
				System: &kernel.System{},
				Host:   t.TempDir(),
				Vars:   map[string]string{"KEY": "00-11-22-33-44-55-66-77-88-99-aa-bb-cc-dd-ee-ff"},
				Conds:  map[string]bool{"libos": false, "linux": true, "fuse": false, "root": true},
			}, f)
			require.NoError(t, err)
			if out.Failure != nil {
				t.Errorf("%s", out.Failure)
			}
			if out.SkipReason != "" {
				t.Logf("not for Linux: %s", out.SkipReason)
			}
		})
	}
}
