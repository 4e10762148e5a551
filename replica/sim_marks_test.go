package replica

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"pairfs/e2e/prefix"
)

// simMark is a marker that was placed during a run, with what stands before it.
type simMark struct {
	Marker
	must atLeast
}

// simMarksMax bounds the markers of a group that are looked at.
const simMarksMax = 12

// placed remembers a marker: what was acknowledged before a moment of the history stands before it, and survives a power cut.
func (g *simGroup) placed(m Marker, moment prefix.Stamp) {
	g.w.h.Synced(moment)
	w := g.home.world
	w.mu.Lock()
	defer w.mu.Unlock()
	g.marks = append(g.marks, simMark{m, prefix.Before(moment)})
	g.marks = g.marks[max(0, len(g.marks)-simMarksMax):]
}

// markers are the markers that are remembered.
func (g *simGroup) markers() []simMark {
	w := g.home.world
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]simMark(nil), g.marks...)
}

// doMark places a marker, or splits at one: a new one, or the last of those that were placed.
func (w *world) doMark(s simStep, g *simGroup) {
	marks := g.markers()
	w.at(g.home, simWords[s.kind], func(site *Site) error {
		moment := g.w.h.Now()
		if s.kind == simMarker {
			place, name := site.MarkGroup, g.name
			if s.vol >= 0 {
				place, name = site.MarkPair, g.volume(s.vol)
			}
			m, err := place(context.Background(), name)
			if err == nil {
				g.placed(m, moment)
			}
			return err
		}
		o := SuspendOptions{Mark: true, SVOLWrite: s.seed%4 == 0}
		if s.flag && len(marks) > 0 {
			o = SuspendOptions{At: marks[len(marks)-1].Marker}
		}
		var said Remarks
		if err := onOneOrAll(s, g, g.name, site.SuspendPair, site.SuspendGroup, WithRemarks(context.Background(), &said), o); err != nil || !o.Mark {
			return err
		}
		m, err := ParseMarker(strings.Fields(said.String())[1])
		if err == nil {
			g.placed(m, moment)
		}
		return err
	})
}

// markersHold proves that what either side says of a marker is so at this moment: when it is done, each S-VOL holds what was acknowledged
// before it.
func (w *world) markersHold(g *simGroup) {
	w.t.Helper()
	away := g.at(g.away(), g.restored())
	for _, m := range g.markers() {
		for _, s := range []*simSite{g.home, g.away()} {
			if s.site == nil {
				continue
			}
			st, err := s.site.WaitMarker(now(), m.Marker)
			if err != nil {
				continue // its pairs are gone, or the group is not served
			}
			word := fmt.Sprintf("markers %s at the %s", st.State, map[bool]string{true: "primary", false: "secondary"}[s == g.home])
			w.seen[word]++
			if st.State != MarkerDone || away == nil {
				continue
			}
			for _, name := range st.Pairs {
				if picture, err := g.svol(away, name); picture != nil || err != nil {
					w.seen[word+", and looked at"]++
					if err == nil {
						_, err = g.w.h.Check([]*prefix.Picture{picture}, m.must)
					}
					w.verify(fmt.Sprintf("marker %s is done at %s, pair %s", m, s.cfg.Name, name), err)
				}
			}
		}
	}
}

// svol shows the S-VOL of a pair, nil where it is not what the primary wrote: hosts wrote to it,
// a copy may be under way, or it was given up since.
func (g *simGroup) svol(away *group, name string) (*prefix.Picture, error) {
	q, ok := away.side(name)
	if st := q.rec.State; !ok || !st.Consistent || st.Status == COPY || st.Status == Deleting || g.dirty[name] || q.p.att.torn.Load() {
		return nil, nil
	}
	return g.home.world.shows(q.p.att.vol, slices.Index(g.w.names, name))
}

// markersEnd waits, while everything is mended and at rest, until nobody has to wait for a marker any more.
func (w *world) markersEnd(g *simGroup) {
	w.t.Helper()
	for _, m := range g.markers() {
		for _, s := range []*simSite{g.home, g.away()} {
			w.until(fmt.Sprintf("marker %s has come to an end at %s", m, s.cfg.Name), func() bool {
				st, err := s.site.WaitMarker(now(), m.Marker)
				return err != nil || st.State != MarkerWaiting
			})
		}
	}
}
