package replica

import (
	"context"
	"fmt"
	"time"

	"pairfs/journal"
	"pairfs/quicwire"
)

// missing is what an S-VOL lacks of what its primary had when that was switched off, as the primary said. What was under way then and arrived is
// counted too, so it is the most that can be missing.
type missing struct {
	Seq   journal.Seq   // newest number of the primary
	Bytes int64         // journal bytes of the volume's records
	Age   time.Duration // of the oldest of them
}

// tellOff tells the peer beside the mirror that this site ends, and what the peer lacks. The mirror is ended first: what stands in it would be in
// the way, and would come behind the message. A peer that does not understand it finds the link down.
func (g *group) tellOff(ctx context.Context) {
	l := g.lags()
	g.mu.Lock()
	m, peer := &quicwire.PowerOff{Group: g.name, NewestSeq: uint64(l.newest)}, g.rec.Peer
	for _, p := range g.pairs {
		if p.ends() {
			own := l.of(p.att)
			m.Pairs = append(m.Pairs, quicwire.PairOff{Name: p.name, Generation: p.rec.Generation, Bytes: uint64(own.bytes), Age: uint64(own.time)})
		}
	}
	if g.session != nil {
		g.session.cancel()
	}
	g.mu.Unlock()
	if agreed, ok := g.site.endpoint.Agreed(peer); !ok || agreed.Features&quicwire.FeaturePowerOff == 0 || len(m.Pairs) == 0 {
		return
	}
	watched, end := g.keepVigil(ctx, switchedOffNotice)
	defer end()
	watched, stop := context.WithTimeout(watched, switchedOffNotice)
	defer stop()
	if _, err := g.site.endpoint.Request(watched, peer, m); err != nil {
		g.site.log.Warn("the peer may not have heard that this site is switched off", "group", g.name, "peer", peer, "error", err)
	}
}

// servePowerOff takes from a primary that it is switched off, and what is missing here. What still arrives of the mirror is not taken any more,
// so that all S-VOLs of the group stop at one number.
func (s *Site) servePowerOff(ctx context.Context, peer string, m *quicwire.PowerOff) error {
	g := s.restoreGroup(peer, m.Group)
	if g == nil {
		return refuse(KindNotFound, "site %s has no restore group for %s", s.cfg.Name, m.Group)
	}
	letGo := g.holdPull()
	defer letGo()
	if err := g.lockServed(ctx); err != nil {
		return err
	}
	defer g.cmd.Unlock()
	var off []*pair
	var bytes int64
	g.mu.Lock()
	g.newestSeq, g.lastHeard = max(g.newestSeq, journal.Seq(m.NewestSeq)), time.Now()
	for _, t := range m.Pairs {
		p := g.pairs[t.Name]
		if p == nil || p.rec.Generation != t.Generation || p.rec.State.Status != COPY && p.rec.State.Status != PAIR {
			continue
		}
		off = append(off, p)
		if p.rec.Missing = nil; t.Bytes > 0 && int64(t.Bytes) > 0 && journal.Seq(m.NewestSeq) > g.lastSeq {
			p.rec.Missing = &missing{journal.Seq(m.NewestSeq), int64(t.Bytes), time.Duration(min(t.Age, 1<<62))}
			bytes += int64(t.Bytes)
		}
	}
	last := g.lastSeq
	g.mu.Unlock()
	return g.primaryOff(off, fmt.Sprintf("everything up to sequence number %d is here, and up to %s of what it had behind that is not: the pair goes on when it is back", last, iec(bytes)))
}

// primaryOff suspends pairs whose primary was switched off, until it is back. lacks is the end of the sentence for those that lack something of
// what the primary had. cmd is held.
func (g *group) primaryOff(pairs []*pair, lacks string) error {
	sentences := [...]string{"everything that it had is here; the pair goes on when it is back", lacks, "the copy is not complete and goes on when it is back"}
	var alike [len(sentences)][]*pair
	g.mu.Lock()
	for _, p := range pairs {
		at := 0
		switch {
		case p.rec.State.Status == COPY:
			at = 2
		case p.rec.Missing != nil:
			at = 1
		}
		alike[at] = append(alike[at], p)
	}
	g.mu.Unlock()
	for i, some := range alike {
		if err := g.run(g.ctx, EvPeerOff, some, runOptions{text: fmt.Sprintf("%s was switched off: %s", g.rec.Peer, sentences[i])}); err != nil {
			return err
		}
	}
	return nil
}

// shows puts what is missing into the picture of a pair. It is as old now as it was then and the time since.
func (m *missing) shows(st *PairStatus, last journal.Seq, since time.Duration) {
	if m == nil || m.Seq <= last {
		return
	}
	st.LagSeq, st.LagBytes, st.LagTime = uint64(m.Seq-last), m.Bytes, m.Age+max(since, 0)
}
