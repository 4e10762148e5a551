package replica

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// patience is how much virtual time things have to come to rest: more than every watch time and the slowest copy.
const patience = 20 * time.Minute

// until waits until something holds.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			w.dump()
			w.t.Fatalf("%s: not in %v", what, patience)
		}
	}
}

// again gives a command until it goes well: a connection that a restart ended may be noticed by the command alone.
func (w *world) again(what string, do func() error) {
	w.t.Helper()
	w.until(what, func() bool {
		err := do()
		if err != nil {
			w.note("%s: %v", what, err)
		}
		return err == nil
	})
}

// settle mends everything, waits until the world is at rest and proves that both sides agree.
func (w *world) settle() {
	w.t.Helper()
	w.calm()
	for _, s := range w.sites {
		w.mend(s)
	}
	w.hurry()
	for _, s := range w.sites {
		w.finished(&s.busy, "hosts and commands at "+s.cfg.Name)
	}
	for _, g := range w.groups {
		for _, name := range g.w.names {
			w.until("pair "+name+" comes to rest", func() bool { return g.atRest(name) })
		}
	}
	for _, g := range w.groups {
		w.markersEnd(g)
	}
	if w.turns {
		for _, g := range w.groups {
			w.talked(g)
		}
	}
	for _, s := range w.sites {
		w.until("the stores of "+s.cfg.Name+" take bytes", func() bool { return !ailing(s.site) })
	}
}

// mend brings one site back to good disks. A group that is held goes on by itself. A journal that failed is made anew by a restart; before
// that its pairs must say so (I8). What a failed flush of a store may have lost is there again after a restart.
func (w *world) mend(s *simSite) {
	w.t.Helper()
	s.hurt.Add(1)
	s.mendStates()
	s.disks.change((*simDisks).well)
	if s.site == nil {
		w.revive(s)
	}
	for _, st := range s.site.Status().Groups {
		g := s.site.groupByName(st.Name)
		w.until("group "+st.Name+" is served", func() bool { return g.held.Load() == nil })
	}
	w.found()
	if s.disks.lostFlush() {
		s.stop()
		w.revive(s)
	}
	for _, st := range s.site.Status().Groups {
		g := s.site.groupByName(st.Name)
		if st.Failed == "" && g.journal.Err() == nil { // the latter is noticed in a moment
			continue
		}
		w.until("I8: the pairs of the failed journal of "+st.Name+" are suspended", func() bool {
			g.mu.Lock()
			defer g.mu.Unlock()
			return !g.active() && g.failed != ""
		})
		if !eventWith(s.site, "journal failed") {
			w.t.Fatalf("I8: no event says that the journal of %s failed", st.Name)
		}
		s.stop()
		w.revive(s)
		return
	}
}

// hurry takes away what makes copies slow.
func (w *world) hurry() {
	for _, g := range w.groups {
		for _, at := range []struct {
			s    *simSite
			name string
		}{{g.home, g.master()}, {g.away(), g.restored()}} {
			_ = at.s.site.SetGroup(context.Background(), at.name, map[string]string{"line-speed": "none", "copy-pace": "high", "path-watch": "60s"})
		}
	}
}

// finished waits for goroutines that may not take for ever.
func (w *world) finished(all *sync.WaitGroup, what string) {
	w.t.Helper()
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(patience):
		w.dump()
		w.t.Fatalf("%s have not ended in %v", what, patience)
	}
}

// atRest reports whether both sides of a pair are in states that only a command ends, and that go together.
func (g *simGroup) atRest(name string) bool {
	p, q := g.home.status(name), g.away().status(name)
	split := func(s Status) bool { return slices.Contains([]Status{PSUS, PSUE, PFUS, SSWS}, s) }
	switch {
	case p.Status == PAIR && q.Status == PAIR:
		return p.Generation == q.Generation && p.Linked && q.Linked
	case p.Status == SMPL || split(p.Status):
		return q.Status == SMPL || split(q.Status)
	}
	return false
}

// finish pairs everything up, and proves that the volumes are equal and that nothing is left of what was done.
func (w *world) finish() {
	w.t.Helper()
	for _, g := range w.groups {
		if w.turns {
			w.oneHistory(g)
		}
		for _, name := range g.w.names {
			w.again("pair up "+name, func() error { return w.pairUp(g, name) })
		}
		w.until("group "+g.name+" is linked", func() bool { return g.home.groupStatus(g.master()).Linked })
		w.again("resync "+g.name, func() error { return g.home.site.ResyncGroup(context.Background(), g.master()) })
		w.awaitStatus(g, PAIR)
		w.look()
		must(w.t, g.home.site.SuspendGroup(context.Background(), g.master(), SuspendOptions{}))
		w.awaitStatus(g, PSUS)
		w.look()
		g.w.check(g.away().node, everyAck)
		w.wantEqual(g.w.names...)
	}
	time.Sleep(time.Minute)
	for _, s := range w.sites {
		w.verify("at the end, at "+s.cfg.Name, leftBehind(s.site))
		s.stop()
	}
}

func (w *world) awaitStatus(g *simGroup, want Status) {
	w.t.Helper()
	for _, name := range g.w.names {
		w.until(fmt.Sprintf("pair %s is %s", name, want), func() bool {
			return g.home.status(name).Status == want && g.away().status(name).Status == want
		})
	}
}

// pairUp makes a pair that exists on one side only, or on none, anew.
func (w *world) pairUp(g *simGroup, name string) error {
	ctx, home, away := context.Background(), g.home.site, g.away().site
	p, q := g.home.status(name), g.away().status(name)
	if p.Status != SMPL && q.Status != SMPL && p.Generation == q.Generation {
		return nil
	}
	for _, s := range []*Site{home, away} {
		if err := s.DeletePair(ctx, name, DeleteOptions{Force: true}); err != nil && KindOf(err) != KindNotFound {
			return err
		}
	}
	if _, err := away.Volume(name); err == nil {
		if err := away.ReserveVolume(ctx, name, g.home.cfg.Name); err != nil {
			return err
		}
	}
	return home.CreatePair(ctx, g.pairSpec(name))
}

// leftBehind names what a site at rest should not hold any more.
func leftBehind(s *Site) error {
	for _, st := range s.Status().Groups {
		g := s.groupByName(st.Name)
		for _, a := range g.attachments() {
			if n := a.overlay.len(); n > 0 {
				return fmt.Errorf("group %s: %d extents are left in the overlay of volume %s", st.Name, n, a.vol.name)
			}
		}
		if st.Used > 1<<20 {
			return fmt.Errorf("group %s: %d bytes are left in the journal", st.Name, st.Used)
		}
	}
	if n := len(s.Events()); n > eventsMax {
		return fmt.Errorf("%d events are remembered", n)
	}
	return nil
}
