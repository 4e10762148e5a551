package fs

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"pairfs/replica"
)

// fakeBlock is the grain in which a fakeVolume knows data and holes.
const fakeBlock = 4096

// fakeWrite is one WriteAt as it came.
type fakeWrite struct {
	Off  int64
	N    int
	Sync bool
}

// fakeVolume is a volume in memory.
type fakeVolume struct {
	id uint64

	mu       sync.Mutex
	name     string
	data     []byte
	blocks   map[int64]bool // those that are no holes
	mod      time.Time
	paired   bool
	readonly bool
	full     bool // writes wait until they are interrupted
	removed  bool
	panics   bool // the next read does
	writes   []fakeWrite
	syncs    int
	waiting  int
	readers  int
	writers  int
}

func (v *fakeVolume) Name() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.name
}

func (v *fakeVolume) ID() uint64 { return v.id }

func (v *fakeVolume) Removed() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.removed
}

func (v *fakeVolume) Size() int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return int64(len(v.data))
}

func (v *fakeVolume) Allocated() int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return int64(len(v.blocks)) * fakeBlock
}

func (v *fakeVolume) ModTime() time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.mod
}

func (v *fakeVolume) isPaired() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.paired
}

func (v *fakeVolume) handles() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.readers + v.writers
}

func (v *fakeVolume) Writable() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.readonly {
		return kindError(replica.KindSecondary, "the volume is an S-VOL; write to its P-VOL")
	}
	return nil
}

func (v *fakeVolume) ReadAt(p []byte, off int64) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.panics {
		panic("asked to")
	}
	if off >= int64(len(v.data)) {
		return 0, nil
	}
	return copy(p, v.data[off:]), nil
}

func (v *fakeVolume) WriteAt(ctx context.Context, p []byte, off int64, sync bool) (int, error) {
	if err := v.Writable(); err != nil {
		return 0, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.full {
		v.waiting++
		v.mu.Unlock()
		<-ctx.Done()
		v.mu.Lock()
		v.waiting--
		return 0, ctx.Err()
	}
	if err := v.reach(off + int64(len(p))); err != nil {
		return 0, err
	}
	copy(v.data[off:], p)
	v.touch(off, int64(len(p)), true)
	v.writes = append(v.writes, fakeWrite{off, len(p), sync})
	return len(p), nil
}

// reach grows the volume to size, if it may.
func (v *fakeVolume) reach(size int64) error {
	if size <= int64(len(v.data)) {
		return nil
	}
	if v.paired {
		return kindError(replica.KindNoSpace, "a paired volume does not grow")
	}
	v.data = append(v.data, make([]byte, size-int64(len(v.data)))...)
	return nil
}

// touch marks the blocks of a range as data or holes.
func (v *fakeVolume) touch(off, n int64, data bool) {
	v.mod = time.Now()
	for b := off / fakeBlock; n > 0 && b <= (off+n-1)/fakeBlock; b++ {
		if data {
			v.blocks[b] = true
		} else {
			delete(v.blocks, b)
		}
	}
}

func (v *fakeVolume) Discard(_ context.Context, off, n int64) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	n = min(n, int64(len(v.data))-off)
	clear(v.data[off : off+n])
	v.touch(off, n, false)
	return nil
}

func (v *fakeVolume) Zero(_ context.Context, off, n int64, keepSize bool) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !keepSize {
		if err := v.reach(off + n); err != nil {
			return err
		}
	}
	n = max(0, min(n, int64(len(v.data))-off))
	clear(v.data[off : off+n])
	return nil
}

func (v *fakeVolume) Allocate(_ context.Context, off, n int64, keepSize bool) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !keepSize {
		if err := v.reach(off + n); err != nil {
			return err
		}
	}
	v.touch(off, n, true)
	return nil
}

func (v *fakeVolume) Resize(_ context.Context, size int64) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.paired {
		return kindError(replica.KindBusy, "the volume is paired; delete the pair first")
	}
	if size < int64(len(v.data)) {
		v.data = v.data[:size:size]
	}
	return v.reach(size)
}

func (v *fakeVolume) Sync(ctx context.Context) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.syncs++
	return ctx.Err()
}

func (v *fakeVolume) SeekData(off int64) (int64, error) { return v.seek(off, true) }
func (v *fakeVolume) SeekHole(off int64) (int64, error) { return v.seek(off, false) }

func (v *fakeVolume) seek(off int64, data bool) (int64, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	size := int64(len(v.data))
	for at := off; at < size; at = (at/fakeBlock + 1) * fakeBlock {
		if v.blocks[at/fakeBlock] == data {
			return at, nil
		}
	}
	if data || off >= size {
		return 0, unix.ENXIO
	}
	return size, nil
}

func (v *fakeVolume) Opened(write bool) { v.handle(write, 1) }
func (v *fakeVolume) Closed(write bool) { v.handle(write, -1) }

func (v *fakeVolume) handle(write bool, by int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if write {
		v.writers += by
	} else {
		v.readers += by
	}
}
