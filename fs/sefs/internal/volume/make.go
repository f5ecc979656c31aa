package volume

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"cloister/fs/sefs/internal/format"
	"cloister/fs/sefs/internal/seal"
	"cloister/fs/sefs/internal/store"
)

// Names of the files of a volume, beside the segments and the lock.
const (
	headerName    = "SEFS"
	newHeaderName = headerName + ".new" // a header until it is whole
	headsName     = "heads"
	journalName   = "journal"
)

// MakeConfig says how to make a volume.
type MakeConfig struct {
	Slot    Slot
	UserKey []byte           // of the first slot. 16 bytes: AES-128-GCM; 32 bytes: AES-256-GCM, for life
	Now     func() time.Time // nil: time.Now
}

// Make makes an empty volume in an empty directory, or in one where a Make was
// killed. It makes no inode. If it fails, the directory is left empty.
//
// Errors: EINVAL if the directory is not Vacant or cfg is not valid; EBUSY;
// those of the host.
func Make(ctx context.Context, st store.Store, cfg MakeConfig) (err error) {
	if err := seal.CheckUserKey(cfg.UserKey); err != nil {
		return err
	}
	if err := cfg.Slot.Check(); err != nil {
		return err
	}
	vacant, err := Vacant(st)
	if err != nil {
		return err
	}
	if !vacant {
		return notVacant()
	}
	now := cfg.Now
	if now == nil {
		now = time.Now
	}
	m := maker{st: st}
	defer func() {
		if err != nil {
			m.undo()
		}
		st.Close()
	}()
	lock, err := st.Lock(ReadWrite)
	if err != nil {
		return err
	}
	defer lock.Close()
	m.made = append(m.made, store.LockName)
	if err := clearUnfinished(st); err != nil {
		return err
	}
	return m.run(ctx, cfg, now())
}

// A maker makes the files of a volume and remembers them.
type maker struct {
	st   store.Store
	made []string
}

func (m *maker) undo() {
	for i := len(m.made) - 1; i >= 0; i-- {
		m.st.Unlink(m.made[i])
	}
}

func (m *maker) run(ctx context.Context, cfg MakeConfig, now time.Time) error {
	if err := m.st.Mkdir(segmentsDir); err != nil {
		return err
	}
	m.made = append(m.made, segmentsDir)

	var uuid [16]byte
	seal.Random(uuid[:])
	uuid[6] = uuid[6]&0x0f | 0x40 // RFC 9562: version 4, variant 10
	uuid[8] = uuid[8]&0x3f | 0x80
	cipher := uint8(format.CipherAES128)
	if len(cfg.UserKey) == 32 {
		cipher = format.CipherAES256
	}
	header := format.NewHeader(uuid, cipher, now.Unix())
	secret := seal.NewSecret()
	defer clear(secret[:])
	cfg.Slot.Created = now.Unix()
	if err := header.SetSlot(0, cfg.Slot, cfg.UserKey, &secret); err != nil {
		return err
	}
	encoded, err := header.Encode(&secret)
	if err != nil {
		return err
	}
	ring := seal.NewKeyring(seal.KeyringConfig{Secret: secret, KeySize: header.KeySize()})
	defer ring.Wipe()

	err = m.file(journalName, func(f store.File) error { return fillZeros(f, 0, firstJournal) })
	if err != nil {
		return err
	}
	head, err := sealHead(seal.NewSession(ring, uuid[:]), &format.Head{
		Seq:     1,
		Active:  format.NoSegment,
		Journal: firstJournal,
		Time:    now.UnixNano(),
		Header:  header.Generation,
	}, uuid)
	if err != nil {
		return err
	}
	err = m.file(headsName, func(f store.File) error {
		slots := make([]byte, 2*format.HeadStride)
		for _, at := range headSlots {
			copy(slots[at:], head[:])
		}
		return f.WriteAt(slots, 0)
	})
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return m.header(encoded)
}

// header makes the header, last and whole: without it there is no volume.
func (m *maker) header(encoded []byte) error {
	err := m.file(newHeaderName, func(f store.File) error { return f.WriteAt(encoded, 0) })
	if err != nil {
		return err
	}
	if err := m.st.Rename(newHeaderName, headerName); err != nil {
		return err
	}
	m.made = append(m.made, headerName)
	return m.st.SyncDir()
}

// file makes a file with what fill writes, durably.
func (m *maker) file(name string, fill func(store.File) error) error {
	f, err := m.st.Create(name)
	if err != nil {
		return err
	}
	m.made = append(m.made, name)
	return fillFile(f, fill)
}

// fillFile makes f what fill writes, durably, and closes it.
func fillFile(f store.File, fill func(store.File) error) error {
	err := fill(f)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

// isFull reports whether the host had no room.
func isFull(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}
