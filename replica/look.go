package replica

import (
	"context"
	"fmt"

	"pairfs/journal"
	"pairfs/quicwire"
)

// look is the question what differs in one pair, on its way.
type look struct {
	p           *pair
	d           Differences
	stop        journal.Seq // where replication stopped, as this side knows
	here, there *regionSet  // here is nil where there is nothing to list, there until the peer has answered
	behind      bool        // the secondary has lost what it had confirmed: everything counts as changed at the P-VOL
}

// lookHere takes what this side knows.
func (g *group) lookHere(p *pair) *look {
	g.mu.Lock()
	st := p.rec.State
	l := &look{p: p, stop: p.rec.StopSeq, d: Differences{
		Pair: p.name, Role: st.Role, Status: st.Status, Peer: p.rec.Peer, PVOL: -1, SVOL: -1, Both: -1, Overwritten: -1, Copied: -1,
		Next: func(int64) (ChangedRange, bool) { return ChangedRange{}, false },
	}}
	g.mu.Unlock()
	switch {
	case st.Status == PAIR:
		l.d.Note = "the pair is in PAIR: nothing differs but what is on its way to the S-VOL"
	case st.Status == COPY && st.Role == Primary:
		l.d.Note = fmt.Sprintf("the pair is in COPY: %s of %s still have to be copied to the S-VOL, which hosts cannot write", iec(p.att.bits.bytes()), iec(p.att.bits.size))
	case st.Status == COPY:
		l.d.Note = "the pair is in COPY: what differs is being copied to the S-VOL, which hosts cannot write; the primary shows how far that is"
	case st.Status == Suspending:
		l.d.Note = "the pair is still being suspended: ask again when it is PSUS (pair wait)"
	case st.Status == Deleting:
		l.d.Note = "the pair is being deleted"
	case st.Suspend == DeletePairToRCU:
		l.d.Note = fmt.Sprintf("the pair was deleted at %s and cannot be resynchronised: delete it here too", l.d.Peer)
	default:
		l.here = p.att.bits.snapshot()
	}
	return l
}

// lookThere asks the peer for its side. Pairs whose answer did not come whole keep none.
func (g *group) lookThere(ctx context.Context, pairs []*pair, looks map[string]*look) error {
	got := map[*pair]*regionSet{}
	ready, err := g.askBitmaps(ctx, quicwire.ResyncLook, pairs, func(p *pair, b *quicwire.Bitmap) {
		s := got[p]
		if s == nil {
			s = newRegionSet(p.att.bits.size)
			got[p] = s
		}
		for first, n := range b.Spans() {
			s.add(int64(first), int64(first+n))
		}
		if b.Last {
			looks[p.name].there = s
		}
	})
	if ready == nil {
		return err
	}
	for _, st := range ready.Pairs {
		if l := looks[st.Name]; l != nil && Status(st.Status) < numStatus {
			l.d.PeerStatus = Status(st.Status)
			l.behind = g.lookBehind(l, st, journal.Seq(ready.LastSeq))
		}
	}
	return err
}

// lookBehind reports whether a resync would copy the whole volume, because the secondary has lost what it had confirmed.
func (g *group) lookBehind(l *look, st quicwire.PairState, last journal.Seq) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.role == Primary {
		return behind(last, l.stop, g.peerRestore)
	}
	return st.Seq != 0 && behind(g.restoredSeq, journal.Seq(st.Seq), last)
}

// end counts what is known. err is why the peer's side is not.
func (l *look) end(err error) {
	d, pvol, svol := &l.d, l.here, l.there
	if d.Role == Secondary {
		pvol, svol = svol, pvol
	}
	if l.behind && pvol != nil {
		d.Note = "the secondary has lost what it had confirmed: a resync copies the whole volume"
		pvol.add(0, pvol.regions)
	}
	if l.there == nil {
		d.Note = l.unknown(err)
	}
	d.Next = func(from int64) (ChangedRange, bool) { return nextChange(pvol, svol, from) }
	var n [ChangedBoth + 1]int64
	for at, ok := int64(0), true; ok; {
		var r ChangedRange
		r, ok = d.Next(at)
		n[r.Where] += r.Length
		at = r.Offset + r.Length
	}
	if pvol != nil {
		d.PVOL = n[ChangedPVOL]
	}
	if svol != nil {
		d.SVOL, d.Overwritten = n[ChangedSVOL], n[ChangedSVOL]+n[ChangedBoth]
	}
	if pvol != nil && svol != nil {
		d.Both, d.Copied = n[ChangedBoth], n[ChangedPVOL]+n[ChangedSVOL]+n[ChangedBoth]
	}
}

// unknown is the sentence for a peer that could not be asked.
func (l *look) unknown(err error) string {
	if err == nil {
		err = refuse(KindInternal, "peer %s did not say anything of it", l.d.Peer)
	}
	if l.d.Role == Secondary {
		return fmt.Sprintf("what was changed at the P-VOL is not known, and a resync copies that too (%v)", err)
	}
	return fmt.Sprintf("what was written at the S-VOL is not known, and a resync overwrites that too (%v)", err)
}
