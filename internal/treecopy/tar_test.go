package treecopy_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloister/internal/treecopy"
	"cloister/vfs"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func writeTar(t *testing.T, root vfs.Path) []byte {
	t.Helper()
	var out bytes.Buffer
	_, err := treecopy.WriteTar(t.Context(), treecopy.ExtractConfig{Source: root, Cred: vfs.RootCred()}, &out, "archive", "file")
	require.NoError(t, err)
	return out.Bytes()
}

func readTar(t *testing.T, archive []byte) (vfs.Path, error) {
	t.Helper()
	root := target(t)
	_, err := treecopy.CopyTar(t.Context(), treecopy.Config{Target: root, Cred: vfs.RootCred()}, bytes.NewReader(archive), "archive")
	return root, err
}

func TestTarRoundTrip(t *testing.T) {
	first := copied(t, oddTree(t))
	archive := writeTar(t, first)
	second, err := readTar(t, archive)
	require.NoError(t, err)
	require.True(t, bytes.Equal(archive, writeTar(t, second)), "equal trees give equal archives")
	require.Empty(t, changes(t, first, second))
	require.Less(t, len(archive), 12<<20, "holes take no room")
	for _, name := range []string{"hole-first", "hole-last", "hole-only", "hole-many"} {
		was, is := attr(t, lookup(t, first, name)), attr(t, lookup(t, second, name))
		require.Equal(t, was.Blocks, is.Blocks, "holes of %s", name)
		require.Equal(t, was.Atime, is.Atime, "atime of %s", name)
	}
}

// gnuTar runs the system's tar in a directory.
func gnuTar(t *testing.T, dir string, stdin []byte, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "tar", args...)
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "tar %v: %s", args, &stderr)
	return out
}

// needGNU skips where tar is another one than GNU's.
func needGNU(t *testing.T) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "tar", "--version").Output()
	if err != nil || !strings.Contains(string(out), "GNU tar") {
		t.Skip("GNU tar is not installed")
	}
}

func TestGNUTarReadsOurs(t *testing.T) {
	needGNU(t)
	src := oddTree(t)
	first := copied(t, src)
	dst := t.TempDir()
	gnuTar(t, dst, writeTar(t, first), "-xpf", "-", "--xattrs", "--xattrs-include=*", "--numeric-owner")
	require.Empty(t, changes(t, first, copied(t, dst)))
	var st unix.Stat_t
	require.NoError(t, unix.Stat(filepath.Join(dst, "hole-only"), &st))
	require.Zero(t, st.Blocks, "holes stay holes")
}

func TestReadGNUTar(t *testing.T) {
	needGNU(t)
	src := oddTree(t)
	want := copied(t, src)
	for name, args := range map[string][]string{
		"pax":             {"--format=pax", "--xattrs", "--xattrs-include=*"},
		"pax, sparse":     {"--format=pax", "--xattrs", "--xattrs-include=*", "--sparse"},
		"pax, sparse 0.0": {"--format=pax", "--xattrs", "--xattrs-include=*", "--sparse", "--sparse-version=0.0"},
		"pax, sparse 0.1": {"--format=pax", "--xattrs", "--xattrs-include=*", "--sparse", "--sparse-version=0.1"},
		"gnu":             {"--format=gnu"},
		"gnu, sparse":     {"--format=gnu", "--sparse"},
	} {
		t.Run(name, func(t *testing.T) {
			archive := gnuTar(t, src, nil, append(args, "--numeric-owner", "-cf", "-", ".")...)
			got, err := readTar(t, archive)
			require.NoError(t, err)
			pax := strings.HasPrefix(name, "pax")
			for _, line := range changes(t, want, got) {
				// The older format has whole seconds, and no attributes.
				require.False(t, pax, line)
				require.Regexp(t, `^changed "[^"]*"( mtime\([^)]*\)| attribute [^ ]*\(,\))+$`, line)
			}
			if strings.Contains(name, "sparse") {
				require.Less(t, attr(t, lookup(t, got, "hole-only")).Blocks, int64(8))
			}
		})
	}
}

