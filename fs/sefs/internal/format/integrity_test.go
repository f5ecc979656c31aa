package format_test

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/seal"
)

func TestHashPtr(t *testing.T) {
	for _, fill := range []byte{0, 1, 0xff} {
		var hash [32]byte
		copy(hash[:], bytes.Repeat([]byte{fill}, 32))
		p := format.HashPtr(format.Ptr{Segment: 7, Block: 16382, Counter: 9, Session: [12]byte{1}}, hash)
		require.Equal(t, hash, p.Hash())
		require.True(t, p.Check(format.NodeBlocks), "any hash is a pointer")
		var b [format.NodePtrSize]byte
		format.PutNodePtr(b[:], p)
		require.Equal(t, append([]byte{7, 0, 0, 0, 0xfe, 0x3f, 0, 0}, hash[:]...), b[:])
		require.Equal(t, p, format.GetNodePtr(b[:]))
	}
}

func TestHashedExtent(t *testing.T) {
	want := format.Extent{Ptr: format.Ptr{Segment: 3, Block: 100}, Tags: bytes.Repeat([]byte{1, 2, 3, 4}, 24)}
	b := format.AppendExtent(nil, want)
	require.Equal(t, make([]byte, 18), b[6:24], "no counter, no session")
	got, err := format.DecodeExtent(b)
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.True(t, got.Hashed())
	require.Equal(t, 3, got.Len())
	part := got.Part(1, 3)
	require.True(t, part.Hashed())
	require.Equal(t, 2, part.Len())
	require.Equal(t, want.Tags[32:], part.Tags)
	for _, n := range []int{16, 33, 48, 65 * 32} {
		_, err := format.DecodeExtent(make([]byte, format.PtrSize+n))
		require.ErrorIs(t, err, unix.EIO, "%d bytes of hashes", n)
	}
	_, err = format.DecodeExtent(make([]byte, format.PtrSize+format.MaxHashExtent*seal.HashSize))
	require.NoError(t, err)
}

// TestIntegrityHeader pins header, head and root of a small volume, byte by byte through their hashes.
func TestIntegrityHeader(t *testing.T) {
	head := format.IntegrityHead(format.HashPtr(format.Ptr{Segment: 0, Block: 4}, [32]byte{5}), 1, 6, 1)
	h, b := format.NewIntegrityHeader(head)
	root, ok := h.IntegrityRoot(head)
	require.True(t, ok)
	require.Equal(t, "423f2707c1ff30d026ab1fc54871f73914fef4b0e6bdb5b7249b4420a1556ad2", hex.EncodeToString(root[:]))
	got, err := format.DecodeHeader(b)
	require.NoError(t, err)
	require.Equal(t, h, got)
	require.Equal(t, byte(0x80), h.UUID[6]&0xf0, "version 8")

	for at := range head {
		other := bytes.Clone(head)
		other[at] ^= 1
		changed, ok := got.IntegrityRoot(other)
		require.False(t, ok, "byte %d of the head", at)
		require.NotEqual(t, root, changed, "byte %d of the head", at)
	}
	decoded, err := format.DecodeHead(head)
	require.NoError(t, err)
	require.Equal(t, uint64(6), decoded.Used)
	require.Equal(t, uint64(1), decoded.Live)

	tests := []struct {
		name   string
		change func(b []byte)
		errno  unix.Errno
	}{
		{"a cipher", func(b []byte) { b[57] = format.CipherAES128 }, unix.EINVAL},
		{"encrypted without a cipher", func(b []byte) { b[56] = format.ModeEncrypted }, unix.EINVAL},
		{"a time", func(b []byte) { b[72] = 1 }, unix.EACCES},
		{"a generation", func(b []byte) { b[80] = 2 }, unix.EACCES},
		{"a key slot", func(b []byte) { b[256] = 1 }, unix.EACCES},
		{"a code", func(b []byte) { b[16320] = 1 }, unix.EACCES},
		{"an unknown feature", func(b []byte) { b[16] = 1 }, unix.EINVAL},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bad := bytes.Clone(b)
			tt.change(bad)
			_, err := format.DecodeHeader(resum(bad))
			require.ErrorIs(t, err, tt.errno)
		})
	}
	free := bytes.Clone(b)
	free[100] = 1 // a byte that means nothing counts all the same
	same, err := format.DecodeHeader(resum(free))
	require.NoError(t, err)
	other, _ := same.IntegrityRoot(head)
	require.NotEqual(t, root, other)
}
