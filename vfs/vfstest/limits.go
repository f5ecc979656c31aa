package vfstest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func testLimits(t *testing.T, d Driver) {
	s := newSys(t, d)
	long, tooLong := strings.Repeat("n", 255), strings.Repeat("n", 256)
	s.put(long, "x")
	require.Equal(t, []string{long}, s.list("/"))
	s.ok(s.rename(long, "short"), "rename")
	s.ok(s.rename("short", long), "rename")
	s.ok(s.unlink(long), "unlink")
	s.put("f", "x")
	for name, err := range map[string]error{
		"open":   s.opens(tooLong, unix.O_CREAT|unix.O_WRONLY, 0o644),
		"mkdir":  s.mkdir(tooLong, 0o755),
		"unlink": s.unlink(tooLong),
		"rmdir":  s.rmdir(tooLong),
		"rename": s.rename("f", tooLong),
		"lookup": s.opens(tooLong+"/x", unix.O_RDONLY, 0),
	} {
		s.fails(unix.ENAMETOOLONG, err, "%s of 256 bytes", name)
	}
	s.ok(s.unlink("f"), "unlink")
	path := strings.Repeat("./", 2047)
	s.ok(s.opens(path+".", unix.O_RDONLY, 0), "path of 4095 bytes")
	s.fails(unix.ENAMETOOLONG, s.opens(path+"./", unix.O_RDONLY, 0), "path of 4096 bytes")

	// Names are bytes.
	names := []string{"...", " ", "\n", "\xff\xfe", "ä", "a b", "-", "\\", "\"", "*"}
	for _, name := range names {
		s.put(name, name)
	}
	slices.Sort(names)
	require.Equal(t, names, s.list("/"))
	for _, name := range names {
		require.Equal(t, name, s.get("/"+name))
	}

	// Deep directories.
	deep := ""
	for i := range 60 {
		deep += fmt.Sprintf("/d%d", i)
		s.ok(s.mkdir(deep, 0o755), "mkdir %s", deep)
	}
	s.put(deep+"/f", "deep")
	require.Equal(t, "deep", s.get(deep+"/f"))
	s.ok(s.rename("/d0", "/e0"), "rename")
	require.Equal(t, "deep", s.get("/e0"+deep[3:]+"/f"))
}
