package replica

import (
	"sync"

	"golang.org/x/sys/unix"
)

// playFaults are what a play can break at one site: stores of volumes, the disk of the journals; and what it can hold up: restores and
// flushes of the journal.
type playFaults struct {
	disk *watchedFS

	mu     sync.Mutex
	stores map[string]string // volume: write, sync or read
	bad    bool              // something was broken since the site was opened
	held   map[string]func() // what: lets it go on
}

func newPlayFaults() *playFaults {
	return &playFaults{disk: newWatchedFS(), stores: map[string]string{}, held: map[string]func(){}}
}

// use puts the faults under a site.
func (f *playFaults) use(c *Config) {
	c.journalFS = f.disk
	c.wrapStore = func(volume string, file storeFile) storeFile {
		inner := &probedStore{file, volume, func(volume, what string, _ []byte, _ int64) error { return f.verdict(volume, what) }}
		return &readProbe{inner, volume, f}
	}
}

// readProbe is a store whose reads fail too.
type readProbe struct {
	storeFile
	volume string
	faults *playFaults
}

func (s *readProbe) ReadAt(p []byte, off int64) (int, error) {
	if err := s.faults.verdict(s.volume, "read"); err != nil {
		return 0, err
	}
	return s.storeFile.ReadAt(p, off)
}

func (f *playFaults) verdict(volume, what string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if w := f.stores[volume]; w == what || w == "write" && what == "punch" {
		return unix.EIO
	}
	return nil
}

func (f *playFaults) breakStore(volume, what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stores[volume], f.bad = what, true
}

func (f *playFaults) breakJournal(what string) {
	f.mu.Lock()
	f.bad = true
	f.mu.Unlock()
	giveUp(f.disk, what)
}

// mend ends all that is broken.
func (f *playFaults) mend() {
	f.disk.failWith(nil)
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.stores)
}

// forgive reports whether anything was broken since it was asked last.
func (f *playFaults) forgive() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.bad
	f.bad = false
	return was
}

// hold remembers how something that was stopped goes on.
func (f *playFaults) hold(what string, goOn func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held[what] = goOn
}

// letGoOf ends one hold, if there is one.
func (f *playFaults) letGoOf(what string) {
	f.mu.Lock()
	goOn := f.held[what]
	delete(f.held, what)
	f.mu.Unlock()
	if goOn != nil {
		goOn()
	}
}

// letGo ends every hold.
func (f *playFaults) letGo() {
	f.mu.Lock()
	held := f.held
	f.held = map[string]func(){}
	f.mu.Unlock()
	for _, goOn := range held {
		goOn()
	}
}
