package mountopt

import (
	"fmt"
	"path"

	"golang.org/x/sys/unix"
)

// Options of a mount that say its key.
const (
	OptKey     = "key"     // the key itself, a Secret
	OptKeyFile = "keyfile" // the path of a file that holds it, a String
)

// KeyOptions returns the Options OptKey and OptKeyFile, for a Spec.
func KeyOptions() []Option { return []Option{Secret(OptKey), String(OptKeyFile)} }

// MountKey returns the key that the options of KeyOptions say: the one given, or the one
// in the file, which load reads; the zero Key if neither is given. The caller wipes
// it. A nil load is one that reads no files.
//
// Errors: EINVAL if both are given, or the path is not absolute; EOPNOTSUPP without
// load; those of load.
func (v Values) MountKey(load func(path string) (Key, error)) (Key, error) {
	key, file := v.Key(OptKey), v.Text(OptKeyFile)
	if file == "" {
		return key, nil
	}
	if !key.IsZero() {
		key.Wipe()
		return Key{}, fmt.Errorf("mountopt: options %q and %q cannot both be given: %w", OptKey, OptKeyFile, unix.EINVAL)
	}
	if !path.IsAbs(file) {
		return Key{}, optionError(OptKeyFile, "must be an absolute path")
	}
	if load == nil {
		return Key{}, fmt.Errorf("mountopt: option %q: there are no files to read a key from here: %w", OptKeyFile, unix.EOPNOTSUPP)
	}
	return load(file)
}
