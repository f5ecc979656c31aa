package ego

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/enclave"
)

// keyRequest returns key information as EGo makes it.
func keyRequest(policy, version uint16) []byte {
	info := make([]byte, 0, 512)
	le := binary.LittleEndian
	info = le.AppendUint16(info, 4)
	info = le.AppendUint16(info, policy)
	info = le.AppendUint16(info, version)
	info = le.AppendUint16(info, 0)
	info = append(info, bytes.Repeat([]byte{0x11}, 16)...)
	info = le.AppendUint64(info, 0xff0000000000000b)
	info = le.AppendUint64(info, 0)
	info = append(info, bytes.Repeat([]byte{0x22}, 32)...)
	info = le.AppendUint32(info, 0xf0000000)
	return info[:512]
}

func fakeKey() []byte { return bytes.Repeat([]byte{0x5a}, 16) }

// fakeRuntime is an enclave of product 0x0102, version 7.
func fakeRuntime() runtime {
	return runtime{
		selfReport: func() (report, error) {
			return report{
				uniqueID:        bytes.Repeat([]byte{1}, 32),
				signerID:        bytes.Repeat([]byte{2}, 32),
				productID:       append([]byte{2, 1}, make([]byte, 14)...),
				securityVersion: 7,
				debug:           true,
			}, nil
		},
		productKey: func() ([]byte, []byte, error) { return fakeKey(), keyRequest(2, 7), nil },
		uniqueKey:  func() ([]byte, []byte, error) { return fakeKey(), keyRequest(1, 7), nil },
		key:        func([]byte) ([]byte, error) { return fakeKey(), nil },
	}
}

func TestIdentity(t *testing.T) {
	p, err := newPlatform(fakeRuntime())
	require.NoError(t, err)
	require.Equal(t, enclave.KindSGX, p.Kind())
	require.Equal(t, enclave.Identity{
		Measurement: [32]byte(bytes.Repeat([]byte{1}, 32)), Signer: [32]byte(bytes.Repeat([]byte{2}, 32)),
		ProductID: 0x102, SecurityVersion: 7, Debug: true,
	}, p.Identity())
}

func TestIdentityRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*report)
		err    error
		errno  unix.Errno
	}{
		"outside of an enclave": {err: errors.New("OE_UNSUPPORTED"), errno: unix.ENOSYS},
		"runtime fails":         {err: errors.New("OE_FAILURE"), errno: unix.EIO},
		"errno of the host":     {err: unix.EPERM, errno: unix.EIO},
		"short measurement":     {change: func(r *report) { r.uniqueID = r.uniqueID[1:] }, errno: unix.EIO},
		"no signer":             {change: func(r *report) { r.signerID = nil }, errno: unix.EIO},
		"no product id":         {change: func(r *report) { r.productID = nil }, errno: unix.EIO},
		"huge product id":       {change: func(r *report) { r.productID[2] = 1 }, errno: unix.EIO},
		"huge version":          {change: func(r *report) { r.securityVersion = 1 << 16 }, errno: unix.EIO},
	} {
		t.Run(name, func(t *testing.T) {
			rt := fakeRuntime()
			good := rt.selfReport
			rt.selfReport = func() (report, error) {
				r, _ := good()
				if tc.change != nil {
					tc.change(&r)
				}
				return r, tc.err
			}
			_, err := newPlatform(rt)
			require.ErrorIs(t, err, tc.errno)
		})
	}
}

func TestSealKey(t *testing.T) {
	p, err := newPlatform(fakeRuntime())
	require.NoError(t, err)
	for policy, number := range map[enclave.Policy]uint16{enclave.Product: 2, enclave.Unique: 1} {
		key, info, err := p.SealKey(policy)
		require.NoError(t, err, "seal key for %v", policy)
		require.Equal(t, fakeKey(), key)
		require.Equal(t, keyRequest(number, 7), info)
		again, err := p.SealKeyFor(policy, info)
		require.NoError(t, err)
		require.Equal(t, key, again)
		_, err = p.SealKeyFor(policy, keyRequest(number, 6))
		require.NoError(t, err, "older version")
	}
	_, _, err = p.SealKey(enclave.Policy(2))
	require.ErrorIs(t, err, unix.EINVAL)
	_, err = p.SealKeyFor(enclave.Policy(2), keyRequest(2, 7))
	require.ErrorIs(t, err, unix.EINVAL)
}

func TestSealKeyRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		key   []byte
		err   error
		errno unix.Errno
	}{
		"all zero":      {key: make([]byte, 16), errno: unix.ENOSYS},
		"short":         {key: fakeKey()[:8], errno: unix.EIO},
		"none":          {errno: unix.EIO},
		"newer CPU":     {err: errors.New("OE_INVALID_CPUSVN"), errno: unix.EACCES},
		"newer version": {err: errors.New("OE_INVALID_ISVSVN"), errno: unix.EACCES},
		"failure":       {err: errors.New("OE_OUT_OF_MEMORY"), errno: unix.EIO},
		"no enclave":    {err: errors.New("OE_UNSUPPORTED"), errno: unix.ENOSYS},
	} {
		t.Run(name, func(t *testing.T) {
			rt := fakeRuntime()
			rt.key = func([]byte) ([]byte, error) { return tc.key, tc.err }
			rt.productKey = func() ([]byte, []byte, error) { return tc.key, keyRequest(2, 7), tc.err }
			rt.uniqueKey = func() ([]byte, []byte, error) { return tc.key, keyRequest(1, 7), tc.err }
			p, err := newPlatform(rt)
			require.NoError(t, err)
			for policy, number := range map[enclave.Policy]uint16{enclave.Product: 2, enclave.Unique: 1} {
				key, info, err := p.SealKey(policy)
				require.ErrorIs(t, err, tc.errno)
				require.Nil(t, key)
				require.Nil(t, info)
				key, err = p.SealKeyFor(policy, keyRequest(number, 7))
				require.ErrorIs(t, err, tc.errno)
				require.Nil(t, key)
			}
		})
	}
}

func TestSealKeyWithUnknownRequestIsRefused(t *testing.T) {
	rt := fakeRuntime()
	rt.productKey = func() ([]byte, []byte, error) { return fakeKey(), keyRequest(1, 7), nil }
	p, err := newPlatform(rt)
	require.NoError(t, err)
	_, _, err = p.SealKey(enclave.Product)
	require.ErrorIs(t, err, unix.EIO)
}

func TestSealKeyForRefusesInformation(t *testing.T) {
	rt := fakeRuntime()
	rt.key = func([]byte) ([]byte, error) {
		t.Error("asked the processor")
		return fakeKey(), nil
	}
	p, err := newPlatform(rt)
	require.NoError(t, err)
	for name, change := range map[string]func([]byte) []byte{
		"empty":              func([]byte) []byte { return nil },
		"short":              func(b []byte) []byte { return b[:511] },
		"long":               func(b []byte) []byte { return append(b, 0) },
		"other key name":     func(b []byte) []byte { b[0] = 3; return b },
		"other policy":       func(b []byte) []byte { b[2] = 1; return b },
		"no policy":          func(b []byte) []byte { b[2] = 0; return b },
		"both policies":      func(b []byte) []byte { b[2] = 3; return b },
		"no product id":      func(b []byte) []byte { b[2] = 2 | 4; return b },
		"newer version":      func(b []byte) []byte { b[4] = 8; return b },
		"reserved field":     func(b []byte) []byte { b[6] = 1; return b },
		"debug not mixed in": func(b []byte) []byte { b[24] &^= 2; return b },
		"other flags":        func(b []byte) []byte { b[31] = 0; return b },
		"XFRM":               func(b []byte) []byte { b[32] = 1; return b },
		"MISCSELECT":         func(b []byte) []byte { b[75] = 0; return b },
		"CONFIGSVN":          func(b []byte) []byte { b[76] = 1; return b },
		"last byte":          func(b []byte) []byte { b[511] = 1; return b },
	} {
		key, err := p.SealKeyFor(enclave.Product, change(keyRequest(2, 7)))
		require.ErrorIs(t, err, unix.EACCES, name)
		require.Nil(t, key, name)
	}
}

func FuzzSealKeyFor(f *testing.F) {
	f.Add(keyRequest(2, 7))
	f.Add(keyRequest(1, 0))
	f.Add([]byte{})
	p, err := newPlatform(fakeRuntime())
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, info []byte) {
		if _, err := p.SealKeyFor(enclave.Product, info); err != nil {
			require.ErrorIs(t, err, unix.EACCES)
			return
		}
		want := keyRequest(2, 0)
		copy(want[4:6], info[4:6])     // version
		copy(want[8:24], info[8:24])   // CPUSVN
		copy(want[40:72], info[40:72]) // key id
		require.Equal(t, want, info)
	})
}
