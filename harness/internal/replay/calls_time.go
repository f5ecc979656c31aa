package replay

import (
	"golang.org/x/sys/unix"

	"cloister/harness/internal/script"
)

// utimensat remembers the times it sets: later stats may compare them.
func utimensat(c *call) (int64, error) {
	ts := c.times(c.args[2].v)
	if c.problem != nil {
		return 0, nil
	}
	null := c.args[1].bad
	dirfd, flags := c.int(0), c.int(3)
	var err error
	switch {
	case null && dirfd != unix.AT_FDCWD && flags != 0: // fs/utimes.c: do_utimes_fd
		err = unix.EINVAL
	case null && dirfd != unix.AT_FDCWD:
		err = c.Futimens(dirfd, ts)
	default:
		err = c.Utimensat(dirfd, c.args[1].str, ts, flags)
	}
	if err == nil && ts != nil {
		c.remember(ts[0], ts[1])
	}
	return 0, err
}

// remember notes times that the script has set: later stats may compare them.
func (c *call) remember(ts ...unix.Timespec) {
	for _, t := range ts {
		c.run.timesSet[t] = true
	}
}

// utime makes utime(2): NULL or {actime=1, modtime=2}, in seconds.
func utime(c *call) (int64, error) {
	var times *unix.Utimbuf
	if _, null := c.args[1].v.(script.Null); !null {
		s, _ := c.args[1].v.(script.Struct)
		actime, modtime := s.Get("actime"), s.Get("modtime")
		if actime == nil || modtime == nil {
			c.cannot("{actime=..., modtime=...} expected, not %s", script.Format(c.args[1].v))
			return 0, nil
		}
		times = &unix.Utimbuf{Actime: c.number(actime), Modtime: c.number(modtime)}
	}
	if c.problem != nil {
		return 0, nil
	}
	err := c.Utime(c.args[0].str, times)
	if err == nil && times != nil {
		c.remember(unix.Timespec{Sec: times.Actime}, unix.Timespec{Sec: times.Modtime})
	}
	return 0, err
}

// timevals makes utimes and futimesat, whose path is argument at and whose times
// come behind it: NULL or [{tv_sec=1, tv_usec=2}, {tv_sec=3, tv_usec=4}].
func (c *call) timevals(dirfd, at int) (int64, error) {
	var tv *[2]unix.Timeval
	if _, null := c.args[at+1].v.(script.Null); !null {
		a, _ := c.args[at+1].v.(script.Array)
		if len(a.Elems) != 2 {
			c.cannot("two times or NULL expected, not %s", script.Format(c.args[at+1].v))
			return 0, nil
		}
		tv = new([2]unix.Timeval)
		for i, e := range a.Elems {
			s, _ := e.(script.Struct)
			sec, usec := s.Get("tv_sec"), s.Get("tv_usec")
			if sec == nil || usec == nil {
				c.cannot("{tv_sec=..., tv_usec=...} expected, not %s", script.Format(e))
				return 0, nil
			}
			tv[i] = unix.Timeval{Sec: c.number(sec), Usec: c.number(usec)}
		}
	}
	if c.problem != nil {
		return 0, nil
	}
	var err error
	if c.args[at].bad && dirfd != unix.AT_FDCWD {
		err = c.Futimes(dirfd, tv)
	} else {
		err = c.Futimesat(dirfd, c.args[at].str, tv)
	}
	if err == nil && tv != nil {
		for _, t := range tv {
			c.remember(unix.Timespec{Sec: t.Sec, Nsec: t.Usec * 1000})
		}
	}
	return 0, err
}

// times reads NULL, [UTIME_NOW, UTIME_OMIT] or [{tv_sec=1, tv_nsec=2}, ...].
func (c *call) times(v script.Value) *[2]unix.Timespec {
	if _, null := v.(script.Null); null {
		return nil
	}
	a, ok := v.(script.Array)
	if !ok || len(a.Elems) != 2 {
		c.cannot("two times or NULL expected, not %s", script.Format(v))
		return nil
	}
	var ts [2]unix.Timespec
	for i, e := range a.Elems {
		switch x := e.(type) {
		case script.Const:
			ts[i].Nsec = c.number(x)
		case script.Struct:
			sec, nsec := x.Get("tv_sec"), x.Get("tv_nsec")
			if sec == nil || nsec == nil {
				c.cannot("{tv_sec=..., tv_nsec=...} expected, not %s", script.Format(e))
				return nil
			}
			ts[i] = unix.Timespec{Sec: c.number(sec), Nsec: c.number(nsec)}
		default:
			c.cannot("a time expected, not %s", script.Format(e))
			return nil
		}
	}
	return &ts
}