// entries makes an archive of headers; the contents are as many bytes as Size says.
func entries(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range headers {
		if h.Mode == 0 && h.Typeflag != tar.TypeXGlobalHeader {
			h.Mode = 0o644
		}
		require.NoError(t, w.WriteHeader(&h))
		_, err := io.WriteString(w, strings.Repeat(h.Uname+"x", int(h.Size))[:h.Size])
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return out.Bytes()
}

func TestHostileTars(t *testing.T) {
	file := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name, Size: 3} }
	dir := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeDir, Name: name} }
	link := func(name, to string) tar.Header {
		return tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: to}
	}
	symlink := func(name, to string) tar.Header {
		return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to}
	}
	whole := entries(t, file("a"), file("b"))
	for name, row := range map[string]struct {
		archive []byte
		say     string // in the error
	}{
		"a name that leads up":             {entries(t, file("../a")), "'..'"},
		"a name that leads up in between":  {entries(t, file("a/../../b")), "'..'"},
		"a directory that leads up":        {entries(t, dir("..")), "'..'"},
		"a hard link that leads up":        {entries(t, file("a"), link("b", "../a")), "'..'"},
		"a hard link to nothing":           {entries(t, link("b", "/etc/passwd")), "not in the archive before it"},
		"a hard link to itself":            {entries(t, link("b", "b")), "not in the archive before it"},
		"a hard link to a directory":       {entries(t, dir("a"), link("b", "a")), unix.EPERM.Error()},
		"a hard link to the root":          {entries(t, link("b", "./")), "not in the archive before it"},
		"a file through a symbolic link":   {entries(t, symlink("a", "/tmp"), file("a/b")), "no directory"},
		"a link through a symbolic link":   {entries(t, dir("d"), file("d/f"), symlink("a", "d"), link("h", "a/f")), "not in the archive before it"},
		"a file below a file":              {entries(t, file("a"), file("a/b")), "no directory"},
		"a file in place of a directory":   {entries(t, file("a/b"), file("a")), unix.EISDIR.Error()},
		"a directory in place of a file":   {entries(t, file("a"), dir("a")), unix.ENOTDIR.Error()},
		"a directory in place of a link":   {entries(t, symlink("a", "."), dir("a")), unix.ENOTDIR.Error()},
		"a root that is a file":            {entries(t, file(".")), "root"},
		"a root that is a symbolic link":   {entries(t, symlink("/", "/tmp")), "root"},
		"a name that is too long":          {entries(t, file(strings.Repeat("n", 256))), unix.ENAMETOOLONG.Error()},
		"a path that is too long":          {entries(t, file(strings.Repeat("n/", 3000)+"n")), unix.ENAMETOOLONG.Error()},
		"a target that is too long":        {entries(t, symlink("a", strings.Repeat("n", 5000))), unix.ENAMETOOLONG.Error()},
		"an empty target":                  {entries(t, symlink("a", "")), unix.ENOENT.Error()},
		"a negative owner":                 {entries(t, tar.Header{Typeflag: tar.TypeReg, Name: "a", Uid: -1}), "owner"},
		"an owner that means no change":    {entries(t, tar.Header{Typeflag: tar.TypeReg, Name: "a", Gid: 1<<32 - 1}), "owner"},
		"a device out of range":            {entries(t, tar.Header{Typeflag: tar.TypeChar, Name: "a", Devmajor: 4096}), "device"},
		"an unknown type":                  {entries(t, tar.Header{Typeflag: 'Q', Name: "a"}), "type"},
		"a global header with a time":      {entries(t, tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"mtime": "1"}, Mode: 0}), "global"},
		"no archive":                       {[]byte(strings.Repeat("no archive ", 100)), "no tar archive"},
		"nothing":                          {nil, "empty"},
		"no entries":                       {entries(t), "empty"},
		"cut off in a file":                {whole[:514], io.ErrUnexpectedEOF.Error()},
		"cut off in a header":              {whole[:1200], io.ErrUnexpectedEOF.Error()},
		"cut off after a file":             {whole[:700], "end mark"},
		"cut off between entries":          {whole[:1024], "end mark"},
		"without the second end block":     {whole[:2048+512], "end mark"},
		"a size that the data do not have": {hugeFile(t), io.ErrUnexpectedEOF.Error()},
		"a sparse file without end":        {hugeSparse(t), "1 TiB"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readTar(t, row.archive)
			var e *treecopy.Error
			require.ErrorAs(t, err, &e)
			require.True(t, strings.HasPrefix(e.Path, "archive"), e.Path)
			require.ErrorContains(t, err, row.say)
		})
	}
}

// hugeFile is an archive with a file that says to have 8 EiB.
func hugeFile(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "a", Size: 1<<63 - 1, Mode: 0o600}))
	_, err := w.Write(make([]byte, 5000))
	require.NoError(t, err)
	return out.Bytes()
}

