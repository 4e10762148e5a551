package prefix

import (
	"fmt"
	"maps"
	"slices"
)

// Lose records that a power cut took what is not in the prefix that [Synced] was checked with, and that whoever wrote is no more. What is not
// there may be there or not from now on, as if it had never been acknowledged: it may be hidden in what the volumes hold.
func (h *History) Lose(p Prefix) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failAll()
	for i, in := range p.in {
		if w := &h.writes[i]; !in && w.End != 0 {
			w.End, w.Failed = 0, h.clock
		}
	}
}

// Fork begins the history that goes on from a prefix of this one, as hosts do at an S-VOL that was taken over. All of the prefix is there for good,
// whether it was acknowledged or not; the rest is given up, and a check of the fork does not bear a trace of it. This history may go on as well:
// run tells the payloads of the two apart.
func (h *History) Fork(run uint64, p Prefix) *History {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := &History{run: run, past: h.past, base: h.base, clock: h.clock + 1, writes: slices.Clone(h.writes[:len(p.in)])}
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

// Restart begins the history of hosts that go on from what the pictures show, whatever mixture of the given histories that is: at each place
// either zeroes or a write that one of them made there. All of it is there for good, and nothing else of them may be there later.
func Restart(run uint64, pictures []*Picture, from ...*History) (*History, error) {
	h := NewHistory(run)
	h.past, h.base = map[uint64]bool{}, map[int][]origin{}
	for _, f := range from {
		maps.Copy(h.past, f.runs())
	}
	for _, p := range pictures {
		base := make([]origin, p.sectors)
		for _, e := range p.extents {
			if e.zero {
				continue
			}
			if err := madeBy(p.volume, &e, from); err != nil {
				return nil, err
			}
			for s := range e.n {
				base[e.at+s] = origin{e.mark.Run, e.mark.Counter}
			}
		}
		h.base[p.volume] = base
	}
	return h, nil
}

// madeBy is why none of the histories can have left an extent there.
func madeBy(volume int, e *extent, from []*History) error {
	err := fmt.Errorf("volume %d: there is no history to go on from", volume)
	for _, f := range from {
		f.mu.Lock()
		_, err = f.identify(volume, e)
		f.mu.Unlock()
		if err == nil {
			return nil
		}
	}
	return err
}

// runs are all runs whose payloads the history may have on its volumes or once had.
func (h *History) runs() map[uint64]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := map[uint64]bool{h.run: true}
	maps.Copy(all, h.past)
	for i := range h.writes {
		all[h.writes[i].Run] = true
	}
	return all
}
