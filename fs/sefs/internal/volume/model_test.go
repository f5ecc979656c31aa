package volume_test

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/store"
	"cloister/fs/sefs/internal/volume"
)

// TestTreeModel holds the items of a volume against a Go map.
func TestTreeModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		mem := store.NewMemory()
		ctx := t.Context()
		require.NoError(rt, volume.Make(ctx, mem, volume.MakeConfig{Slot: testSlot, UserKey: testKey}))
		cfg := config()
		cfg.NodeCacheBytes = 1 // the least there is
		v, err := volume.Open(ctx, mem, cfg)
		require.NoError(rt, err)
		defer func() { v.Abandon() }()
		model := make(map[format.Key][]byte)
		committed := maps.Clone(model)
		key := rapid.Custom(func(rt *rapid.T) format.Key {
			return format.Key{
				Ino:  rapid.Uint64Range(1, 5).Draw(rt, "ino"),
				Type: rapid.Uint8Range(4, 6).Draw(rt, "type"),
				Off:  rapid.Uint64Range(0, 300).Draw(rt, "off"),
			}
		})
		value := func() []byte {
			n := rapid.OneOf(rapid.IntRange(0, 40), rapid.IntRange(0, format.MaxValue)).Draw(rt, "length")
			return pattern(n, n)
		}
		change := func(fn func(h *volume.Tx)) {
			h, err := v.Begin(ctx)
			require.NoError(rt, err, "Begin")
			fn(h)
			h.End()
		}
		rt.Repeat(map[string]func(*rapid.T){
			"put": func(rt *rapid.T) {
				change(func(h *volume.Tx) {
					for range rapid.IntRange(1, 50).Draw(rt, "puts") {
						k, val := key.Draw(rt, "key"), value()
						require.NoError(rt, h.Put(k, val), "Put")
						model[k] = val
					}
				})
			},
			"delete": func(rt *rapid.T) {
				change(func(h *volume.Tx) {
					for range rapid.IntRange(1, 80).Draw(rt, "deletes") {
						k := key.Draw(rt, "key")
						require.NoError(rt, h.Delete(k), "Delete")
						delete(model, k)
					}
				})
			},
			"delete inode": func(rt *rapid.T) {
				ino := rapid.Uint64Range(1, 5).Draw(rt, "ino")
				change(func(h *volume.Tx) {
					for k := range model {
						if k.Ino == ino {
							require.NoError(rt, h.Delete(k), "Delete")
							delete(model, k)
						}
					}
				})
			},
			"commit": func(rt *rapid.T) {
				require.NoError(rt, v.Commit(ctx), "Commit")
				committed = maps.Clone(model)
			},
			"close": func(rt *rapid.T) {
				require.NoError(rt, volume.Verify(v), "Verify")
				require.NoError(rt, v.Close(ctx), "Close")
				v, err = volume.Open(ctx, mem, cfg)
				require.NoError(rt, err, "Open")
				committed = maps.Clone(model)
			},
			"kill": func(rt *rapid.T) {
				v.Abandon()
				v, err = volume.Open(ctx, mem, cfg)
				require.NoError(rt, err, "Open")
				model = maps.Clone(committed)
			},
			"": func(rt *rapid.T) {
				k := key.Draw(rt, "key")
				got, err := v.Get(k, nil)
				if want, ok := model[k]; ok {
					require.NoError(rt, err, "Get")
					require.True(rt, bytes.Equal(want, got), "value of %v", k)
				} else {
					require.ErrorIs(rt, err, unix.ENOENT, "Get")
				}
				from, to := key.Draw(rt, "from"), key.Draw(rt, "to")
				var keys []format.Key
				require.NoError(rt, v.Scan(from, to, func(k format.Key, val []byte) bool {
					require.True(rt, bytes.Equal(model[k], val), "value of %v in Scan", k)
					keys = append(keys, k)
					return true
				}), "Scan")
				var want []format.Key
				for k := range model {
					if !k.Less(from) && k.Less(to) {
						want = append(want, k)
					}
				}
				slices.SortFunc(want, format.Key.Compare)
				require.Equal(rt, want, keys, "keys of Scan")
			},
		})
	})
}