// hugeSparse is an archive with a file of 4 EiB without data.
func hugeSparse(t *testing.T) []byte {
	t.Helper()
	record := func(k, v string) string {
		n := len(k) + len(v) + 3
		return fmt.Sprintf("%d %s=%s\n", n+len(fmt.Sprint(n+2)), k, v)
	}
	data := record("GNU.sparse.major", "0") + record("GNU.sparse.minor", "1") + record("GNU.sparse.name", "a") +
		record("GNU.sparse.map", "0,0") + record("GNU.sparse.size", fmt.Sprint(1<<62)) + record("GNU.sparse.numblocks", "1")
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "x", Size: int64(len(data)), Mode: 0o600}))
	_, err := io.WriteString(w, data)
	require.NoError(t, err)
	require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "a", Mode: 0o600}))
	require.NoError(t, w.Close())
	// The first entry becomes the header of the second.
	b := out.Bytes()
	b[156] = 'x'
	seal(b[:512])
	return b
}

// seal gives a header its checksum.
func seal(block []byte) {
	copy(block[148:156], "        ")
	sum := 0
	for _, c := range block {
		sum += int(c)
	}
	copy(block[148:], fmt.Sprintf("%06o\x00 ", sum))
}

func TestTarRules(t *testing.T) {
	old, older := time.Unix(5000, 5), time.Unix(4000, 4)
	archive := entries(t,
		tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "git"}},
		tar.Header{Typeflag: tar.TypeReg, Name: "/abs/file", Size: 3, Mode: 0o600},
		tar.Header{Typeflag: tar.TypeReg, Name: "made//up/./dir/file", Size: 5, ModTime: older, Format: tar.FormatPAX},
		tar.Header{Typeflag: tar.TypeDir, Name: "made/up/", Mode: 0o700, Uid: 3, ModTime: old, Format: tar.FormatPAX},
		tar.Header{Typeflag: tar.TypeReg, Name: "twice", Size: 7},
		tar.Header{Typeflag: tar.TypeLink, Name: "other", Linkname: "/twice"},
		tar.Header{Typeflag: tar.TypeReg, Name: "twice", Size: 2, Mode: 0o400},
		tar.Header{Typeflag: tar.TypeLink, Name: "other", Linkname: "other"},
		tar.Header{Typeflag: tar.TypeSymlink, Name: "out", Linkname: "../../../etc/passwd"},
		tar.Header{Typeflag: tar.TypeReg, Name: "out", Size: 1},
		tar.Header{Typeflag: tar.TypeReg, Name: "attrs", PAXRecords: map[string]string{
			"SCHILY.xattr.user.a": "1", "SCHILY.xattr.trusted.b": "", "SCHILY.xattr.overlay.opaque": "y", "SCHILY.xattr.system.posix_acl_access": "z"}},
		tar.Header{Typeflag: tar.TypeSymlink, Name: "link", Linkname: "x", PAXRecords: map[string]string{"SCHILY.xattr.user.a": "1"}},
		tar.Header{Typeflag: tar.TypeReg, Name: "made/up/dir/later", Size: 5},
		tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o711, Gid: 9, ModTime: old, Format: tar.FormatPAX},
	)
	root := target(t)
	var skipped []string
	totals, err := treecopy.CopyTar(t.Context(), treecopy.Config{
		Target: root, Cred: vfs.RootCred(), Skipped: func(path string, err error) { skipped = append(skipped, path) },
	}, bytes.NewReader(archive), "archive")
	require.NoError(t, err)
	require.EqualValues(t, 7, totals.Files)

	require.EqualValues(t, 3, attr(t, lookup(t, root, "abs", "file")).Size, "a slash in front is dropped")
	made := attr(t, lookup(t, root, "made"))
	require.EqualValues(t, unix.S_IFDIR|0o755, made.Mode, "missing parents are made")
	require.Equal(t, older.UnixNano(), made.Mtime.Nano())
	up := attr(t, lookup(t, root, "made", "up"))
	require.EqualValues(t, unix.S_IFDIR|0o700, up.Mode, "a later entry has its say")
	require.EqualValues(t, 3, up.UID)
	require.Equal(t, old.UnixNano(), up.Mtime.Nano(), "entries below do not change the times")
	require.EqualValues(t, 5, attr(t, lookup(t, root, "made", "up", "dir", "file")).Size, "entries below stay")
	twice := attr(t, lookup(t, root, "twice"))
	require.EqualValues(t, 2, twice.Size, "the last one counts")
	require.EqualValues(t, 1, twice.Nlink)
	require.EqualValues(t, 7, attr(t, lookup(t, root, "other")).Size, "and leaves other names alone")
	require.EqualValues(t, unix.S_IFREG, attr(t, lookup(t, root, "out")).Mode&unix.S_IFMT, "a link is replaced, not followed")
	names, err := vfs.Listxattr(t.Context(), vfs.RootCred(), lookup(t, root, "attrs"))
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"user.a", "trusted.b"}, names)
	require.ElementsMatch(t, []string{"archive: link: attribute user.a", "archive: attrs: attribute overlay.opaque", "archive: attrs: attribute system.posix_acl_access"}, skipped)
	a := attr(t, root)
	require.EqualValues(t, unix.S_IFDIR|0o711, a.Mode)
	require.EqualValues(t, 9, a.GID)
	require.Equal(t, old.UnixNano(), a.Mtime.Nano())

	list, err := treecopy.ReadDir(t.Context(), vfs.RootCred(), root)
	require.NoError(t, err)
	for _, e := range list {
		require.False(t, strings.HasPrefix(e.Name, ".cloister"), e.Name)
	}
}

