package mountopt_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/mountopt"
)

var (
	bareText   = strings.ReplaceAll(keyText, "-", "")
	dashed256  = keyText + "-" + keyText
	bare256    = bareText + bareText
	keyBytes   = []byte{0xc7, 0x32, 0xb3, 0xed, 0x44, 0xdf, 0xec, 0x7b, 0x25, 0x2d, 0x9a, 0x32, 0x38, 0x8d, 0x58, 0x61}
	key256     = append(append([]byte(nil), keyBytes...), keyBytes...)
	upperDashy = strings.ToUpper(keyText)
)

func TestParseKey(t *testing.T) {
	for text, want := range map[string][]byte{
		keyText: keyBytes, upperDashy: keyBytes, bareText: keyBytes, dashed256: key256, bare256: key256,
		strings.Repeat("00", 16): make([]byte, 16),
	} {
		k, err := mountopt.ParseKey(text)
		require.NoError(t, err, text)
		require.Equal(t, want, k.Bytes(), text)
		require.False(t, k.IsZero(), text)
	}
}

func TestParseKeyRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "one byte": "c7", "15 bytes": keyText[3:], "17 bytes": keyText + "-00", "24 bytes": bareText + bareText[:16],
		"blank after": keyText + " ", "blank before": " " + keyText, "line end": keyText + "\n",
		"colons": strings.ReplaceAll(keyText, "-", ":"), "no hex": strings.Replace(keyText, "c7", "g7", 1), "sign": "+7" + keyText[2:],
		"dash for a digit": "c-" + keyText[2:], "digit for a dash": keyText[:2] + "0" + keyText[3:],
		"dash at the end": bareText[:30] + "0-", "prefix": "0x" + bareText[:30], "one dash": bareText[:16] + "-" + bareText[17:],
		"high bytes": strings.Repeat("\xff", 32), "long": strings.Repeat("a", 1000),
	} {
		t.Run(name, func(t *testing.T) {
			k, err := mountopt.ParseKey(text)
			require.ErrorIs(t, err, unix.EINVAL, "parse %q", text)
			require.NotContains(t, err.Error(), "b3")
			require.True(t, k.IsZero())
			require.Nil(t, k.Bytes())
		})
	}
}

func TestKeyNeverShows(t *testing.T) {
	k, err := mountopt.ParseKey(keyText)
	require.NoError(t, err)
	v, err := union.Parse("lowerdir=/l,key=" + keyText)
	require.NoError(t, err)
	require.Equal(t, keyBytes, v.Key("key").Bytes(), "there is something to show")
	type options struct {
		name string
		key  mountopt.Key
		Key  mountopt.Key
		ptr  *mountopt.Key
	}
	o := options{"n", k, k, &k}

	check := func(how, shown string) {
		t.Helper()
		shown = strings.ToLower(shown)
		for _, part := range []string{"c7-32", "c732", "c7 32", "b3ed", "199 50", "0xc7, 0x32", "307 62", "u+00c7", "'\\u00c7'", "\xc7\x32", "ç 2"} {
			if strings.Contains(shown, part) {
				t.Errorf("%s shows the key (%q): %.200s", how, part, shown)
			}
		}
	}
	for _, x := range []any{k, &k, o, &o, []mountopt.Key{k}, map[string]any{"k": k}, v, &v, struct{ v mountopt.Values }{v},
		[1]mountopt.Key{k}, map[mountopt.Key]string{k: "as a key"}, struct{ in *struct{ k mountopt.Key } }{&struct{ k mountopt.Key }{k}},
		struct{ o []options }{[]options{o}}, any(&v), []any{o, &o, v, k}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%o", "%c", "%U", "%t", "%z"} {
			check(fmt.Sprintf("%s of %T", verb, x), fmt.Sprintf(verb, x))
		}
		var out bytes.Buffer
		slog.New(slog.NewTextHandler(&out, nil)).Info("mounted", "options", x)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("mounted", "options", x)
		check(fmt.Sprintf("log of %T", x), out.String())
		check("error with "+fmt.Sprintf("%T", x), fmt.Errorf("mount: %w (%v)", unix.EINVAL, x).Error())
		j, err := json.Marshal(x)
		require.NoError(t, err)
		check(fmt.Sprintf("JSON of %T", x), string(j))
	}
	text, err := k.MarshalText()
	require.NoError(t, err)
	for _, shown := range []string{k.String(), k.GoString(), string(text), fmt.Sprintf("%x", k), k.LogValue().String()} {
		require.Equal(t, "[redacted]", shown)
	}
}

func TestKeyWipe(t *testing.T) {
	k, err := mountopt.ParseKey(keyText)
	require.NoError(t, err)
	copied, raw := k, k.Bytes()
	k.Wipe()
	require.Equal(t, make([]byte, 16), raw)
	require.True(t, copied.IsZero())
	require.Nil(t, copied.Bytes())
	k.Wipe()
	mountopt.Key{}.Wipe()
}

func TestLoadKey(t *testing.T) {
	for name, file := range map[string]string{
		"no line end": keyText, "LF": keyText + "\n", "CRLF": keyText + "\r\n", "several": keyText + "\r\n\n", "256 bits": dashed256 + "\n",
	} {
		k, err := mountopt.LoadKey(iotest.OneByteReader(strings.NewReader(file)))
		require.NoError(t, err, name)
		require.Equal(t, keyBytes, k.Bytes()[:16], name)
	}
	for name, file := range map[string]string{
		"empty": "", "only line end": "\n", "two lines": keyText + "\n" + keyText + "\n", "blank": keyText + " \n", "raw bytes": string(keyBytes),
		"endless line ends": keyText + strings.Repeat("\n", 1000), "two keys": dashed256 + "-" + dashed256,
	} {
		_, err := mountopt.LoadKey(strings.NewReader(file))
		require.ErrorIs(t, err, unix.EINVAL, name)
		require.NotContains(t, err.Error(), "b3", name)
	}
	_, err := mountopt.LoadKey(iotest.ErrReader(fmt.Errorf("read: %w", unix.EACCES)))
	require.ErrorIs(t, err, unix.EACCES)
	_, err = mountopt.LoadKey(io.MultiReader(strings.NewReader(keyText), iotest.ErrReader(errors.New("gone"))))
	require.ErrorIs(t, err, unix.EIO)
}

// keeper keeps the buffer that it is asked to fill.
type keeper struct {
	r    io.Reader
	bufs [][]byte
}

func (k *keeper) Read(p []byte) (int, error) {
	k.bufs = append(k.bufs, p)
	return k.r.Read(p)
}

func TestLoadKeyWipesWhatItRead(t *testing.T) {
	k := &keeper{r: strings.NewReader(keyText + "\n")}
	_, err := mountopt.LoadKey(k)
	require.NoError(t, err)
	require.NotEmpty(t, k.bufs)
	for _, b := range k.bufs {
		require.Equal(t, make([]byte, len(b)), b)
	}
}

func FuzzParseKey(f *testing.F) {
	for _, text := range []string{keyText, bareText, dashed256, bare256, "", "c7-", upperDashy} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		k, err := mountopt.ParseKey(text)
		want, hexErr := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
		if err != nil {
			require.ErrorIs(t, err, unix.EINVAL)
			require.True(t, k.IsZero())
			return
		}
		require.NoError(t, hexErr)
		require.Equal(t, want, k.Bytes())
		require.Contains(t, []int{16, 32}, len(want))
	})
}
