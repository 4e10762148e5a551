package replica

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"pairfs/e2e/prefix"
	"pairfs/journal"
)

// watchedFS is the disk of journals that knows which of the tests' blocks are durable on it, and that can be held up or fail. The zero
// value passes everything on to the operating system.
type watchedFS struct {
	mu      sync.Mutex
	written map[prefix.Mark]bool // sectors of hosts' writes that were written since the last flush
	durable map[prefix.Mark]bool // those that were flushed
	hold    chan struct{}        // if set, flushes wait until it is closed
	fail    func(what string) error
	synced  int // flushes that ended well
}

// watchedFile is one journal volume on a watchedFS.
type watchedFile struct {
	journal.File
	fs   *watchedFS
	tail []byte // what was written last, up to end: a sector may go on in the next write. Guarded by fs.mu
	end  int64
}

func newWatchedFS() *watchedFS {
	return &watchedFS{written: map[prefix.Mark]bool{}, durable: map[prefix.Mark]bool{}}
}

func (f *watchedFS) MkdirAll(dir string) error         { return journal.OS.MkdirAll(dir) }
func (f *watchedFS) Rename(from, to string) error      { return journal.OS.Rename(from, to) }
func (f *watchedFS) Remove(name string) error          { return journal.OS.Remove(name) }
func (f *watchedFS) List(dir string) ([]string, error) { return journal.OS.List(dir) }
func (f *watchedFS) SyncDir(dir string) error          { return journal.OS.SyncDir(dir) }

func (f *watchedFS) Open(name string, write bool) (journal.File, error) {
	file, err := journal.OS.Open(name, write)
	return f.watch(file, err)
}

func (f *watchedFS) Create(name string) (journal.File, error) {
	file, err := journal.OS.Create(name)
	return f.watch(file, err)
}

func (f *watchedFS) watch(file journal.File, err error) (journal.File, error) {
	if err != nil {
		return nil, err
	}
	return &watchedFile{File: file, fs: f}, nil
}

// failWith lets operations fail from now on; nil ends it.
func (f *watchedFS) failWith(fail func(what string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = fail
}

func (f *watchedFS) verdict(what string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail == nil {
		return nil
	}
	return f.fail(what)
}

// holdUp makes flushes wait until the function that it returns is called.
func (f *watchedFS) holdUp() (release func()) {
	c := make(chan struct{})
	f.mu.Lock()
	f.hold = c
	f.mu.Unlock()
	return sync.OnceFunc(func() {
		f.mu.Lock()
		f.hold = nil
		f.mu.Unlock()
		close(c)
	})
}

// has reports whether a sector of a host's write is durable.
func (f *watchedFS) has(m prefix.Mark) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.durable[m]
}

func (f *watchedFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.fs.verdict("read"); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f *watchedFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.fs.verdict("write"); err != nil {
		return 0, err
	}
	f.fs.mu.Lock()
	f.watch(p, off)
	f.fs.mu.Unlock()
	return f.File.WriteAt(p, off)
}

// watch finds the sectors that are whole with this write. In a journal they lie at any multiple of 8. Requires fs.mu.
func (f *watchedFile) watch(p []byte, off int64) {
	if begin := f.end - int64(len(f.tail)); begin <= off && off <= f.end {
		f.tail = append(f.tail[:off-begin], p...)
	} else {
		f.tail = append(f.tail[:0], p...)
	}
	f.end = off + int64(len(p))
	first := max(0, len(f.tail)-len(p)-prefix.Sector+8)
	for i := first; i+prefix.Sector <= len(f.tail); {
		if m, _, ok := prefix.ParseMark(f.tail[i : i+prefix.Sector]); ok {
			f.fs.written[m] = true
			i += prefix.Sector
		} else {
			i += 8
		}
	}
	f.tail = append(f.tail[:0], f.tail[max(0, len(f.tail)-tailMax):]...)
}

// tailMax is how much of the last write is remembered: the page that the next one begins with again, and a sector that ends in it.
const tailMax = 8192

