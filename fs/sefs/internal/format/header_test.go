package format_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/seal"
)

var (
	headerSecret = [seal.SecretSize]byte{1, 2, 3}
	firstKey     = []byte("the first key...")
	secondKey    = []byte("the second key, of 32 bytes.....")
)

// testHeader is a header with a slot of two kinds, slot 1 being free.
func testHeader(t testing.TB) *format.Header {
	t.Helper()
	h := format.NewHeader([16]byte{1, 2, 3}, format.CipherAES128, 12345)
	require.NoError(t, h.SetSlot(0, format.Slot{Kind: format.KeyGiven}, firstKey, &headerSecret))
	require.NoError(t, h.SetSlot(2, format.Slot{
		Kind: format.KeySealed, Label: "a label", Created: 77, Platform: "simulation", Policy: "product",
		Sealer:  format.Sealer{Signer: [32]byte{1}, Program: [32]byte{2}, Product: 3, Version: 4, Debug: true},
		KeyInfo: bytes.Repeat([]byte{7}, format.MaxKeyInfo),
	}, secondKey, &headerSecret))
	return h
}

func encode(t testing.TB, h *format.Header) []byte {
	t.Helper()
	b, err := h.Encode(&headerSecret)
	require.NoError(t, err)
	return b
}

// resum gives a header a valid checksum, which needs no key.
func resum(b []byte) []byte {
	sum := seal.Checksum(b[:format.HeaderSize-32])
	copy(b[format.HeaderSize-32:], sum[:])
	return b
}

func TestHeader(t *testing.T) {
	h := testHeader(t)
	b := encode(t, h)
	require.Len(t, b, format.HeaderSize)
	got, err := format.DecodeHeader(b)
	require.NoError(t, err)
	require.Equal(t, h, got)
	require.Equal(t, 2, got.Used())
	require.Equal(t, 16, got.KeySize())
	require.EqualValues(t, 1, got.Generation)
	require.NoError(t, got.CheckWritable())
	for i, key := range map[int][]byte{0: firstKey, 2: secondKey} {
		secret, err := got.Open(i, key)
		require.NoError(t, err)
		require.Equal(t, headerSecret, secret)
		require.Equal(t, i, got.FindKey(key))
	}
	_, err = got.Open(0, secondKey)
	requireProblem(t, err, seal.KeyWrong)
	require.Equal(t, -1, got.FindKey([]byte("no key of it....")))

	got.ClearSlot(0)
	again, err := format.DecodeHeader(encode(t, got))
	require.NoError(t, err)
	require.EqualValues(t, 2, again.Generation)
	require.Equal(t, 1, again.Used())
	_, err = again.Open(2, secondKey)
	require.NoError(t, err, "the slot that stays does not depend on the other")
}

func requireProblem(t *testing.T, err error, want seal.KeyProblem) {
	t.Helper()
	e, ok := errors.AsType[*seal.KeyError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, want, e.Problem, "%v", err)
	require.ErrorIs(t, err, unix.EACCES)
}

func TestSlotErrors(t *testing.T) {
	h := testHeader(t)
	for name, s := range map[string]format.Slot{
		"free":          {},
		"unknown kind":  {Kind: format.KeyAge + 1},
		"long label":    {Kind: format.KeyGiven, Label: string(make([]byte, 33))},
		"long platform": {Kind: format.KeyGiven, Platform: string(make([]byte, 33))},
		"long policy":   {Kind: format.KeyGiven, Policy: string(make([]byte, 33))},
		"long info":     {Kind: format.KeyGiven, KeyInfo: make([]byte, format.MaxKeyInfo+1)},
	} {
		require.ErrorIs(t, h.SetSlot(1, s, firstKey, &headerSecret), unix.EINVAL, name)
	}
	require.ErrorIs(t, h.SetSlot(1, format.Slot{Kind: format.KeyGiven}, firstKey[:15], &headerSecret), unix.EINVAL)
}

