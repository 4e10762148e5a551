package e2e

import (
	"errors"
	"io"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// Target is a volume that a workload writes to.
type Target struct {
	Volume int    // number in the history
	Path   string // in a mount
	Size   int64  // bytes

	// Open opens the volume with the flags of open(2) where it is not in a mount of this host; nil if it is.
	Open func(path string, flags int) (File, error) `json:"-"`
}

// File is an open volume.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Sync() error              // fsync
	Punch(off, n int64) error // discard n bytes at off
}

// hostFile is a file of this host.
type hostFile struct{ *os.File }

// Punch makes a hole.
func (f hostFile) Punch(off, n int64) error {
	return retryEINTR(func() error {
		return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	})
}

// retryEINTR calls f again when a signal interrupted it; the runtime sends signals to its own threads.
func retryEINTR(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// open opens the volume.
func (t Target) open(flags int) (File, error) {
	if t.Open != nil {
		return t.Open(t.Path, flags)
	}
	f, err := os.OpenFile(t.Path, flags, 0)
	if err != nil {
		return nil, err
	}
	return hostFile{f}, nil
}

// image opens the volume for checking, see [OpenImage]. The caller closes it.
func (t Target) image() (Image, io.Closer, error) {
	if t.Open == nil {
		return OpenImage(t.Path, t.Volume)
	}
	f, err := t.open(os.O_RDONLY | unix.O_DIRECT)
	return Image{Volume: t.Volume, Size: t.Size, Data: f}, f, err
}

// target is an open volume and the ranges of it that are being written.
type target struct {
	Target
	at    uint8 // its place
	files files

	mu   sync.Mutex
	free *sync.Cond
	busy []span
}

type span struct{ off, end int64 }

// lock waits until no write overlaps the range.
func (t *target) lock(at span) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for slices.ContainsFunc(t.busy, func(b span) bool { return b.off < at.end && at.off < b.end }) {
		t.free.Wait()
	}
	t.busy = append(t.busy, at)
}

func (t *target) unlock(at span) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.busy = slices.DeleteFunc(t.busy, func(b span) bool { return b == at })
	t.free.Broadcast()
}