func TestDecompress(t *testing.T) {
	for _, name := range []string{"a.tar", "a.tgz", "a.tar.gz", "a.tar.zst", "a.tzst"} {
		var packed bytes.Buffer
		w, err := treecopy.Compress(&packed, name)
		require.NoError(t, err)
		_, err = io.WriteString(w, strings.Repeat("text ", 1000))
		require.NoError(t, err)
		require.NoError(t, w.Close())
		require.Equal(t, name == "a.tar", packed.Len() > 1000, name)
		whole := packed.Bytes()
		r, err := treecopy.Decompress(bytes.NewReader(whole))
		require.NoError(t, err, name)
		text, err := io.ReadAll(r)
		require.NoError(t, err, name)
		require.Equal(t, strings.Repeat("text ", 1000), string(text), name)
		require.NoError(t, r.Close())
		if name == "a.tar" {
			continue
		}
		r, err = treecopy.Decompress(bytes.NewReader(whole[:len(whole)-3]))
		require.NoError(t, err, name)
		_, err = io.ReadAll(r)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, name)
	}
	_, err := treecopy.Decompress(strings.NewReader("\xfd7zXZ\x00 and so on"))
	require.ErrorContains(t, err, "xz -dc")
	r, err := treecopy.Decompress(strings.NewReader(""))
	require.NoError(t, err)
	text, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Empty(t, text)
}

func TestSocketsAreLeftOut(t *testing.T) {
	src := t.TempDir()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	t.Chdir(src)
	require.NoError(t, unix.Bind(fd, &unix.SockaddrUnix{Name: "sock"}))
	root := copied(t, src)
	var skipped []string
	cfg := treecopy.ExtractConfig{Source: root, Cred: vfs.RootCred()}
	_, err = treecopy.WriteTar(t.Context(), cfg, io.Discard, "archive", "")
	require.ErrorIs(t, err, unix.EOPNOTSUPP)
	cfg.Skipped = func(path string, _ error) { skipped = append(skipped, path) }
	_, err = treecopy.WriteTar(t.Context(), cfg, io.Discard, "archive", "")
	require.NoError(t, err)
	require.Equal(t, []string{"/sock"}, skipped)
}

func FuzzCopyTar(f *testing.F) {
	header := func(kind byte, name, link string) tar.Header {
		return tar.Header{Typeflag: kind, Name: name, Linkname: link, Mode: 0o644}
	}
	for _, headers := range [][]tar.Header{
		{header(tar.TypeReg, "a/b", ""), header(tar.TypeLink, "c", "a/b"), header(tar.TypeDir, "a/", "")},
		{header(tar.TypeSymlink, "a", "/"), header(tar.TypeReg, "a", ""), header(tar.TypeFifo, "./x", "")},
		{{Typeflag: tar.TypeReg, Name: "a", PAXRecords: map[string]string{"SCHILY.xattr.user.a": "1"}, ModTime: time.Unix(1, 5), Format: tar.FormatPAX}},
	} {
		var out bytes.Buffer
		w := tar.NewWriter(&out)
		for _, h := range headers {
			require.NoError(f, w.WriteHeader(&h))
		}
		require.NoError(f, w.Close())
		f.Add(out.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		archive := bytes.Clone(data)
		for at := 0; at+512 <= len(archive); at += 512 {
			if block := archive[at : at+512]; string(block[257:262]) == "ustar" {
				seal(block)
			}
		}
		root, err := readTar(t, archive)
		if err != nil {
			var e *treecopy.Error
			require.ErrorAs(t, err, &e)
			return
		}
		// What was taken can be given again.
		again, err := readTar(t, writeTar(t, root))
		require.NoError(t, err)
		require.Empty(t, changes(t, root, again))
	})
}
