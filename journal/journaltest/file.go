package journaltest

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"sort"
	"unsafe"

	"pairfs/journal"
)

// block is what is lost or kept as one unless the sector is smaller.
const block = 4096

var zeroes [block]byte

// inode is the content of a file: as written, and for each block written since the last sync what it was before.
type inode struct {
	data       []byte
	syncedSize int
	dirty      map[int64][]byte // block number → synced content; nil where it was not there or zero
}

// crash decides by rng what of the unsynced survives.
func (i *inode) crash(rng *rand.Rand, sector int) {
	blocks := make([]int64, 0, len(i.dirty))
	for b := range i.dirty {
		blocks = append(blocks, b)
	}
	sort.Slice(blocks, func(x, y int) bool { return blocks[x] < blocks[y] })
	for _, b := range blocks {
		old := i.dirty[b]
		if old == nil {
			old = make([]byte, block)
		}
		cur := i.data[b*block : min(int64(len(i.data)), (b+1)*block)]
		for s := 0; s < len(cur); s += sector {
			if rng.IntN(2) == 0 {
				copy(cur[s:min(s+sector, len(cur))], old[s:])
			}
		}
	}
	if len(i.data) != i.syncedSize && rng.IntN(2) == 0 {
		i.data = append(i.data[:min(len(i.data), i.syncedSize)], make([]byte, max(0, i.syncedSize-len(i.data)))...)
	}
	i.sync()
}

func (i *inode) sync() {
	i.dirty = map[int64][]byte{}
	i.syncedSize = len(i.data)
}

// keep notes the synced content of the blocks from off to end before they change.
func (i *inode) keep(off, end int64) {
	for b := off / block; b*block < end; b++ {
		if _, ok := i.dirty[b]; !ok {
			i.dirty[b] = nil
			if b*block >= int64(len(i.data)) {
				continue
			}
			if old := i.data[b*block : min(int64(len(i.data)), (b+1)*block)]; !bytes.Equal(old, zeroes[:len(old)]) {
				i.dirty[b] = bytes.Clone(old)
			}
		}
	}
}

// file is an open file. All of it is guarded by the mutex of the FS.
type file struct {
	fs    *FS
	ino   *inode
	name  string
	life  int
	write bool
}

// enter locks the file system and checks the file and the alignment that O_DIRECT demands.
func (f *file) enter(kind OpKind, p []byte, off int64) error {
	f.fs.mu.Lock()
	if f.life != f.fs.life {
		return fmt.Errorf("%s %s: %w", kind, f.name, ErrDead)
	}
	if len(p) > 0 && (off%journal.PageSize != 0 || len(p)%journal.PageSize != 0 || uintptr(unsafe.Pointer(&p[0]))%journal.PageSize != 0) {
		return fmt.Errorf("%s %s: %d bytes at offset %d, memory at %p: not aligned to pages", kind, f.name, len(p), off, p)
	}
	return f.fs.op(kind, f.name)
}

// ReadAt implements journal.File.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	defer f.fs.mu.Unlock()
	if err := f.enter(OpRead, p, off); err != nil {
		return 0, err
	}
	if off >= int64(len(f.ino.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.ino.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt implements journal.File. An injected failure writes the first half, as a real one may.
func (f *file) WriteAt(p []byte, off int64) (int, error) {
	defer f.fs.mu.Unlock()
	err := f.enter(OpWrite, p, off)
	if f.life != f.fs.life || !f.write {
		return 0, err
	}
	if err != nil {
		p = p[:len(p)/2]
	}
	end := off + int64(len(p))
	f.ino.keep(off, end)
	if grow := end - int64(len(f.ino.data)); grow > 0 {
		f.ino.data = append(f.ino.data, make([]byte, grow)...)
	}
	return copy(f.ino.data[off:], p), err
}

// Sync implements journal.File.
func (f *file) Sync() error {
	defer f.fs.mu.Unlock()
	if err := f.enter(OpSync, nil, 0); err != nil {
		return err
	}
	f.ino.sync()
	return nil
}

// Preallocate implements journal.File.
func (f *file) Preallocate(size int64) error {
	defer f.fs.mu.Unlock()
	if err := f.enter(OpPreallocate, nil, 0); err != nil {
		return err
	}
	if grow := size - int64(len(f.ino.data)); grow > 0 {
		f.ino.data = append(f.ino.data, make([]byte, grow)...)
	}
	return nil
}

// Truncate implements journal.File. What it cuts may come back as zeroes if it was not synced.
func (f *file) Truncate(size int64) error {
	defer f.fs.mu.Unlock()
	if err := f.enter(OpTruncate, nil, 0); err != nil {
		return err
	}
	f.ino.data = f.ino.data[:min(size, int64(len(f.ino.data)))]
	for b := range f.ino.dirty {
		if b*block >= size {
			delete(f.ino.dirty, b)
		}
	}
	return nil
}

// Size implements journal.File.
func (f *file) Size() (int64, error) {
	defer f.fs.mu.Unlock()
	err := f.enter(OpSize, nil, 0)
	return int64(len(f.ino.data)), err
}

// Close implements journal.File.
func (f *file) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.life != f.fs.life {
		return nil
	}
	if f.write {
		delete(f.fs.locked, f.ino)
	}
	return f.fs.op(OpClose, f.name)
}
