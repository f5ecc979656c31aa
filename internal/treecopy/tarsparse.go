package treecopy

import (
	"archive/tar"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"cloister/vfs"
)

// Sparse files are written in the format that GNU tar calls PAX 1.0: the map of the data stands
// before the data. The standard library reads it but does not write it.

const (
	tarBlock  = 512     // bytes
	maxPieces = 1 << 16 // in one sparse file; with more, the rest is written with its holes
)

// sparse returns the data of a file that has holes, nil for others.
func (t *tarWriter) sparse(f *vfs.File, path string, size int64) ([]run, error) {
	pieces := []run{}
	full := int64(0)
	err := t.runs(f, path, size, func(piece run) error {
		full += piece.end - piece.off
		if n := len(pieces); n == maxPieces {
			pieces[n-1].end = piece.end
			return nil
		}
		pieces = append(pieces, piece)
		return nil
	})
	if err != nil || full == size {
		return nil, err
	}
	if n := len(pieces); n == 0 || pieces[n-1].end < size {
		pieces = append(pieces, run{size, size}) // where the file ends
	}
	return pieces, nil
}

// sparseHeader writes the headers of a sparse file and its map. The data follow, padded to a
// block.
func (t *tarWriter) sparseHeader(h *tar.Header, pieces []run) error {
	sparseMap := fmt.Appendf(nil, "%d\n", len(pieces))
	stored := int64(0)
	for _, piece := range pieces {
		sparseMap = fmt.Appendf(sparseMap, "%d\n%d\n", piece.off, piece.end-piece.off)
		stored += piece.end - piece.off
	}
	sparseMap = append(sparseMap, make([]byte, padding(int64(len(sparseMap))))...)
	stored += int64(len(sparseMap))

	records := map[string]string{
		"GNU.sparse.major": "1", "GNU.sparse.minor": "0",
		"GNU.sparse.name": h.Name, "GNU.sparse.realsize": strconv.FormatInt(h.Size, 10),
		"size": strconv.FormatInt(stored, 10),
		"uid":  strconv.Itoa(h.Uid), "gid": strconv.Itoa(h.Gid),
		"mtime": paxTime(h.ModTime), "atime": paxTime(h.AccessTime),
	}
	maps.Copy(records, h.PAXRecords)
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(records)) {
		text.WriteString(paxRecord(key, records[key]))
	}
	header := rawHeader("PaxHeaders.0/file", 0, int64(text.Len()), tar.TypeXHeader)
	text.Write(make([]byte, padding(int64(text.Len()))))

	if err := t.tw.Flush(); err != nil {
		return t.failure(err)
	}
	main := rawHeader("GNUSparseFile.0/file", h.Mode, stored, tar.TypeReg) // GNU.sparse.name counts
	for _, part := range [][]byte{header, []byte(text.String()), main, sparseMap} {
		if _, err := t.out.Write(part); err != nil {
			return t.failure(err)
		}
	}
	return nil
}

// padding returns how many bytes fill n up to whole blocks.
func padding(n int64) int64 { return -n & (tarBlock - 1) }

// paxRecord is "length key=value\n", where the length counts itself (pax(1)).
func paxRecord(key, value string) string {
	rest := " " + key + "=" + value + "\n"
	n := len(rest) + len(strconv.Itoa(len(rest)))
	if len(strconv.Itoa(n)) != n-len(rest) {
		n++
	}
	return strconv.Itoa(n) + rest
}

// paxTime is a time in seconds with a fraction.
func paxTime(t time.Time) string {
	sec, nsec, sign := t.Unix(), int64(t.Nanosecond()), ""
	if sec < 0 && nsec > 0 { // the fraction counts away from zero
		sec, nsec = sec+1, 1e9-nsec
		if sec == 0 {
			sign = "-"
		}
	}
	return strings.TrimRight(strings.TrimRight(fmt.Sprintf("%s%d.%09d", sign, sec, nsec), "0"), ".")
}

// rawHeader is a header block of a ustar archive. A size that has no room stands in the PAX
// record.
func rawHeader(name string, mode, size int64, kind byte) []byte {
	if size > 0o77777777777 {
		size = 0
	}
	b := make([]byte, tarBlock)
	copy(b[0:], name)
	copy(b[100:], fmt.Sprintf("%07o\x00%07o\x00%07o\x00%011o\x00%011o\x00        %c", mode, 0, 0, size, 0, kind))
	copy(b[257:], "ustar\x0000")
	copy(b[329:], fmt.Sprintf("%07o\x00%07o\x00", 0, 0))
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return b
}
