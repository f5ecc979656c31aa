package store

import (
	"hash/maphash"
	"slices"
)

const memoryPageSize = 4096

type memoryPage [memoryPageSize]byte

// fork returns a store that starts with the content of m and copies only the
// pages that are written to it. m must not change as long as the fork is used.
func (m *Memory) fork() *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &Memory{dirs: make(map[string]struct{}, len(m.dirs)), files: make(map[string]*memoryFile, len(m.files))}
	for name := range m.dirs {
		c.dirs[name] = struct{}{}
	}
	for name, f := range m.files {
		c.files[name] = &memoryFile{data: f.data, size: f.size, forked: true, sum: f.dataSum(), summed: true}
	}
	return c
}

// flat returns the content without zeros at the end that were written as such.
// It may be the file's own memory.
func (f *memoryFile) flat() []byte {
	if !f.forked {
		return f.data
	}
	data := slices.Clone(f.data)
	for n, p := range f.over {
		end := min((n+1)*memoryPageSize, f.size)
		if have := int64(len(data)); have < end {
			data = append(data, make([]byte, end-have)...)
		}
		copy(data[n*memoryPageSize:end], p[:])
	}
	return data
}

// readOver puts what a fork has written over p, which was read at off.
func (f *memoryFile) readOver(p []byte, off int64) {
	if len(f.over) == 0 {
		return
	}
	end := off + int64(len(p))
	for n := off / memoryPageSize; n*memoryPageSize < end; n++ {
		page := f.over[n]
		if page == nil {
			continue
		}
		if at := n * memoryPageSize; at >= off {
			copy(p[at-off:], page[:])
		} else {
			copy(p, page[off-at:])
		}
	}
}

func (f *memoryFile) writeOver(p []byte, off int64) {
	if f.over == nil {
		f.over = make(map[int64]*memoryPage)
	}
	for len(p) > 0 {
		n := off / memoryPageSize
		page := f.over[n]
		if page == nil {
			page = new(memoryPage)
			f.over[n] = page
			if at := n * memoryPageSize; at < int64(len(f.data)) {
				copy(page[:], f.data[at:])
			}
		}
		done := copy(page[off%memoryPageSize:], p)
		p, off = p[done:], off+int64(done)
	}
}

var digestSeed = maphash.MakeSeed()

// digest returns a number that tells contents apart, for as long as the process
// lives.
func (m *Memory) digest() (sum uint64) {
	for name, f := range m.files {
		sum += mix(maphash.String(digestSeed, name) ^ mix(f.digest()^uint64(f.size)))
	}
	for name := range m.dirs {
		sum += mix(^maphash.String(digestSeed, name))
	}
	return sum
}

func (f *memoryFile) digest() uint64 {
	sum := f.dataSum()
	for n, page := range f.over {
		if at := n * memoryPageSize; at < int64(len(f.data)) {
			sum ^= pageSum(n, f.data[at:min(at+memoryPageSize, int64(len(f.data)))])
		}
		sum ^= pageSum(n, page[:])
	}
	return sum
}

func (f *memoryFile) dataSum() uint64 {
	if f.summed {
		return f.sum
	}
	f.sum, f.summed = 0, true
	n := int64(0)
	for page := range slices.Chunk(f.data, memoryPageSize) {
		f.sum ^= pageSum(n, page)
		n++
	}
	return f.sum
}

// pageSum is the part of page n in the digest of its file; that of zeros is 0.
func pageSum(n int64, page []byte) uint64 {
	if allZero(page) {
		return 0
	}
	if len(page) < memoryPageSize {
		var whole memoryPage
		copy(whole[:], page)
		page = whole[:]
	}
	return mix(maphash.Bytes(digestSeed, page) + uint64(n)*0x9e3779b97f4a7c15)
}

// mix spreads x over 64 bits (the finalizer of MurmurHash3).
func mix(x uint64) uint64 {
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