// TestLargeTree grows a tree to several levels and takes it down again in
// random order, so that nodes of all levels split and join.
func TestLargeTree(t *testing.T) {
	mem, v := newVolume(t)
	n := scaled(60_000)
	r := rand.New(rand.NewPCG(8, 8))
	model := make(map[format.Key][]byte)
	random := func() format.Key {
		return format.Key{Ino: 1 + r.Uint64N(50), Type: 4, Off: r.Uint64N(uint64(n) / 25)}
	}
	check := func(step string) {
		t.Helper()
		last, seen := format.Key{}, 0
		require.NoError(t, v.Scan(format.Key{Ino: 1}, format.Key{Ino: 100}, func(k format.Key, val []byte) bool {
			require.True(t, last.Less(k), "%s: order at %v", step, k)
			require.True(t, bytes.Equal(model[k], val), "%s: value of %v", step, k)
			last, seen = k, seen+1
			return true
		}))
		require.Equal(t, len(model), seen, "%s: items", step)
		for k, want := range model {
			got, err := v.Get(k, nil)
			require.NoError(t, err, "%s: Get %v", step, k)
			require.True(t, bytes.Equal(want, got), "%s: Get %v", step, k)
		}
	}
	for round := range 3 {
		for len(model) < n {
			tx(t, v, func(tx *volume.Tx) {
				for range 500 {
					k := random()
					val := pattern(len(model), 100+r.IntN(400))
					require.NoError(t, tx.Put(k, val))
					model[k] = val
				}
			})
		}
		check("full")
		require.NoError(t, volume.Verify(v), "full")
		if round == 1 { // read it from the host
			closeVolume(t, v)
			v = open(t, mem, config())
		}
		for len(model) > n/20 {
			tx(t, v, func(tx *volume.Tx) {
				for range 200 {
					k := random()
					require.NoError(t, tx.Delete(k))
					delete(model, k)
				}
				// A range goes, which empties nodes, and some of it comes back.
				from, width := random(), uint64(n)/100
				for off := from.Off; off < from.Off+width; off++ {
					k := format.Key{Ino: from.Ino, Type: 4, Off: off}
					require.NoError(t, tx.Delete(k))
					delete(model, k)
				}
				for range 4 {
					k := format.Key{Ino: from.Ino, Type: 4, Off: from.Off + r.Uint64N(width)}
					val := pattern(len(model), 300)
					require.NoError(t, tx.Put(k, val))
					model[k] = val
				}
			})
		}
		check("nearly empty")
		require.NoError(t, volume.Verify(v), "nearly empty")
	}
	closeVolume(t, v)
}

// A modelFile is what a file should hold: bytes, and which blocks are not holes.
type modelFile struct {
	data   []byte
	blocks map[int]bool
}

func (m *modelFile) clone() *modelFile {
	return &modelFile{bytes.Clone(m.data), maps.Clone(m.blocks)}
}

const modelSize = 700 * 4096

func newModelFile() *modelFile {
	return &modelFile{make([]byte, modelSize), make(map[int]bool)}
}

func (m *modelFile) write(p []byte, off int) {
	copy(m.data[off:], p)
	for b := off / 4096; b <= (off+len(p)-1)/4096; b++ {
		m.blocks[b] = true
	}
}

func (m *modelFile) zero(from, to int) {
	clear(m.data[from:to])
	for b := (from + 4095) / 4096; b < to/4096; b++ {
		delete(m.blocks, b)
	}
}

// shift is what Collapse (by < 0) and Insert do at byte from of a file of modelSize.
func (m *modelFile) shift(from, by int) {
	old := m.clone()
	m.zero(min(from, from+by), modelSize)
	for b := range old.blocks {
		switch to := b + by/4096; {
		case b*4096 < min(from, from+by):
			continue
		case b*4096 >= from && to*4096 < modelSize:
			m.blocks[to] = true
			copy(m.data[to*4096:], old.data[b*4096:(b+1)*4096])
		}
	}
}

// TestFileModel does random things to files and holds them against bytes in
// memory, with caches too small for them.
func TestFileModel(t *testing.T) {
	for seed := range uint64(scaled(6)) {
		fileModel(t, seed, 250)
	}
}

