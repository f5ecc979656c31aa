package mountopt_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/mountopt"
)

func TestMountKey(t *testing.T) {
	spec := append(mountopt.Spec{mountopt.String("dir")}, mountopt.KeyOptions()...)
	fileKey, err := mountopt.ParseKey(bare256)
	require.NoError(t, err)
	load := func(path string) (mountopt.Key, error) {
		if path != "/keys/a,b" {
			return mountopt.Key{}, unix.ENOENT
		}
		return fileKey, nil
	}
	for _, tc := range []struct {
		name, data string
		load       func(string) (mountopt.Key, error)
		key        []byte
		errno      error
		says       string
	}{
		{"neither", "dir=/d", load, nil, nil, ""},
		{"key", "key=" + keyText, load, keyBytes, nil, ""},
		{"key without files", "key=" + keyText, nil, keyBytes, nil, ""},
		{"file", `keyfile=/keys/a\,b`, load, key256, nil, ""},
		{"file missing", "keyfile=/nope", load, nil, unix.ENOENT, ""},
		{"both", "key=" + keyText + ",keyfile=/k", load, nil, unix.EINVAL, "cannot both be given"},
		{"relative", "keyfile=k", load, nil, unix.EINVAL, `"keyfile" must be an absolute path`},
		{"no files", "keyfile=/k", nil, nil, unix.EOPNOTSUPP, `option "keyfile"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v, err := spec.Parse(tc.data)
			require.NoError(t, err)
			given := v.Key("key")
			key, err := v.MountKey(tc.load)
			if tc.errno != nil {
				require.ErrorIs(t, err, tc.errno)
				require.ErrorContains(t, err, tc.says)
				require.NotContains(t, err.Error(), "b3")
				require.True(t, key.IsZero())
				require.True(t, given.IsZero(), "the key that was given is wiped")
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.key, key.Bytes())
		})
	}
	v, err := spec.Parse("dir=/d,keyfile=/k")
	require.NoError(t, err)
	require.Equal(t, "dir=/d,keyfile=/k", v.String(), "a path is no secret")
	_, err = spec.Parse("key_file=/k")
	require.ErrorContains(t, err, `did you mean "keyfile"?`)
}
