package seal_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/seal"
)

func testRing(keySize int) *seal.Keyring {
	return seal.NewKeyring(seal.KeyringConfig{Secret: [32]byte{1, 2, 3}, KeySize: keySize})
}

func TestWrap(t *testing.T) {
	key, uuid, aad := []byte("0123456789abcdef"), [16]byte{1}, []byte("header")
	secret := seal.NewSecret()
	w, err := seal.Wrap(key, uuid, &secret, aad)
	require.NoError(t, err)
	got, err := seal.Unwrap(key, uuid, &w, aad)
	require.NoError(t, err)
	require.Equal(t, secret, got)

	tests := []struct {
		name   string
		key    []byte
		uuid   [16]byte
		change func(w *seal.Wrapped)
		aad    string
		errno  unix.Errno
		says   string
	}{
		{"another key", []byte("0123456789abcdeX"), uuid, nil, "header", unix.EACCES, "wrong key"},
		{"longer key", bytes.Repeat([]byte("0"), 32), uuid, nil, "header", unix.EACCES, "wrong key"},
		{"another volume", key, [16]byte{2}, nil, "header", unix.EACCES, "wrong key"},
		{"changed box", key, uuid, func(w *seal.Wrapped) { w.Box[3] ^= 1 }, "header", unix.EACCES, "tampered"},
		{"changed nonce", key, uuid, func(w *seal.Wrapped) { w.Nonce[3] ^= 1 }, "header", unix.EACCES, "tampered"},
		{"changed header", key, uuid, nil, "reader", unix.EACCES, "tampered"},
		{"no key", nil, uuid, nil, "header", unix.EINVAL, "16 or 32"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := w
			if tt.change != nil {
				tt.change(&w)
			}
			_, err := seal.Unwrap(tt.key, tt.uuid, &w, []byte(tt.aad))
			require.ErrorIs(t, err, tt.errno)
			require.ErrorContains(t, err, tt.says)
		})
	}
}

func TestBox(t *testing.T) {
	for _, size := range []int{16, 32} {
		ring := testRing(size)
		box, err := ring.Box(seal.SessionID{1})
		require.NoError(t, err)
		other, err := ring.Box(seal.SessionID{2})
		require.NoError(t, err)
		msg := []byte("a message")
		sealed := func() []byte {
			b := append(bytes.Clone(msg), make([]byte, seal.TagSize)...)
			box.Seal(seal.DomainHead, 7, b, []byte("aad"))
			return b
		}
		b := sealed()
		require.NotContains(t, string(b), "message")
		require.True(t, box.Open(seal.DomainHead, 7, b, []byte("aad")))
		require.Equal(t, msg, b[:len(msg)])
		require.False(t, box.Open(seal.DomainHead, 8, sealed(), []byte("aad")), "another counter")
		require.False(t, box.Open(seal.DomainNode, 7, sealed(), []byte("aad")), "another domain")
		require.False(t, box.Open(seal.DomainHead, 7, sealed(), []byte("abd")), "other data beside it")
		require.False(t, other.Open(seal.DomainHead, 7, sealed(), []byte("aad")), "another session")
		require.False(t, box.Open(seal.DomainHead, 7, []byte("short"), nil), "too short")

		src, dst, back := bytes.Repeat([]byte("x"), 8192), make([]byte, 8192), make([]byte, 8192)
		tag := box.SealDetached(seal.DomainNode, 9, dst, src)
		require.True(t, box.OpenDetached(seal.DomainNode, 9, back, dst, tag[:]))
		require.Equal(t, src, back)
		dst[5] ^= 1
		require.False(t, box.OpenDetached(seal.DomainNode, 9, back, dst, tag[:]))
	}
}