func fileModel(t *testing.T, seed uint64, steps int) {
	r := rand.New(rand.NewPCG(seed, 1))
	mem := store.NewMemory()
	makeVolume(t, mem)
	cfg := config()
	cfg.NodeCacheBytes, cfg.PageCacheBytes = 1, 1
	v := open(t, mem, cfg)
	const n = 3
	var models, committed [n]*modelFile
	var files [n]*volume.File
	for i := range n {
		models[i], committed[i] = newModelFile(), newModelFile()
		files[i] = v.File(uint64(10+i), 0)
	}
	reopen := func() {
		v = open(t, mem, cfg)
		for i := range n {
			files[i] = v.File(uint64(10+i), int64(len(models[i].blocks)))
			files[i].SetSize(modelSize)
		}
	}
	for step := range steps {
		i := r.IntN(n)
		m, f := models[i], files[i]
		off := r.IntN(modelSize)
		size := 1 + r.IntN([]int{10, 5000, 100_000, 2_000_000}[r.IntN(4)])
		size = min(size, modelSize-off)
		if r.IntN(3) == 0 {
			off, size = off/4096*4096, (size+4095)/4096*4096
			size = min(size, modelSize-off)
		}
		switch op := r.IntN(23); {
		case op < 8:
			p := pattern(step, size)
			if r.IntN(8) == 0 {
				clear(p[len(p)/3:])
			}
			tx(t, v, func(tx *volume.Tx) { require.NoError(t, f.WriteAt(t.Context(), tx, p, int64(off)), "WriteAt") })
			m.write(p, off)
		case op < 10:
			tx(t, v, func(tx *volume.Tx) { require.NoError(t, f.Punch(tx, int64(off), int64(size)), "Punch") })
			m.zero(off, off+size)
		case op < 11:
			tx(t, v, func(tx *volume.Tx) { require.NoError(t, f.Truncate(tx, int64(off)), "Truncate") })
			m.zero(off, modelSize)
		case op < 12:
			tx(t, v, func(tx *volume.Tx) { require.NoError(t, f.Discard(tx), "Discard") })
			m.zero(0, modelSize)
		case op < 15:
			commit(t, v)
			for j := range n {
				committed[j] = models[j].clone()
			}
		case op < 16:
			require.NoError(t, volume.Verify(v), "seed %d step %d", seed, step)
			closeVolume(t, v)
			for j := range n {
				committed[j] = models[j].clone()
			}
			reopen()
		case op < 17:
			v.Abandon()
			for j := range n {
				models[j] = committed[j].clone()
			}
			reopen()
		case op < 18:
			off, by := off/4096*4096, 4096*(1+r.IntN(100))
			if r.IntN(4) == 0 {
				off = 0
			}
			by = min(by, (modelSize-4096-off)/4096*4096)
			if by <= 0 {
				break
			}
			tx(t, v, func(tx *volume.Tx) { require.NoError(t, f.Collapse(tx, int64(off), int64(by)), "Collapse") })
			m.shift(off+by, -by)
		case op < 19:
			off, by := off/4096*4096, 4096*(1+r.IntN(100))
			if r.IntN(4) == 0 {
				off = 0
			}
			tx(t, v, func(tx *volume.Tx) {
				require.NoError(t, f.Insert(tx, int64(off), int64(by)), "Insert")
				require.NoError(t, f.Truncate(tx, modelSize), "Truncate")
			})
			m.shift(off, by)
		default:
			got := make([]byte, size)
			require.NoError(t, f.ReadAt(t.Context(), got, int64(off)), "ReadAt")
			require.True(t, bytes.Equal(m.data[off:off+size], got), "seed %d step %d: file %d, %d bytes at %d", seed, step, i, size, off)
		}
		m, f = models[i], files[i]
		require.Equal(t, int64(len(m.blocks)), f.Blocks(), "seed %d step %d: blocks of file %d", seed, step, i)
		checkSeek(t, m, f, r.IntN(modelSize))
	}
	for i := range n {
		got := make([]byte, modelSize)
		require.NoError(t, files[i].ReadAt(t.Context(), got, 0), "ReadAt")
		require.True(t, bytes.Equal(models[i].data, got), "seed %d: file %d at the end", seed, i)
		tx(t, v, func(tx *volume.Tx) { require.NoError(t, files[i].Discard(tx), "Discard") })
	}
	closeVolume(t, v)
	v = open(t, mem, cfg)
	require.LessOrEqual(t, v.Stats().BlocksUsed, uint64(8), "blocks in use when all files are gone")
	require.LessOrEqual(t, v.Stats().Segments, uint64(2), "segments in use when all files are gone")
}

func checkSeek(t *testing.T, m *modelFile, f *volume.File, off int) {
	t.Helper()
	seek := func(data bool) int64 {
		for b := off / 4096; b < modelSize/4096; b++ {
			if m.blocks[b] == data {
				return int64(max(off, b*4096))
			}
		}
		return -1
	}
	got, err := f.SeekData(int64(off))
	if want := seek(true); want >= 0 {
		require.NoError(t, err, "SeekData")
		require.Equal(t, want, got, "SeekData")
	} else {
		require.ErrorIs(t, err, unix.ENXIO, "SeekData")
	}
	got, err = f.SeekHole(int64(off))
	require.NoError(t, err, "SeekHole")
	if want := seek(false); want >= 0 {
		require.Equal(t, want, got, "SeekHole")
	} else {
		require.GreaterOrEqual(t, got, int64(modelSize), "SeekHole")
	}
}
