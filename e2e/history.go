package e2e

import (
	"slices"
	"sync"
)

// Stamp is a moment of a history: every begin and every acknowledgement of a write has its own, and later ones are larger. A write
// whose End is smaller than the Start of another came before it for every observer.
type Stamp uint64

// Always is later than every stamp: as a floor it demands every acknowledged write.
const Always = ^Stamp(0)

// Write is one write of a history.
type Write struct {
	Counter uint64 // its number, from 1
	Writer  int
	Volume  int
	Off     int64  // bytes; a multiple of [Sector]
	Len     int64  // bytes; a multiple of [Sector]
	Zero    bool   // a discard: the range reads as zeroes afterwards
	Run     uint64 // of the history that it was begun in
	GivenUp bool   // a history that was forked goes on without it
	Start   Stamp  // before it was issued
	End     Stamp  // after it was acknowledged; 0 if it never was
}

// History is what a workload did: each write with the moments between which it happened. It lives in the memory of the test, so that
// nothing under test can lose it. Writes that overlap must not be in flight together, which the workload sees to, or only [CheckOverlapping] can
// tell what they left. Safe for concurrent use.
type History struct {
	run uint64

	mu     sync.Mutex
	clock  Stamp
	writes []Write // by Counter-1
	synced Stamp
}

// NewHistory makes an empty history. run tells its payloads from those of any other history.
func NewHistory(run uint64) *History { return &History{run: run} }

// Run returns the number that marks the history's payloads.
func (h *History) Run() uint64 { return h.run }

// Begin records that a write is about to be issued and returns its counter.
func (h *History) Begin(w Write) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clock++
	w.Start, w.End, w.Counter, w.Run = h.clock, 0, uint64(len(h.writes)+1), h.run
	h.writes = append(h.writes, w)
	return w.Counter
}

// Fork begins the history that goes on from a prefix of this one, as hosts do at an S-VOL that was taken over. All of the prefix is there for good,
// whether it was acknowledged or not; the rest is given up, and a check of the fork does not bear a trace of it. This history may go on as well:
// run tells the payloads of the two apart.
func (h *History) Fork(run uint64, p Prefix) *History {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := &History{run: run, clock: h.clock + 1, writes: slices.Clone(h.writes[:len(p.in)])}
	for i := range f.writes {
		w := &f.writes[i]
		switch {
		case !p.in[i]:
			w.GivenUp = true
		case w.End == 0:
			w.End = f.clock
		}
	}
	return f
}

// Ack records that the write was acknowledged. A write that failed is never acknowledged: it may have happened or not.
func (h *History) Ack(counter uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clock++
	h.writes[counter-1].End = h.clock
}

// Now returns a stamp between all that happened before the call and all that happens after it.
func (h *History) Now() Stamp {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clock++
	return h.clock
}

// Synced records that a sync that was issued at the stamp begun has completed: what was acknowledged before begun is promised to
// survive a power cut.
func (h *History) Synced(begun Stamp) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.synced = max(h.synced, begun)
}

// SyncedFloor returns the stamp before which every acknowledged write was promised to survive a power cut.
func (h *History) SyncedFloor() Stamp {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.synced
}

// Writes returns a copy of all writes so far, in the order of their counters, which is that of their Start.
func (h *History) Writes() []Write {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Write(nil), h.writes...)
}

// Len returns the number of writes so far.
func (h *History) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.writes)
}
