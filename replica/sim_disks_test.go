package replica

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"pairfs/journal/journaltest"
)

// simDisks is what is wrong with the disks of a site. The zero value is nothing.
type simDisks struct {
	mu      sync.Mutex
	looking bool // the checks read: nothing fails them

	stores  syscall.Errno // what a write to a store gives, 0: it is taken
	tried   int           // how often that was tried at one moment
	triedAt time.Time
	flush   bool // the next flush of a store that is in a pair fails
	flushed bool // one did: only another start of the daemon helps, which finds a part of what was written
	noRoom  bool // the disk of the journals has no room for another file
	noDB    bool // the database takes nothing
	journal *journalFault

	flushes atomic.Int64 // how long a flush of a journal takes, and of a store that is in a pair, ns
}

// journalFault lets operations on the files of journals fail, once or from then on.
type journalFault struct {
	kinds   []journaltest.OpKind
	skip    int // so many go well before
	lasting bool
	err     error
}

// randomFault draws how the disk of the journals fails.
func randomFault(rng *rand.Rand) *journalFault {
	kinds := [][]journaltest.OpKind{{journaltest.OpWrite}, {journaltest.OpSync}, {journaltest.OpWrite, journaltest.OpSync}, {journaltest.OpRead}}
	return &journalFault{
		kinds: kinds[rng.IntN(len(kinds))], skip: rng.IntN(4), lasting: rng.IntN(2) == 0,
		err: []error{unix.EIO, unix.ENOSPC}[rng.IntN(2)],
	}
}

// change breaks or mends something.
func (d *simDisks) change(do func(d *simDisks)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	do(d)
}

// anew is a start of the daemon on disks that fail no more. Full ones stay so.
func (d *simDisks) anew() { d.flush, d.flushed, d.journal = false, false, nil }

// well mends everything but what only a start of the daemon mends.
func (d *simDisks) well() {
	d.stores, d.flush, d.noRoom, d.journal = 0, false, false, nil
	d.flushes.Store(0)
}

// ill reports whether an error may be the disks' fault.
func (d *simDisks) ill() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stores != 0 || d.flush || d.flushed || d.noRoom || d.noDB || d.journal != nil
}

// lostFlush reports whether a flush of a store failed since the daemon started.
func (d *simDisks) lostFlush() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.flushed
}

// storeFault is the hook of a [probe].
func (s *simSite) storeFault(volume, what string, _ []byte, _ int64) error {
	paired := s.journaled(volume)
	d := &s.disks
	if what == "sync" && paired { // restore goes on meanwhile
		time.Sleep(time.Duration(d.flushes.Load()))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case what == "sync" && d.flush && paired:
		d.flush, d.flushed = false, true
		s.stores.lose(volume)
		s.fail()
		s.world.met("flushes of a store that failed")
		return unix.EIO
	case what == "write" && d.stores != 0, what == "punch" && d.stores == unix.EIO:
		d.try()
		return d.stores
	}
	return nil
}

// try ends a run in which a store that fails is tried again and again: virtual time would stand still for ever. Requires mu.
func (d *simDisks) try() {
	if now := time.Now(); now != d.triedAt {
		d.tried, d.triedAt = 0, now
	}
	if d.tried++; d.tried > 1000 {
		panic("a store that takes nothing is tried again and again, without a pause")
	}
}

// fail notes that a disk failed once.
func (s *simSite) fail() {
	s.hurt.Add(1)
	s.fired.Add(1)
}

// journaled reports whether a journal holds what a flush of the volume's store that fails may lose. Of others a host that flushes is told.
func (s *simSite) journaled(volume string) bool {
	site := s.up.Load()
	if site == nil {
		return false // it is being opened: the journal is not there yet
	}
	p := site.pairByName(volume)
	return p != nil && !p.att.direct.Load()
}

// journalFault decides about one operation of the disk of the journals.
func (s *simSite) journalFault(op journaltest.Op) error {
	d := &s.disks
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.looking {
		return nil
	}
	if d.noRoom && (op.Kind == journaltest.OpCreate || op.Kind == journaltest.OpPreallocate) {
		return unix.ENOSPC
	}
	f := d.journal
	if f == nil || !slices.Contains(f.kinds, op.Kind) {
		return nil
	}
	if f.skip--; f.skip >= 0 {
		return nil
	}
	if !f.lasting {
		d.journal = nil
	}
	s.fail()
	s.world.met(fmt.Sprintf("journal disks that failed (%v)", f.kinds))
	return f.err
}

// doDisks breaks or mends the disks of a site.
func (w *world) doDisks(s simStep, site *simSite, rng *rand.Rand) {
	site.hurt.Add(1)
	switch s.kind {
	case simNoStates:
		site.failStates(rng)
	case simMend:
		site.mendStates()
	}
	site.disks.change(func(d *simDisks) {
		switch s.kind {
		case simSick:
			d.stores = unix.EIO
		case simFull:
			d.stores = unix.ENOSPC
		case simSlowDisk:
			d.flushes.Store(int64([]time.Duration{time.Millisecond, 15 * time.Millisecond, 200 * time.Millisecond, activeWatch + 10*time.Second}[rng.IntN(4)])) // the last makes a secondary mute
		case simBadFlush:
			d.flush = true
		case simNoRoom:
			d.noRoom = true
		case simBadDisk:
			d.journal = randomFault(rng)
		case simMend:
			d.well()
		}
	})
}

// failStates lets the database of a site that is up take nothing, until mendStates or the end of the daemon.
func (s *simSite) failStates(rng *rand.Rand) {
	if s.site == nil || s.stateless.mend != nil {
		return
	}
	s.disks.change(func(d *simDisks) { d.noDB = true })
	file, flags := "/dev/full", unix.O_WRONLY
	if rng.IntN(2) == 0 {
		file, flags = "/dev/null", unix.O_RDONLY
	}
	s.stateless.mend, s.stateless.left = s.failDatabase(file, flags)
}

// mendStates lets the database take everything again.
func (s *simSite) mendStates() {
	if s.stateless.mend != nil {
		s.stateless.mend()
		s.fired.Add(1) // what it refused before may be told behind this
	}
	s.statesEnd()
}

// statesLeft lets go of the database of a daemon that has ended. Its disk is good when it starts again.
func (s *simSite) statesLeft() {
	if s.stateless.left != nil {
		s.stateless.left()
	}
	s.statesEnd()
}

func (s *simSite) statesEnd() {
	s.stateless.mend, s.stateless.left = nil, nil
	s.disks.change(func(d *simDisks) { d.noDB = false })
}
