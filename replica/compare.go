package replica

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"pairfs/journal"
	"pairfs/quicwire"
)

// Both sides tell each other the states of their pairs whenever a mirror opens and whenever one changes. What follows for this side is found by
// comparing them, so what was missed while the link was down needs no log of messages.

// setLinked records whether the mirror has a session. Requires mu.
func (g *group) setLinked(up bool) {
	if g.linked == up {
		return
	}
	g.linked, g.linkChange = up, time.Now()
	if g.deserted() {
		return
	}
	word := "is down: writes are kept in the journal"
	if g.role == Secondary {
		word = "is down"
	}
	if up {
		word = "is up"
	}
	g.site.tellOf(g.rec.Peer, slog.LevelInfo, g.object(), simPath(up, g.usage.changed(up)), "the mirror with %s %s", g.rec.Peer, word)
}

// deserted reports whether the last pair is gone, or about to go at both sides: that a mirror ends then is no news. Requires mu.
func (g *group) deserted() bool {
	for _, p := range g.pairs {
		if !p.asked && !p.leaving {
			return false
		}
	}
	return true
}

// wireStates are the states of all pairs as the other side is told, which has these features. Requires mu.
func (g *group) wireStates(peer quicwire.Features) []quicwire.PairState {
	out := make([]quicwire.PairState, 0, len(g.pairs))
	for _, p := range g.pairs {
		out = append(out, p.tells(peer))
	}
	return out
}

// compare looks at the other side's states, all that it has in this group, and queues what follows for this one. sure says that the list
// is younger than every pair here. Requires mu.
func (g *group) compare(theirs []quicwire.PairState, sure bool) {
	seen := map[string]quicwire.PairState{}
	for _, t := range theirs {
		seen[t.Name] = t
	}
	for _, p := range g.pairs {
		t, known := seen[p.name]
		if known && t.Generation != p.rec.Generation {
			known = false // another pair of the same name
		}
		if p.rec.State.Role == Primary && known {
			p.rec.State.Consistent = t.Consistent
		}
		if known {
			p.peerStatus = Status(t.Status)
		}
		p.peerStop = 0
		if st := Status(t.Status); known && t.Consistent && (st.suspended() || st == SSWS) {
			p.peerStop = journal.Seq(t.Seq)
		}
		p.gone, p.missing = !known && sure, !known
		p.unheard = p.unheard && !known && !sure
		if !known && p.rec.State.Role == Secondary && p.rec.StartSeq == 0 {
			continue // the primary is about to join it; if the create failed there it is an orphan, see [pair.orphan]
		}
		lost := t.SuspendType&quicwire.SuspendPathLost != 0
		t.SuspendType &^= quicwire.SuspendPathLost
		if st := SuspendType(t.SuspendType); known && p.rec.State.Status == Suspending && (st == ByMCU || st == JournalOverflow) {
			continue // it obeyed the suspend record; its marks end the flush
		}
		if !known && p.rec.State.Role == Primary && !sure {
			g.asked = time.Time{} // what was said may be older than the pair: ask
			continue
		}
		if known && !sure && p.rec.State.Role == Primary && p.rec.State.Status.active() && (Status(t.Status).suspended() || Status(t.Status) == SSWS) && journal.Seq(t.Seq) < p.rec.StartSeq {
			g.asked = time.Time{} // suspended since before the last start: said before the resync, or split before its start arrived
			continue
		}
		if known && p.granted() && Status(t.Status).suspended() {
			continue // said before the resync that was granted, or about to be overtaken by its start record
		}
		in, ok := peerInput(p.rec.State, Status(t.Status), SuspendType(t.SuspendType), lost, known)
		if !ok {
			continue
		}
		f := fact{pair: p, input: in, seq: journal.Seq(t.Seq)}
		if p.rec.State.Role == Secondary && SuspendType(t.SuspendType) == MCUInitialized {
			f.typ = MCUInitialized
		}
		switch in {
		case EvPeerDeleted:
			f.text = fmt.Sprintf("the pair was deleted at %s: delete it here too", g.rec.Peer)
		case EvPeerSplit:
			f.text = fmt.Sprintf("the pair was split at %s", g.rec.Peer)
		case EvPathLost:
			f.text = fmt.Sprintf("%s did not hear of this site for longer than path watch time there, and suspended the pair", g.rec.Peer)
		case EvPeerTookOver:
			f.text = fmt.Sprintf("the S-VOL was taken over at %s, which has everything up to sequence number %d: hosts do not write here any more; resync mode=swap makes this side its secondary", g.rec.Peer, t.Seq)
		case EvConflict:
			f.text = fmt.Sprintf("%s has what this side lacks, see its events; hosts go on writing here: resync discard=there goes on from here, discard=here from there; what is given up is kept aside", g.rec.Peer)
		default:
			f.text = fmt.Sprintf("%s says that the pair is %s (%s): see the events there, then resync from the primary", g.rec.Peer, Status(t.Status).On(otherRole(p.rec.State.Role)), SuspendType(t.SuspendType))
		}
		g.report(f)
	}
	g.countHeld()
	g.moves()
}

