package hostfs

// Linux returns the Host of the kernel, for tests that put something in front of it.
func Linux() Host { return newLinuxHost() }

// LinuxWithoutOpenat2 is that of a kernel before 5.6.
func LinuxWithoutOpenat2() Host {
	h := newLinuxHost()
	h.openat2 = false
	h.caps &^= CanStatBeneath
	return h
}

// Limits for tests.
const (
	CacheSize  = cacheSize
	MaxEntries = maxEntries
)
