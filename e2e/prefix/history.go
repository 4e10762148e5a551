package prefix

import "sync"

// Stamp is a moment of a history: every begin and every end of a write has its own, and later ones are larger. A write that ended before
// another began came before it for every observer.
type Stamp uint64

// Always is later than every stamp.
const Always = ^Stamp(0)

// Write is one write of a history.
type Write struct {
	Counter uint64 // its number, from 1
	Writer  int
	Volume  int
	Off     int64  // bytes; a multiple of [Sector]
	Len     int64  // bytes; a multiple of [Sector]
	Zero    bool   // a discard: the range reads as zeroes afterwards
	Sync    bool   // synchronous: once acknowledged it survives a power cut, and so does all that was acknowledged before it began
	Run     uint64 // of the history that it was begun in
	Direct  bool   // it may have gone straight to a store, in pieces: of two that were under way together each may be over the other in some sectors
	GivenUp bool   // a history that was forked goes on without it
	Start   Stamp  // before it was issued
	End     Stamp  // after it was acknowledged; 0 if it never was
	Failed  Stamp  // after it came back with an error: it happened before that or never; 0 if it was acknowledged or may still happen
}

// over is the moment after which it cannot happen any more, 0 if it always may.
func (w *Write) over() Stamp { return max(w.End, w.Failed) }

// before reports whether every observer saw the write before another.
func (w *Write) before(o *Write) bool {
	over := w.over()
	return over != 0 && over < o.Start
}

// touches reports whether both are of one volume and have a sector in common.
func (w *Write) touches(o *Write) bool {
	return w.Volume == o.Volume && w.Off < o.Off+o.Len && o.Off < w.Off+w.Len
}

// covers reports whether the write is of that sector, if it is of that volume.
func (w *Write) covers(sector int) bool {
	off := int64(sector) * Sector
	return w.Off <= off && off < w.Off+w.Len
}

// History is what a workload did: each write with the moments between which it happened. It lives in the memory of the test, so that
// nothing under test can lose it. Safe for concurrent use.
type History struct {
	run  uint64
	past map[uint64]bool  // runs of which nothing may be there but what base has
	base map[int][]origin // by volume and sector: what was there when it began, where that is not zeroes

	mu      sync.Mutex
	clock   Stamp
	writes  []Write // by Counter-1
	synced  Stamp   // what was acknowledged before it survives a power cut
	checker checker // reused by each check
}

// origin names the write of another history that a sector holds; zero: zeroes.
type origin struct{ run, counter uint64 }

// NewHistory makes an empty history, of volumes of zeroes. run tells its payloads from those of any other history.
func NewHistory(run uint64) *History { return &History{run: run} }

// Run returns the number that marks the history's payloads.
func (h *History) Run() uint64 { return h.run }

// Past reports whether a run is of a history that this one was begun anew from ([Restart]).
func (h *History) Past(run uint64) bool { return h.past[run] }

// Begin records that a write is about to be issued and returns its counter.
func (h *History) Begin(w Write) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clock++
	w.Start, w.End, w.Failed, w.Counter, w.Run = h.clock, 0, 0, uint64(len(h.writes)+1), h.run
	h.writes = append(h.writes, w)
	return w.Counter
}

// Ack records that the write was acknowledged.
func (h *History) Ack(counter uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clock++
	w := &h.writes[counter-1]
	w.End = h.clock
	if w.Sync {
		h.synced = max(h.synced, w.Start)
	}
}

// Fail records that the write came back with an error: it may have happened or not, but it will not happen any more.
func (h *History) Fail(counter uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clock++
	h.writes[counter-1].Failed = h.clock
}

// Direct records that a write may have gone straight to a store: a volume that is in no pair, or whose journal failed, has no order of its own.
// It is to be called before [History.Ack] or [History.Fail].
func (h *History) Direct(counter uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.writes[counter-1].Direct = true
}

// FailAll is Fail of every write under way: whoever wrote is no more.
func (h *History) FailAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failAll()
}

// failAll requires mu.
func (h *History) failAll() {
	h.clock++
	for i := range h.writes {
		if w := &h.writes[i]; w.over() == 0 {
			w.Failed = h.clock
		}
	}
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

// Writes returns a copy of all writes so far, in the order of their counters, which is that of their Start.
func (h *History) Writes() []Write {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Write(nil), h.writes...)
}

// Write returns the write of that number, ok if there is one.
func (h *History) Write(counter uint64) (w Write, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if counter == 0 || counter > uint64(len(h.writes)) {
		return Write{}, false
	}
	return h.writes[counter-1], true
}

// Len returns the number of writes so far.
func (h *History) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.writes)
}
