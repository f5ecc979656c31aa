package mountopt_test

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"cloister/mountopt"
)

const keyText = "c7-32-b3-ed-44-df-ec-7b-25-2d-9a-32-38-8d-58-61"

// union is a Spec with an option of each form.
var union = mountopt.Spec{
	mountopt.List("lowerdir", ':').Required(),
	mountopt.String("upperdir"),
	mountopt.Secret("key"),
	mountopt.Octal("mode"),
	mountopt.Uint("uid", math.MaxUint32-1),
	mountopt.Size("size"),
	mountopt.Count("nr_inodes", 1<<20),
	mountopt.RootMAC("mac"),
	mountopt.Word("policy", "product", "unique"),
	mountopt.Flag("nocreate"),
}

func TestParse(t *testing.T) {
	v, err := union.Parse(`,lowerdir=a:b\:c:d\,e,,upperdir=/x:y=z\\,key=` + keyText +
		`,mode=0755,uid=1000,size=16m,nr_inodes=4k,mac=` + strings.ToUpper(macText) + `,policy=unique,nocreate,`)
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b:c", "d,e"}, v.List("lowerdir"))
	require.Equal(t, `/x:y=z\`, v.Text("upperdir"))
	require.Equal(t, byte(0xc7), v.Key("key").Bytes()[0])
	require.EqualValues(t, 0o755, v.Number("mode"))
	require.EqualValues(t, 1000, v.Number("uid"))
	require.EqualValues(t, 16<<20, v.Number("size"))
	require.EqualValues(t, 4096, v.Number("nr_inodes"))
	require.Equal(t, macText, v.MAC("mac").String())
	require.Equal(t, "unique", v.Text("policy"))
	require.True(t, v.Has("nocreate"))
	require.Equal(t, `lowerdir=a:b\:c:d\,e,upperdir=/x:y=z\\,mode=755,uid=1000,size=16777216,nr_inodes=4096,mac=`+macText+`,policy=unique,nocreate`, v.String())
}

func TestParseAbsent(t *testing.T) {
	v, err := mountopt.Spec{mountopt.String("dir"), mountopt.Secret("key"), mountopt.List("l", ':')}.Parse("")
	require.NoError(t, err)
	require.False(t, v.Has("dir"))
	require.Empty(t, v.Text("dir"))
	require.True(t, v.Key("key").IsZero())
	require.Nil(t, v.List("l"))
	require.Empty(t, v.String())
	require.Empty(t, mountopt.Values{}.String())
}

func TestParseRefuses(t *testing.T) {
	const lower = "lowerdir=/l,"
	for _, tc := range []struct{ name, data, says string }{
		{"mandatory missing", "upperdir=/u", `option "lowerdir" is mandatory`},
		{"nothing given", "", `option "lowerdir" is mandatory`},
		{"unknown", lower + "colour=red", `option "colour" is unknown, there are lowerdir, upperdir, key, mode, uid, size, nr_inodes, mac, policy, nocreate`},
		{"swapped letters", lower + "kye=" + keyText, `"kye" is unknown, did you mean "key"?`},
		{"upper case", lower + "Key=" + keyText, `"Key" is unknown, did you mean "key"?`},
		{"letter missing", lower + "uperdir=/u", `did you mean "upperdir"?`},
		{"two letters wrong", lower + "uperdr=/u", `did you mean "upperdir"?`},
		{"blank before", " lowerdir=/l", `did you mean "lowerdir"?`},
		{"blank before equals", "lowerdir =/l", `did you mean "lowerdir"?`},
		{"twice", lower + "lowerdir=/m", `"lowerdir" is given twice`},
		{"flag twice", lower + "nocreate,nocreate", `"nocreate" is given twice`},
		{"empty value", "lowerdir=", `"lowerdir" has an empty value`},
		{"no equals", "lowerdir", `"lowerdir" needs a value`},
		{"flag with value", lower + "nocreate=1", `"nocreate" takes no value`},
		{"flag with equals", lower + "nocreate=", `"nocreate" takes no value`},
		{"empty first element", "lowerdir=:a", `"lowerdir" has an empty element`},
		{"empty middle element", "lowerdir=a::b", `"lowerdir" has an empty element`},
		{"empty last element", "lowerdir=a:", `"lowerdir" has an empty element`},
		{"unknown escape", `lowerdir=a\b`, `"lowerdir" has a backslash`},
		{"backslash at the end", `lowerdir=a\`, `"lowerdir" has a backslash`},
		{"unknown escape in a path", lower + `upperdir=\040`, `"upperdir" has a backslash`},
		{"no name", lower + "=x", "item 2 does not start with the name"},
		{"bad octal", lower + "mode=8", `"mode" must be`},
		{"octal too large", lower + "mode=10000", `"mode" must be`},
		{"signed", lower + "uid=+1", `"uid" must be`},
		{"uid -1", lower + "uid=4294967295", `"uid" must be`},
		{"huge number", lower + "uid=99999999999999999999", `"uid" must be`},
		{"size without digits", lower + "size=k", `"size" must be`},
		{"size overflow", lower + "size=9007199254740992k", `"size" must be`},
		{"size percent", lower + "size=50%", `"size" cannot be a share of the memory`},
		{"word", lower + "policy=none", `"policy" must be one of product, unique`},
		{"key too short", lower + "key=c7-32", `"key" is not a key`},
		{"key with blank", lower + "key= " + keyText, `"key" is not a key`},
		{"NUL", lower + "upperdir=a\x00b", "NUL"},
		{"too long", "lowerdir=" + strings.Repeat("x", mountopt.MaxData), "longer than"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v, err := union.Parse(tc.data)
			require.ErrorIs(t, err, unix.EINVAL, "parse %.60q", tc.data)
			require.ErrorContains(t, err, tc.says)
			require.NotContains(t, err.Error(), "32-b3", "the error shows a key")
			require.Empty(t, v.String())
		})
	}
}

func TestParseErrorShowsNoKey(t *testing.T) {
	bare := strings.ReplaceAll(keyText, "-", "")
	for _, data := range []string{
		keyText, bare, "key:" + keyText + "=x", "key" + bare, "k=" + keyText, "key=" + keyText + ",key=" + keyText,
		"key=" + keyText + "0", "upperdir=" + keyText + ",upperdir=x", keyText + "=key",
	} {
		_, err := union.Parse(data)
		require.ErrorIs(t, err, unix.EINVAL, "parse %q", data)
		require.NotContains(t, err.Error(), "b3", "parse %q", data)
	}
}

func TestParseSize(t *testing.T) {
	spec := mountopt.Spec{mountopt.Size("size")}
	for text, want := range map[string]uint64{
		"0": 0, "1": 1, "4k": 4 << 10, "4K": 4 << 10, "1g": 1 << 30, "1T": 1 << 40,
		"9223372036854775807": math.MaxInt64, "8589934591g": 8589934591 << 30,
	} {
		v, err := spec.Parse("size=" + text)
		require.NoError(t, err, text)
		require.Equal(t, want, v.Number("size"), text)
	}
}

func TestParseCount(t *testing.T) {
	spec := mountopt.Spec{mountopt.Count("n", 5000)}
	for text, want := range map[string]uint64{"0": 0, "7": 7, "4k": 4096, "4K": 4096, "5000": 5000} {
		v, err := spec.Parse("n=" + text)
		require.NoError(t, err, text)
		require.Equal(t, want, v.Number("n"), text)
	}
	for _, text := range []string{"5001", "5k", "1m", "k", "-1", "+1", "1.5", "0x10", "5%", " 1", "1 ", "18446744073709551616"} {
		_, err := spec.Parse("n=" + text)
		require.ErrorIs(t, err, unix.EINVAL, text)
		require.ErrorContains(t, err, `"n" must be a number of at most 5000`, text)
	}
	_, err := mountopt.Spec{}.Parse("n=1")
	require.ErrorContains(t, err, `option "n" is unknown, there are none`)
}

func TestGettersRefuseOtherForms(t *testing.T) {
	v, err := union.Parse("lowerdir=/l")
	require.NoError(t, err)
	require.Panics(t, func() { v.Text("lowerdir") })
	require.Panics(t, func() { v.Has("nothing") })
	require.Panics(t, func() { v.Key("upperdir") })
	require.Panics(t, func() { mountopt.List("l", ',') })
	v.List("lowerdir")[0] = "changed"
	require.Equal(t, []string{"/l"}, v.List("lowerdir"))
}

// TestPrintParse holds that printing and parsing are inverse, secrets aside.
func TestPrintParse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOfN(rapid.SampledFrom([]rune(`ab,:\= /é`)), 1, 8, -1)
		escape := strings.NewReplacer(`\`, `\\`, `,`, `\,`, `:`, `\:`).Replace

		lower := rapid.SliceOfN(text, 1, 4).Draw(t, "lower")
		upper := text.Draw(t, "upper")
		escaped := make([]string, len(lower))
		for i, l := range lower {
			escaped[i] = escape(l)
		}
		items := []string{"lowerdir=" + strings.Join(escaped, ":"), "upperdir=" + escape(upper)}
		for _, opt := range []string{"key=" + keyText, "mode=1777", "size=3g", "nr_inodes=5k", "mac=" + macText, "policy=product", "nocreate", ""} {
			if rapid.Bool().Draw(t, opt) {
				items = append(items, opt)
			}
		}
		items = rapid.Permutation(items).Draw(t, "order")

		v, err := union.Parse(strings.Join(items, ","))
		require.NoError(t, err)
		require.Equal(t, lower, v.List("lowerdir"))
		require.Equal(t, upper, v.Text("upperdir"))

		printed := v.String()
		require.NotContains(t, printed, "key")
		again, err := union.Parse(printed)
		require.NoError(t, err, "parse %q", printed)
		require.Equal(t, printed, again.String())
		require.Equal(t, v.List("lowerdir"), again.List("lowerdir"))
		for _, name := range []string{"upperdir", "policy"} {
			require.Equal(t, v.Text(name), again.Text(name), name)
		}
		for _, name := range []string{"mode", "size", "uid", "nr_inodes"} {
			require.Equal(t, v.Number(name), again.Number(name), name)
			require.Equal(t, v.Has(name), again.Has(name), name)
		}
		require.Equal(t, v.Has("nocreate"), again.Has("nocreate"))
		require.Equal(t, v.MAC("mac"), again.MAC("mac"))
		require.False(t, again.Has("key"))
	})
}

func FuzzParse(f *testing.F) {
	for _, data := range []string{
		"", "lowerdir=/a:/b,upperdir=/c,key=" + keyText, `lowerdir=a\:b\,c\\,,`, "lowerdir=a,mode=0755,size=1k,uid=0,nocreate,policy=unique", "key", "=", `\`,
		"lowerdir=a,nr_inodes=1m,mac=" + macText, "lowerdir=a,size=50%", "lowerdir=a,keyfile=/k",
	} {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data string) {
		v, err := union.Parse(data)
		if err != nil {
			require.ErrorIs(t, err, unix.EINVAL)
			return
		}
		require.NotEmpty(t, v.List("lowerdir"))
		printed := v.String()
		again, err := union.Parse(printed)
		if len(printed) > mountopt.MaxData { // a size in full may be longer than with its suffix
			return
		}
		require.NoError(t, err, "parse %q", printed)
		require.Equal(t, printed, again.String())
		require.Equal(t, v.List("lowerdir"), again.List("lowerdir"))
		require.Equal(t, v.Text("upperdir"), again.Text("upperdir"))
	})
}
