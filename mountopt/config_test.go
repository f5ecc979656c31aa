package mountopt_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/mountopt"
)

func TestLoadConfig(t *testing.T) {
	got, err := mountopt.LoadConfig(strings.NewReader(`{"mounts": [
		{"type": "ramfs", "target": "/tmp"},
		{"type": "hostfs", "target": "/host", "flags": "ro,nosuid", "data": "dir=/host", "source": "disk"},
		{"type": "unionfs", "target": "/host/data", "data": "lowerdir=/a,upperdir=/\u00e9"}
	]}`))
	require.NoError(t, err)
	require.Equal(t, []mountopt.Mount{
		{Source: "none", Target: "/tmp", Type: "ramfs"},
		{Source: "disk", Target: "/host", Type: "hostfs", Flags: unix.MS_RDONLY | unix.MS_NOSUID, Data: "dir=/host"},
		{Source: "none", Target: "/host/data", Type: "unionfs", Data: "lowerdir=/a,upperdir=/é"},
	}, got)

	got, err = mountopt.LoadConfig(strings.NewReader(` {"mounts":[]} `))
	require.NoError(t, err)
	require.Empty(t, got)
}

func TestLoadConfigRefuses(t *testing.T) {
	entry := func(members string) string { return `{"mounts":[{"type":"ramfs","target":"/a"},{` + members + `}]}` }
	for _, tc := range []struct{ name, text, says string }{
		{"empty file", "", "not JSON"},
		{"no object", "[]", `"{" expected`},
		{"null", "null", `"{" expected`},
		{"no mounts", "{}", `"mounts" is missing`},
		{"unknown section", `{"mount":[]}`, `unknown name "mount", did you mean "mounts"?`},
		{"other case", `{"Mounts":[]}`, `unknown name "Mounts"`},
		{"two sections", `{"mounts":[],"mounts":[]}`, `"mounts" is given twice`},
		{"mounts no list", `{"mounts":{}}`, `"[" expected`},
		{"mounts null", `{"mounts":null}`, `"[" expected`},
		{"cut off", `{"mounts":[`, "not JSON"},
		{"text after", `{"mounts":[]} {}`, "text after the end"},
		{"garbage after", `{"mounts":[]} x`, "text after the end"},
		{"invalid UTF-8", "{\"mounts\":[{\"type\":\"\xff\"}]}", "invalid UTF-8"},
		{"too large", `{"mounts":[]}` + strings.Repeat(" ", mountopt.MaxConfig), "more than"},
		{"entry no object", `{"mounts":["x"]}`, "entry 0: "},
		{"unknown name", entry(`"target":"/b","typ":"ramfs"`), `entry 1 (target "/b"): unknown name "typ", did you mean "type"?`},
		{"name like no other", entry(`"target":"/b","options":"ro"`), `unknown name "options"`},
		{"name in other case", entry(`"Target":"/b"`), `entry 1: unknown name "Target"`},
		{"name twice", entry(`"type":"ramfs","target":"/b","target":"/c"`), `entry 1 (target "/b"): "target" is given twice`},
		{"number", entry(`"target":"/b","flags":1`), `entry 1 (target "/b"): "flags" is not a string`},
		{"null value", entry(`"target":null`), `entry 1: "target" is not a string`},
		{"list value", entry(`"target":["/b"]`), `entry 1: "target" is not a string`},
		{"no type", entry(`"target":"/b"`), `entry 1 (target "/b"): "type" is missing`},
		{"no target", entry(`"type":"ramfs"`), `entry 1: "target" is missing`},
		{"relative", entry(`"type":"ramfs","target":"b"`), `entry 1 (target "b"): "target" is not an absolute path`},
		{"dots", entry(`"type":"ramfs","target":"/b/../c"`), "shortest form"},
		{"slash at the end", entry(`"type":"ramfs","target":"/b/"`), "shortest form"},
		{"two slashes", entry(`"type":"ramfs","target":"//b"`), "shortest form"},
		{"NUL", entry(`"type":"ramfs","target":"/b\u0000"`), `"target" holds a NUL`},
		{"half a surrogate pair", entry(`"type":"ramfs","target":"/b\ud800"`), "character that does not exist"},
		{"bad flags", entry(`"type":"ramfs","target":"/b","flags":"ro,rw"`), `entry 1 (target "/b"): bad flags "ro,rw"`},
		{"same target", entry(`"type":"ramfs","target":"/a"`), `entry 1 (target "/a"): hides entry 0`},
		{"root", entry(`"type":"ramfs","target":"/"`), `entry 1 (target "/"): "target" is the root`},
		{"parent later", `{"mounts":[{"type":"ramfs","target":"/a/b"},{"type":"ramfs","target":"/a"}]}`, `hides entry 0 (target "/a/b")`},
		{"long target", entry(`"type":"ramfs","target":"/` + strings.Repeat("x", 4095) + `"`), "longer than 4095"},
		{"long data", entry(`"type":"ramfs","target":"/b","data":"` + strings.Repeat("x", mountopt.MaxData+1) + `"`), `"data" is longer`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := mountopt.LoadConfig(strings.NewReader(tc.text))
			require.ErrorIs(t, err, unix.EINVAL)
			require.ErrorContains(t, err, tc.says)
			require.Nil(t, got)
		})
	}
	_, err := mountopt.LoadConfig(iotest.ErrReader(unix.EACCES))
	require.ErrorIs(t, err, unix.EACCES)
}

