package syscall

import "cloister/vfs"

// Umask sets the file mode creation mask to mask&0777 and returns the one
// before, as umask(2) does. After Exit it changes nothing and returns 0.
func (t *Task) Umask(mask uint32) (old uint32) {
	_ = t.setFs(func(v *vfs.View) error { // fails after Exit only
		old = v.SetUmask(mask & 0777)
		return nil
	})
	return old
}
