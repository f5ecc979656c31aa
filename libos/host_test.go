package libos_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/enclave"
	"cloister/libos"
	"cloister/mountopt"
)

// sgx is a platform that says it is an enclave's.
type sgx struct{ enclave.Platform }

func (sgx) Kind() string { return enclave.KindSGX }

// TestHost: in an enclave HostFS makes only the calls that there are: links are
// followed by the host, and cannot be made.
func TestHost(t *testing.T) {
	for name, row := range map[string]struct {
		platform enclave.Platform
		link     uint32
		made     error
	}{
		"enclave":           {sgx{platform(t)}, unix.S_IFREG, unix.EPERM},
		"simulated enclave": {platform(t), unix.S_IFLNK, nil},
		"no platform":       {nil, unix.S_IFLNK, nil},
	} {
		t.Run(name, func(t *testing.T) {
			host := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(host, "f"), []byte("data"), 0o600))
			require.NoError(t, os.Symlink("f", filepath.Join(host, "link")))
			l, err := libos.Start(t.Context(), libos.Config{
				Platform: row.platform,
				Mounts:   []mountopt.Mount{{Source: "none", Target: "/host", Type: "hostfs", Data: "dir=" + host}},
			})
			require.NoError(t, err)
			task := l.NewTask()
			require.Equal(t, "data", read(t, task, "/host/f"))
			var st unix.Stat_t
			require.NoError(t, task.Lstat("/host/link", &st))
			require.Equal(t, row.link, st.Mode&unix.S_IFMT)
			require.ErrorIs(t, task.Symlink("f", "/host/made"), row.made)
			task.Exit()
			require.NoError(t, l.Close(t.Context()))
		})
	}
}