func TestLoadConfigTakesSiblings(t *testing.T) {
	_, err := mountopt.LoadConfig(strings.NewReader(`{"mounts":[{"type":"ramfs","target":"/ab"},{"type":"ramfs","target":"/a"}]}`))
	require.NoError(t, err, "/a does not hide /ab")
}

func TestMountShowsNoData(t *testing.T) {
	m := mountopt.Mount{Source: "s", Target: "/t", Type: "unionfs", Flags: unix.MS_RDONLY, Data: "key=" + keyText}
	require.Equal(t, "s on /t type unionfs (ro)", m.String())
	var out bytes.Buffer
	fmt.Fprintf(&out, "%v %+v %#v %s %q %x %v", m, m, m, m, m, m, []*mountopt.Mount{&m})
	fmt.Fprintf(&out, "%+v", []mountopt.Mount{m})
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "m", m, "list", []mountopt.Mount{m})
	j, err := json.Marshal([]any{m, &m})
	require.NoError(t, err)
	out.Write(j)
	require.NotContains(t, out.String(), "b3")
}

// TestShippedConfig holds that the start-up mounts in the module root are valid
// and that enclave.json embeds them.
func TestShippedConfig(t *testing.T) {
	f, err := os.Open("../mounts.json")
	require.NoError(t, err)
	defer f.Close()
	mounts, err := mountopt.LoadConfig(f)
	require.NoError(t, err)
	require.NotEmpty(t, mounts)

	data, err := os.ReadFile("../enclave.json")
	require.NoError(t, err)
	// The names that ego sign documents.
	var conf struct {
		Exe             string
		Key             string
		Debug           *bool
		HeapSize        int
		ExecutableHeap  *bool
		ProductID       int
		SecurityVersion int
		Mounts          []struct {
			Source, Target, Type string
			ReadOnly             bool
		}
		Env   []struct{ Name, Value string }
		Files []struct{ Source, Target string }
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	require.NoError(t, dec.Decode(&conf))
	require.Equal(t, "examples/inenclave/inenclave", conf.Exe)
	require.NotEmpty(t, conf.Key)
	require.GreaterOrEqual(t, conf.HeapSize, 512, "MB")
	require.LessOrEqual(t, conf.HeapSize, 16384, "MB")
	require.Positive(t, conf.ProductID)
	require.Positive(t, conf.SecurityVersion)
	require.NotNil(t, conf.ExecutableHeap)
	require.False(t, *conf.ExecutableHeap)
	require.Contains(t, conf.Files, struct{ Source, Target string }{"mounts.json", mountopt.ConfigFile})
	for _, m := range conf.Mounts {
		require.Contains(t, []string{"hostfs", "memfs"}, m.Type)
		require.True(t, strings.HasPrefix(m.Target, "/"))
		require.NotEqual(t, "/", m.Target)
	}
}

func FuzzLoadConfig(f *testing.F) {
	f.Add(`{"mounts":[{"type":"hostfs","target":"/host","flags":"ro","data":"dir=/host","source":"x"}]}`)
	f.Add(`{"mounts":[{"type":"ramfs","target":"/a"},{"type":"ramfs","target":"/a"}]}`)
	f.Add(`{"mounts":[{]}`)
	f.Fuzz(func(t *testing.T, text string) {
		mounts, err := mountopt.LoadConfig(strings.NewReader(text))
		if err != nil {
			require.ErrorIs(t, err, unix.EINVAL)
			return
		}
		for _, m := range mounts {
			require.NotEmpty(t, m.Type)
			require.True(t, strings.HasPrefix(m.Target, "/"))
		}
		require.True(t, json.Valid([]byte(text)), "took what is not JSON: %q", text)
	})
}
