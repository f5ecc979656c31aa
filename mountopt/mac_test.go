package mountopt_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/mountopt"
)

const macText = "00112233445566778899aabbccddeeff" + "fedcba98765432100f1e2d3c4b5a6978"

func TestParseMAC(t *testing.T) {
	for _, text := range []string{macText, strings.ToUpper(macText)} {
		m, err := mountopt.ParseMAC(text)
		require.NoError(t, err)
		require.Equal(t, macText, m.String())
		require.Equal(t, byte(0x11), m[1])
	}
	for name, text := range map[string]string{
		"empty": "", "short": macText[2:], "long": macText + "00", "odd": macText[1:], "no hex": "g" + macText[1:],
		"dashes": macText[:2] + "-" + macText[3:], "prefix": "0x" + macText[2:], "blank": " " + macText[1:],
	} {
		_, err := mountopt.ParseMAC(text)
		require.ErrorIs(t, err, unix.EINVAL, name)
	}
}

func TestMACOption(t *testing.T) {
	spec := mountopt.Spec{mountopt.String("dir"), mountopt.RootMAC("mac")}
	v, err := spec.Parse("mac=" + strings.ToUpper(macText))
	require.NoError(t, err)
	require.True(t, v.Has("mac"))
	require.Equal(t, macText, v.MAC("mac").String())
	require.Equal(t, "mac="+macText, v.String())

	v, err = spec.Parse("dir=/d")
	require.NoError(t, err)
	require.False(t, v.Has("mac"))
	require.Zero(t, v.MAC("mac"))

	for data, says := range map[string]string{
		"mac=":                               `"mac" has an empty value`,
		"mac":                                `"mac" needs a value`,
		"mac=" + macText[1:]:                 `"mac" is not a MAC`,
		"mac=" + macText + ",mac=" + macText: `"mac" is given twice`,
		"mca=" + macText:                     `did you mean "mac"?`,
	} {
		_, err := spec.Parse(data)
		require.ErrorIs(t, err, unix.EINVAL, data)
		require.ErrorContains(t, err, says, data)
	}
}

func TestMACsOption(t *testing.T) {
	spec := mountopt.Spec{mountopt.RootMACs("mac")}
	v, err := spec.Parse("mac=-:" + strings.ToUpper(macText) + ":-")
	require.NoError(t, err)
	macs := v.MACs("mac")
	require.Len(t, macs, 3)
	require.Nil(t, macs[0])
	require.Equal(t, macText, macs[1].String())
	require.Nil(t, macs[2])
	require.Equal(t, "mac=-:"+macText+":-", v.String())

	layers, err := mountopt.Layers([]string{"a", "b", "c"}, macs)
	require.NoError(t, err)
	require.Equal(t, []mountopt.Layer{{Dir: "a"}, {Dir: "b", MAC: macs[1]}, {Dir: "c"}}, layers)
	layers, err = mountopt.Layers([]string{"a"}, nil)
	require.NoError(t, err)
	require.Equal(t, []mountopt.Layer{{Dir: "a"}}, layers)
	_, err = mountopt.Layers([]string{"a"}, macs)
	require.ErrorIs(t, err, unix.EINVAL)

	for _, text := range []string{"", ":", "-:", "--", macText + ":", macText[1:], macText + "-" + macText} {
		_, err := spec.Parse("mac=" + text)
		require.ErrorIs(t, err, unix.EINVAL, text)
	}
	v, err = spec.Parse("")
	require.NoError(t, err)
	require.Nil(t, v.MACs("mac"))
}
