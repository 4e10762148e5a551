package replica

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// MarkerStatus is what one side knows of a marker.
type MarkerStatus struct {
	Marker   Marker
	State    MarkerState
	Pairs    []string // that it speaks of, sorted; none if it is of no history that is known here
	Group    string   // their group on this side, "" if none
	Role     Role
	Peer     string
	Restored uint64 // everything up to this number of the group is restored at the secondary, as this side knows
	Note     string // one sentence: what the state means here, and what to do
}

// markerLook is how often a marker that is waited for is looked at although nothing was said to have moved.
const markerLook = time.Second

// WaitMarker returns when the marker is done, broken or changed, or else when ctx ends, with the state of that moment: a context that has
// ended asks for the state at once. It serves on both sides. A marker of which this site never heard is refused as KindNotFound.
func (s *Site) WaitMarker(ctx context.Context, m Marker) (MarkerStatus, error) {
	known := false
	for {
		st, moves, err := s.lookMarker(m)
		if known && KindOf(err) == KindNotFound {
			st, err = gone(m), nil // deleted while it was waited for
		}
		if err != nil || st.State != MarkerWaiting {
			return st, err
		}
		known = true
		again := time.NewTimer(markerLook)
		select {
		case <-moves:
		case <-again.C:
		case <-s.ctx.Done():
			again.Stop()
			return st, nil
		case <-ctx.Done():
			again.Stop()
			return st, nil
		}
		again.Stop()
	}
}

// lookMarker returns the state of a marker, and what is closed when that may have changed.
func (s *Site) lookMarker(m Marker) (MarkerStatus, <-chan struct{}, error) {
	s.mu.RLock()
	groups := make([]*group, 0, len(s.groups))
	for _, g := range s.groups {
		groups = append(groups, g)
	}
	s.mu.RUnlock()
	named := false
	for _, g := range groups {
		st, moves, ok := g.lookMarker(m)
		if ok {
			return st, moves, g.serves()
		}
		named = named || g.isNamed(m.Name)
	}
	if !named {
		return MarkerStatus{}, nil, refuse(KindNotFound, "no pair and no group of site %s has the marker %s: it was deleted, or the marker is of another site", s.cfg.Name, m)
	}
	return gone(m), nil, nil
}

// gone is the status of a marker of which no history is left.
func gone(m Marker) MarkerStatus {
	return MarkerStatus{Marker: m, State: MarkerChanged, Note: "the pairs that the marker was placed for are not there any more, or were resynced, swapped or created anew since: place a new one"}
}

// isNamed reports whether the group, or one of its pairs, is or was the one that a marker names: a restore group has its master's markers.
func (g *group) isNamed(name string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.name == name || g.rec.PeerGroup == name || g.pairs[name] != nil
}

// lookMarker returns the state of a marker that is of this group.
func (g *group) lookMarker(m Marker) (MarkerStatus, <-chan struct{}, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	pairs := g.marked(m)
	if len(pairs) == 0 {
		return MarkerStatus{}, nil, false
	}
	pairs = byName(pairs)
	st := MarkerStatus{Marker: m, Group: g.name, Role: g.role, Peer: g.rec.Peer, Restored: uint64(noStop)}
	worst := pairs[0]
	for i, p := range pairs {
		f := p.markerFacts(m)
		if s := f.state(); i == 0 || s > st.State {
			st.State, worst = s, p
		}
		st.Restored = min(st.Restored, uint64(f.restored))
		st.Pairs = append(st.Pairs, p.name)
	}
	st.Note = g.markerNote(st, worst)
	if st.State == MarkerWaiting && g.moved == nil {
		g.moved = make(chan struct{})
	}
	return st, g.moved, true
}

// byName returns pairs in the order of their names.
func byName(pairs []*pair) []*pair {
	return slices.SortedFunc(slices.Values(pairs), func(p, q *pair) int { return strings.Compare(p.name, q.name) })
}

// markerNote says what the state means; p is a pair that is in it. Requires mu.
func (g *group) markerNote(st MarkerStatus, p *pair) string {
	at, here := g.rec.Peer, p.rec.State.Status.On(g.role)
	if g.role == Secondary {
		at = "this site"
	}
	switch st.State {
	case MarkerDone:
		return fmt.Sprintf("everything before the marker is restored at %s", at)
	case MarkerChanged:
		return fmt.Sprintf("pair %s was resynced, swapped, deleted or created anew since: place a new marker", p.name)
	case MarkerBroken:
		if g.role == Primary && !p.gone && !g.linked && p.rec.State.Suspend != DeletePairToRCU {
			return fmt.Sprintf("pair %s is %s (%s), and %s had not confirmed the marker when it was heard last: whether it has restored it since is not known here; ask there, or resync the pair, wait for PAIR and place a new marker", p.name, here, p.rec.State.Suspend, at)
		}
		return fmt.Sprintf("pair %s is %s (%s) and was suspended before the marker was restored: resync it, wait for PAIR and place a new marker", p.name, here, p.rec.State.Suspend)
	}
	link := ""
	if !g.linked {
		link = "; the mirror is down"
	}
	return fmt.Sprintf("%s has restored up to sequence number %d%s", at, st.Restored, link)
}

// moves wakes who waits for a marker: a mark of the peer or of this side has moved, or a pair has changed its state. Requires mu.
func (g *group) moves() {
	if g.moved != nil {
		close(g.moved)
		g.moved = nil
	}
}