func TestHeaderErrors(t *testing.T) {
	tests := []struct {
		name   string
		change func(b []byte) []byte
		errno  unix.Errno
	}{
		{"empty", func(b []byte) []byte { return nil }, unix.EINVAL},
		{"magic only", func(b []byte) []byte { return b[:8] }, unix.EACCES},
		{"cut off", func(b []byte) []byte { return b[:format.HeaderSize-1] }, unix.EACCES},
		{"magic", func(b []byte) []byte { b[1] = 'X'; return b }, unix.EINVAL},
		{"newer version", func(b []byte) []byte { b[8] = 2; return b }, unix.EINVAL},
		{"checksum", func(b []byte) []byte { b[2000] ^= 1; return b }, unix.EACCES},
		{"incompatible feature", func(b []byte) []byte { b[16] = 1; return resum(b) }, unix.EINVAL},
		{"mode", func(b []byte) []byte { b[56] = 2; return resum(b) }, unix.EINVAL},
		{"cipher", func(b []byte) []byte { b[57] = 3; return resum(b) }, unix.EINVAL},
		{"block size", func(b []byte) []byte { b[61] = 1; return resum(b) }, unix.EINVAL},
		{"no slots", func(b []byte) []byte { b[256], b[256+2*2000] = 0, 0; return resum(b) }, unix.EACCES},
		{"slot lengths", func(b []byte) []byte { b[256+4], b[256+5] = 0xff, 0xff; return resum(b) }, unix.EACCES},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := format.DecodeHeader(tt.change(encode(t, testHeader(t))))
			require.ErrorIs(t, err, tt.errno)
		})
	}
	b := encode(t, testHeader(t))
	b[24] = 1
	h, err := format.DecodeHeader(resum(b))
	require.NoError(t, err, "read-only compatible feature")
	require.ErrorIs(t, h.CheckWritable(), unix.EROFS)
}

// TestHeaderTamper changes every byte, with the checksum made right again as the
// host can: the header is refused, or its slots do not open.
func TestHeaderTamper(t *testing.T) {
	b := encode(t, testHeader(t))
	for at := range format.HeaderSize - 32 {
		bad := slices.Clone(b)
		bad[at] ^= 1 << (at % 8)
		_, err := format.DecodeHeader(bad)
		require.Error(t, err, "byte %d, checksum not repaired", at)
		h, err := format.DecodeHeader(resum(bad))
		if err != nil {
			errno, ok := errors.AsType[unix.Errno](err)
			require.True(t, ok && (errno == unix.EINVAL || errno == unix.EACCES), "byte %d: %v", at, err)
			continue
		}
		for i, key := range map[int][]byte{0: firstKey, 2: secondKey} {
			_, err := h.Open(i, key)
			e, ok := errors.AsType[*seal.KeyError](err)
			require.True(t, ok, "byte %d, slot %d: %v", at, i, err)
			if e.Problem != seal.KeyTampered {
				// The key is looked for by the UUID and by the slot's check.
				uuid, check := at >= 40 && at < 56, at-256-i*2000 >= 1912 && at-256-i*2000 < 1928
				free := at == 256+i*2000 // the kind: the slot is gone
				require.True(t, uuid || check || free, "byte %d, slot %d: %v", at, i, err)
			}
		}
	}
}

func FuzzDecodeHeader(f *testing.F) {
	f.Add(encode(f, testHeader(f)), true)
	f.Fuzz(func(t *testing.T, b []byte, fix bool) {
		if fix && len(b) >= format.HeaderSize {
			resum(b)
		}
		h, err := format.DecodeHeader(b)
		if err != nil {
			return
		}
		require.Positive(t, h.Used())
		for i := range h.Slots {
			if secret, err := h.Open(i, secondKey); err == nil {
				require.Equal(t, headerSecret, secret, "only what was wrapped comes out")
			}
		}
	})
}
