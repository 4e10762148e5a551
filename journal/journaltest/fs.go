package journaltest

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"sort"
	"sync"

	"pairfs/journal"
)

// The errors of an FS besides those of package io/fs.
var (
	// ErrDead is what files opened before Crash or Kill give.
	ErrDead = errors.New("file was opened before the crash")
	// ErrInjected is what FailNth makes an operation give.
	ErrInjected = errors.New("injected failure")
)

// FS is a journal.FS in memory. All methods may be called from any goroutine.
type FS struct {
	mu       sync.Mutex
	life     int               // counts crashes; a file of an earlier life is dead
	dirs     map[string]bool   // folders; durable at once, as journal.FS demands of MkdirAll
	names    map[string]*inode // as the process sees them
	durable  map[string]*inode // as of the last SyncDir of their folder
	locked   map[*inode]int    // life in which a file was opened for writing and not closed
	inject   func(Op) error
	count    int
	injected bool
}

// NewFS makes an empty file system.
func NewFS() *FS {
	return &FS{dirs: map[string]bool{}, names: map[string]*inode{}, durable: map[string]*inode{}, locked: map[*inode]int{}}
}

var _ journal.FS = (*FS)(nil)

// Crash is a power cut. The seed decides what of the unsynced survives; sector is the size that the disk writes whole, 512 or 4096.
func (f *FS) Crash(seed uint64, sector int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	rng := rand.New(rand.NewPCG(seed, 1))
	f.life++
	seen := map[string]bool{}
	var all []string
	for _, m := range []map[string]*inode{f.names, f.durable} {
		for n := range m {
			if !seen[n] {
				seen[n], all = true, append(all, n)
			}
		}
	}
	sort.Strings(all) // so that the seed alone decides
	done := map[*inode]bool{}
	for _, n := range all {
		if f.names[n] != f.durable[n] && rng.IntN(2) == 0 {
			set(f.names, n, f.durable[n])
		}
		set(f.durable, n, f.names[n])
		if ino := f.names[n]; ino != nil && !done[ino] {
			done[ino] = true
			ino.crash(rng, sector)
		}
	}
}

// Kill is the death of the process: everything written stays, and stays unsynced.
func (f *FS) Kill() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.life++
}

// set is m[n] = ino, or its deletion for nil.
func set(m map[string]*inode, n string, ino *inode) {
	if ino == nil {
		delete(m, n)
		return
	}
	m[n] = ino
}

// Corrupt changes bytes of a file in place, synced at once: damage that no crash makes. change gets the n bytes at off.
func (f *FS) Corrupt(name string, off, n int64, change func(b []byte)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	ino := f.names[name]
	if ino == nil || off+n > int64(len(ino.data)) {
		return fmt.Errorf("corrupt %s at %d: %w", name, off, fs.ErrNotExist)
	}
	change(ino.data[off : off+n])
	for b := off / block; b <= (off+n-1)/block; b++ {
		delete(ino.dirty, b)
	}
	return nil
}

// MkdirAll implements journal.FS.
func (f *FS) MkdirAll(dir string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.op(OpMkdir, dir); err != nil {
		return err
	}
	f.dirs[dir] = true
	return nil
}

// Open implements journal.FS.
func (f *FS) Open(name string, write bool) (journal.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.op(OpOpen, name); err != nil {
		return nil, err
	}
	ino := f.names[name]
	if ino == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	if life, ok := f.locked[ino]; write && ok && life == f.life {
		return nil, fmt.Errorf("open %s: it is open for writing already", name)
	}
	if write {
		f.locked[ino] = f.life
	}
	return &file{fs: f, ino: ino, name: name, life: f.life, write: write}, nil
}

// Create implements journal.FS.
func (f *FS) Create(name string) (journal.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.op(OpCreate, name); err != nil {
		return nil, err
	}
	if f.names[name] != nil {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	}
	if !f.dirs[filepath.Dir(name)] {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrNotExist}
	}
	ino := &inode{dirty: map[int64][]byte{}}
	f.names[name], f.locked[ino] = ino, f.life
	return &file{fs: f, ino: ino, name: name, life: f.life, write: true}, nil
}

// Rename implements journal.FS.
func (f *FS) Rename(from, to string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.op(OpRename, to); err != nil {
		return err
	}
	if f.names[from] == nil {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	if f.names[to] != nil {
		return &fs.PathError{Op: "rename", Path: to, Err: fs.ErrExist}
	}
	f.names[to] = f.names[from]
	delete(f.names, from)
	return nil
}

// Remove implements journal.FS.
func (f *FS) Remove(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.op(OpRemove, name); err != nil {
		return err
	}
	if f.names[name] == nil {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	delete(f.names, name)
	return nil
}

// List implements journal.FS.
func (f *FS) List(dir string) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.op(OpList, dir); err != nil {
		return nil, err
	}
	if !f.dirs[dir] {
		return nil, &fs.PathError{Op: "list", Path: dir, Err: fs.ErrNotExist}
	}
	var list []string
	for n := range f.names {
		if filepath.Dir(n) == dir {
			list = append(list, filepath.Base(n))
		}
	}
	sort.Strings(list)
	return list, nil
}

// SyncDir implements journal.FS.
func (f *FS) SyncDir(dir string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.op(OpSyncDir, dir); err != nil {
		return err
	}
	for n := range f.durable {
		if filepath.Dir(n) == dir {
			set(f.durable, n, f.names[n])
		}
	}
	for n, ino := range f.names {
		if filepath.Dir(n) == dir {
			f.durable[n] = ino
		}
	}
	return nil
}
