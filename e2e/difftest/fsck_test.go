package difftest

import (
	"context"
	"fmt"

	"cloister/fs/sefs"
	"cloister/mountopt"
)

// check reads all images of the root and reports what is wrong with them.
func (im *images) check() error {
	for n := range im.layers {
		cfg := sefs.CheckConfig{Depth: sefs.CheckTree}
		var err error
		if cfg.Key, err = mountopt.ParseKey(im.key); err != nil {
			return err
		}
		report, err := sefs.Check(context.Background(), im.layer(n), cfg)
		if err != nil {
			return err
		}
		if !report.Clean() || report.Orphans != 0 {
			return fmt.Errorf("image %d of %d: %d orphans, %+v", n, im.layers, report.Orphans, report.Problems)
		}
	}
	return nil
}