// TestRun seals and opens runs of all lengths that the pool treats differently.
func TestRun(t *testing.T) {
	ring := testRing(16)
	box, err := ring.Box(seal.SessionID{3})
	require.NoError(t, err)
	pool := seal.NewPool()
	defer pool.Close()
	const size = 4096
	for _, n := range []int{1, 2, 3, 31, 63, 64, 65, 200, 256} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			run := func() *seal.Run {
				r := &seal.Run{Box: box, Domain: seal.DomainData, Counter: 100, Cipher: make([]byte, n*size), Tags: make([]byte, n*seal.TagSize)}
				for i := range n {
					r.Plain = append(r.Plain, bytes.Repeat(binary.LittleEndian.AppendUint64(nil, uint64(i+1)), size/8))
				}
				return r
			}
			r := run()
			pool.Seal(r)
			cipher := bytes.Clone(r.Cipher)
			for i := range n {
				clear(r.Plain[i])
			}
			require.Equal(t, -1, pool.Open(r))
			require.Equal(t, run().Plain, r.Plain)
			require.Equal(t, cipher, r.Cipher, "sealed bytes stay as they were")

			single := make([]byte, size)
			i := n / 2
			require.True(t, box.OpenDetached(seal.DomainData, 100+uint64(i), single, cipher[i*size:(i+1)*size], r.Tags[i*seal.TagSize:(i+1)*seal.TagSize]))
			for _, i := range []int{0, n / 3, n - 1} {
				copy(r.Cipher, cipher)
				r.Cipher[i*size+9] ^= 1
				require.Equal(t, i, pool.Open(r), "changed block")
				copy(r.Cipher, cipher)
				r.Tags[i*seal.TagSize] ^= 1
				require.Equal(t, i, pool.Open(r), "changed tag")
				r.Tags[i*seal.TagSize] ^= 1
			}
		})
	}
}

func TestSession(t *testing.T) {
	ring := testRing(16)
	s := seal.NewSession(ring, []byte("seed"))
	s.SetMax(10)
	box, first, err := s.Reserve(6)
	require.NoError(t, err)
	require.Zero(t, first)
	again, next, err := s.Reserve(4)
	require.NoError(t, err)
	require.Equal(t, uint64(6), next)
	require.Equal(t, box.ID(), again.ID())
	other, first, err := s.Reserve(1)
	require.NoError(t, err)
	require.Zero(t, first, "a session that is used up makes room for the next")
	require.NotEqual(t, box.ID(), other.ID())

	twin, _, err := seal.NewSession(ring, []byte("seed")).Reserve(1)
	require.NoError(t, err)
	require.NotEqual(t, box.ID(), twin.ID(), "sessions of equal seed")
	same, err := ring.Box(box.ID())
	require.NoError(t, err)
	require.Equal(t, box, same)
}

// TestManySessions asks for more keys than are kept.
func TestManySessions(t *testing.T) {
	ring := testRing(16)
	var id seal.SessionID
	first, err := ring.Box(id)
	require.NoError(t, err)
	b := make([]byte, 100)
	first.Seal(seal.DomainData, 1, b, nil)
	for i := range 2000 {
		binary.LittleEndian.PutUint32(id[:], uint32(i+1))
		_, err := ring.Box(id)
		require.NoError(t, err)
	}
	again, err := ring.Box(seal.SessionID{})
	require.NoError(t, err)
	require.True(t, again.Open(seal.DomainData, 1, b, nil))
}

// TestSipHash holds SipHash-2-4 against the vectors of its paper: key
// 00 01 .. 0f, messages of the bytes 00 01 02 and so on.
func TestSipHash(t *testing.T) {
	var key, msg [64]byte
	for i := range key {
		key[i], msg[i] = byte(i), byte(i)
	}
	k0, k1 := binary.LittleEndian.Uint64(key[:]), binary.LittleEndian.Uint64(key[8:])
	for n, want := range map[int]uint64{
		0:  0x726fdb47dd0e0e31,
		1:  0x74f839c593dc67fd,
		8:  0x93f5f5799a932462,
		15: 0xa129ca6149be45e5,
	} {
		require.Equal(t, want, seal.SipHash(k0, k1, string(msg[:n])), "%d bytes", n)
	}
}

func TestErrors(t *testing.T) {
	err := fmt.Errorf("outer: %w", &seal.CorruptError{Block: "segment 1 block 2", Reason: "not authentic"})
	require.ErrorIs(t, err, unix.EIO)
	require.ErrorContains(t, err, "segment 1 block 2")
	require.ErrorIs(t, &seal.KeyError{Reason: "wrong key"}, unix.EACCES)
}