func (f *watchedFile) Sync() error {
	f.fs.mu.Lock()
	hold, before := f.fs.hold, f.fs.written
	f.fs.written = map[prefix.Mark]bool{}
	f.fs.mu.Unlock()
	if hold != nil {
		<-hold
	}
	err := f.fs.verdict("sync")
	if err == nil {
		err = f.File.Sync()
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err == nil {
		maps.Copy(f.fs.durable, before)
		f.fs.synced++
	}
	return err
}

// probedStore is the file of a store that asks hook before it changes or flushes anything. p is nil for a range that becomes zeroes.
type probedStore struct {
	storeFile
	volume string
	hook   func(volume, what string, p []byte, off int64) error
}

func (s *probedStore) WriteAt(p []byte, off int64) (int, error) {
	if err := s.hook(s.volume, "write", p, off); err != nil {
		return 0, err
	}
	return s.storeFile.WriteAt(p, off)
}

func (s *probedStore) Writev(bufs [][]byte, off int64) (int, error) {
	if err := s.hook(s.volume, "write", bytes.Join(bufs, nil), off); err != nil {
		return 0, err
	}
	return s.storeFile.Writev(bufs, off)
}

func (s *probedStore) Fallocate(mode uint32, off, n int64) error {
	if err := s.hook(s.volume, "punch", nil, off); err != nil {
		return err
	}
	return s.storeFile.Fallocate(mode, off, n)
}

func (s *probedStore) Sync() error {
	if err := s.hook(s.volume, "sync", nil, 0); err != nil {
		return err
	}
	return s.storeFile.Sync()
}

// probe gives a Config.wrapStore that asks hook.
func probe(hook func(volume, what string, p []byte, off int64) error) func(string, storeFile) storeFile {
	return func(volume string, f storeFile) storeFile { return &probedStore{f, volume, hook} }
}

// numbersIn gives the numbers of the writes whose sectors are in p.
func numbersIn(p []byte) (list []uint64) {
	for _, m := range marksIn(p) {
		if len(list) == 0 || list[len(list)-1] != m.Counter {
			list = append(list, m.Counter)
		}
	}
	return list
}

// marksIn gives what the sectors in p say of themselves.
func marksIn(p []byte) (list []prefix.Mark) {
	for i := 0; i+prefix.Sector <= len(p); i += prefix.Sector {
		if m, _, ok := prefix.ParseMark(p[i : i+prefix.Sector]); ok {
			list = append(list, m)
		}
	}
	return list
}

// mortalStores are stores that lose power, or a flush: what was not flushed survives by the choice of a seed, block by block.
type mortalStores struct {
	mu    sync.Mutex
	rng   *rand.Rand // of what a flush that failed has lost
	files map[string]*mortalStore
}

type mortalStore struct {
	storeFile
	all  *mortalStores
	old  map[int64][]byte // content at the last flush of blocks changed since
	gone map[int64][]byte // the same of blocks that a failed flush lost: the system shows what was written until it drops it from its memory
}

func newMortalStores() *mortalStores {
	return &mortalStores{files: map[string]*mortalStore{}, rng: newRand(1)}
}

// wrap is a Config.wrapStore. What a daemon that died did not flush is not flushed yet; what a failed flush lost is gone now.
func (m *mortalStores) wrap(volume string, f storeFile) storeFile {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &mortalStore{storeFile: f, all: m, old: map[int64][]byte{}, gone: map[int64][]byte{}}
	size, _, err := f.Stat()
	if was := m.files[volume]; was != nil && err == nil && size > 0 {
		s.old = was.old
		err = s.undo(was.gone, m.rng)
	}
	if err != nil {
		panic(fmt.Sprintf("volume %s: %v", volume, err))
	}
	m.files[volume] = s
	return s
}

// lose is a flush of a volume's store that fails.
func (m *mortalStores) lose(volume string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.files[volume]
	if s == nil {
		return // the power was cut at this moment, which took it already
	}
	maps.Copy(s.gone, s.old)
	s.old = map[int64][]byte{}
}

// undo takes some of the blocks back to what they were.
func (s *mortalStore) undo(was map[int64][]byte, rng *rand.Rand) error {
	for _, b := range slices.Sorted(maps.Keys(was)) {
		if rng.IntN(2) == 0 {
			continue
		}
		if _, err := s.storeFile.WriteAt(was[b], b*blockSize); err != nil {
			return fmt.Errorf("undo block %d: %w", b, err)
		}
	}
	return nil
}

// cut is the power cut; from then on the files cannot be reached until they are opened anew.
func (m *mortalStores) cut(rng *rand.Rand) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(m.files)) {
		s := m.files[name]
		if err := errors.Join(s.undo(s.gone, rng), s.undo(s.old, rng)); err != nil {
			return fmt.Errorf("volume %s: %w", name, err)
		}
		s.old = nil
	}
	m.files = map[string]*mortalStore{}
	return nil
}

// change runs a change of a range after the old content was kept.
func (s *mortalStore) change(off, n int64, do func() error) error {
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	if s.old == nil {
		return unix.EIO
	}
	for b := off / blockSize; b*blockSize < off+n; b++ {
		if lost := s.gone[b]; lost != nil {
			s.old[b] = lost // it is written again by the next flush
			delete(s.gone, b)
		}
		if s.old[b] == nil {
			was := make([]byte, blockSize)
			if _, err := s.storeFile.ReadAt(was, b*blockSize); err != nil && len(was) == 0 {
				return err
			}
			s.old[b] = was
		}
	}
	return do()
}

func (s *mortalStore) WriteAt(p []byte, off int64) (n int, err error) {
	err = s.change(off, int64(len(p)), func() error { n, err = s.storeFile.WriteAt(p, off); return err })
	return n, err
}

func (s *mortalStore) Writev(bufs [][]byte, off int64) (n int, err error) {
	err = s.change(off, int64(len(bytes.Join(bufs, nil))), func() error { n, err = s.storeFile.Writev(bufs, off); return err })
	return n, err
}

func (s *mortalStore) Fallocate(mode uint32, off, n int64) error {
	return s.change(off, n, func() error { return s.storeFile.Fallocate(mode, off, n) })
}

func (s *mortalStore) Sync() error {
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	if s.old == nil {
		return unix.EIO
	}
	s.old = map[int64][]byte{}
	return s.storeFile.Sync()
}