// countHeld counts what the secondary has confirmed of suspended pairs since they were: of each what is restored there, up to where its S-VOL
// stopped. Later numbers are none of that pair's. Requires mu.
func (g *group) countHeld() {
	for _, p := range g.pairs {
		if st := p.rec.State; st.Role == Primary && !st.Status.active() && p.peerStop != 0 {
			if held := min(g.peerRestore, p.peerStop, p.rec.StopSeq); held > p.rec.HeldSeq {
				p.rec.HeldSeq = held
				g.storeSoon()
			}
		}
	}
}

// meetSecondary is called where two secondaries of one group meet: behind an exchange of the roles that one of them has not heard of. It
// gives this side's states, and queues what follows from theirs: if both were taken over, hosts write on both sides.
func (g *group) meetSecondary(peer string, theirs []quicwire.PairState) []quicwire.PairState {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.role != Secondary || g.rec.Peer != peer {
		return nil
	}
	for _, t := range theirs {
		p := g.pairs[t.Name]
		if p == nil || Status(t.Status) != SSWS || !p.rec.State.TookOver || p.rec.State.Status != SSWS {
			continue
		}
		g.report(fact{pair: p, input: EvConflict, text: fmt.Sprintf("the S-VOL was taken over here and at %s, and hosts write on both sides: stop them on one; resync discard=there then goes on from here, discard=here from there; what is given up is kept aside", peer)})
	}
	return g.wireStates(0) // what counts of them is who was taken over
}

func otherRole(r Role) Role {
	if r == Primary {
		return Secondary
	}
	return Primary
}

// sendStates tells the peer this side's states when they differ from what it was told.
func (f *feedSession) sendStates() error {
	if err := errors.Join(f.sendOptions(), f.sendSettings(), f.sendLag()); err != nil {
		return err
	}
	f.g.mu.Lock()
	now := f.g.wireStates(f.knows)
	same := sameStates(now, f.states)
	f.g.mu.Unlock()
	if same {
		return nil
	}
	f.states = now
	if f.paths.away {
		if err := f.divide(); err != nil {
			return err
		}
	}
	f.paths.told = true
	return f.stream.Send(f.ctx, &quicwire.PairStates{Pairs: now})
}

// sendOptions hands path watch time on to the peer, once and when it changes.
func (f *feedSession) sendOptions() error {
	o := f.g.opts.Load()
	m := quicwire.MirrorOptions{}
	if o.ForwardPathWatch {
		m.PathWatch = uint32(o.PathWatch / time.Second)
	}
	if m == f.options {
		return nil
	}
	f.options = m
	return f.stream.Send(f.ctx, &m)
}

// sameStates compares what matters of two lists of states, in any order.
func sameStates(a, b []quicwire.PairState) bool {
	if len(a) != len(b) {
		return false
	}
	have := make(map[string]quicwire.PairState, len(b))
	for _, p := range b {
		p.Seq, p.Consistent = 0, false
		have[p.Name] = p
	}
	for _, p := range a {
		p.Seq, p.Consistent = 0, false
		if q, ok := have[p.Name]; !ok || p != q {
			return false
		}
	}
	return true
}

// serveStates answers with the states of those of the named pairs that the peer has with this site.
func (s *Site) serveStates(peer string, m *quicwire.PairStates) quicwire.Frame {
	answer := &quicwire.PairStates{}
	agreed, _ := s.endpoint.Agreed(peer)
	for _, ref := range m.Pairs {
		if p, err := s.peerPair(peer, ref.Name, ref.Generation); err == nil {
			p.group.mu.Lock()
			answer.Pairs = append(answer.Pairs, p.tells(agreed.Features))
			p.group.mu.Unlock()
		}
	}
	return answer
}
