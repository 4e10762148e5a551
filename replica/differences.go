package replica

import (
	"context"

	"pairfs/quicwire"
)

// Changed says where bytes were changed since a split.
type Changed uint8

// The places. Bytes that were changed at the S-VOL lose in a resync, wherever else they were changed.
const (
	ChangedPVOL Changed = 1 // at the P-VOL only
	ChangedSVOL Changed = 2 // at the S-VOL only
	ChangedBoth Changed = 3 // on both sides
)

// String returns "p-vol", "s-vol" or "both".
func (c Changed) String() string {
	switch c {
	case ChangedPVOL:
		return "p-vol"
	case ChangedSVOL:
		return "s-vol"
	case ChangedBoth:
		return "both"
	}
	return "-"
}

// ChangedRange is a range of bytes that were changed at one place. Its borders are those of regions (64 KiB) or the end of the volume.
type ChangedRange struct {
	Where  Changed
	Offset int64
	Length int64
}

// Differences is what the bitmaps of both sides of a split pair said at one moment: what a resync copies, and which bytes written at the
// S-VOL it overwrites. Sizes are bytes, -1 where they are not known. A resync that began and did not end has left at the primary what it had
// taken over from the secondary: that shows as changed on both sides until it is copied, and as changed at the S-VOL when it is.
type Differences struct {
	Pair        string
	Role        Role // of this side
	Status      Status
	Peer        string
	PeerStatus  Status  // as the peer said now, SMPL if it said nothing
	PVOL        int64   // changed at the P-VOL only; all that was changed there where the S-VOL's changes are not known
	SVOL        int64   // changed at the S-VOL only; all that was changed there where the P-VOL's changes are not known
	Both        int64   // changed on both sides
	Overwritten int64   // what was written at the S-VOL and a resync overwrites; of one with options at the side that Loses
	Copied      int64   // what a resync copies
	Loses       Changed // of a resync with options: where Overwritten is, ChangedPVOL or ChangedSVOL; 0 else
	Note        string  // what is not known, or why there is nothing to list; "" if there is nothing to say

	// Next gives the first range that ends behind an offset, ascending; ok is false when there is none.
	Next func(from int64) (r ChangedRange, ok bool)
}

// PairDifferences gives what differs between the sides of a split pair. The peer is asked; nothing is changed there or here, and no other
// command has to wait. When the peer cannot be asked, what this side knows is given, with a sentence about what is not known.
func (s *Site) PairDifferences(ctx context.Context, name string) ([]*Differences, error) {
	p := s.pairByName(name)
	if p == nil {
		return nil, refuse(KindNotFound, "there is no pair %s: `pairfs pair list` shows the pairs of this site", name)
	}
	return p.group.differences(ctx, []*pair{p}), nil
}

// GroupDifferences does so for all pairs of a group, sorted by name.
func (s *Site) GroupDifferences(ctx context.Context, name string) ([]*Differences, error) {
	g := s.groupByName(name)
	if g == nil {
		return nil, refuse(KindNotFound, "there is no group %s: `pairfs group list` shows the groups of this site", name)
	}
	pairs := g.allPairs()
	if len(pairs) == 0 {
		return nil, refuse(KindBusy, "group %s has no pairs", name)
	}
	return g.differences(ctx, pairs), nil
}

func (g *group) differences(ctx context.Context, pairs []*pair) []*Differences {
	looks := make([]*look, len(pairs))
	byName := map[string]*look{}
	var split []*pair
	for i, p := range pairs {
		looks[i] = g.lookHere(p)
		if looks[i].here != nil {
			byName[p.name] = looks[i]
			split = append(split, p)
		}
	}
	var err error
	if len(split) > 0 {
		err = g.lookThere(ctx, split, byName)
	}
	out := make([]*Differences, len(looks))
	for i, l := range looks {
		if l.here != nil {
			l.end(err)
		}
		out[i] = &l.d
	}
	return out
}

// nextChange gives the first range behind an offset that was changed at one place; a side that is nil is not known.
func nextChange(pvol, svol *regionSet, from int64) (ChangedRange, bool) {
	a, b, inA, inB := pvol, svol, ChangedPVOL, ChangedSVOL
	if a == nil {
		a, b, inA, inB = svol, nil, ChangedSVOL, 0
	}
	if from < 0 || from >= a.size {
		return ChangedRange{}, false
	}
	first, n, isA, isB := nextAlike(a, b, from/regionSize)
	if n == 0 {
		return ChangedRange{}, false
	}
	r := ChangedRange{Offset: first * regionSize, Length: a.bytesOf(first, n)}
	if isA {
		r.Where |= inA
	}
	if isB {
		r.Where |= inB
	}
	return r, true
}

// serveLook tells the peer what the bitmaps of pairs say, and changes nothing. The secondary is asked before a resync; the primary may be
// asked too.
func (s *Site) serveLook(peer string, m *quicwire.ResyncPairs, send quicwire.SendFunc) error {
	var pairs []*pair
	for _, ref := range m.Pairs {
		p, err := s.servedPair(peer, ref.Name, ref.Generation)
		if err != nil {
			return err
		}
		if p.group.name != m.Group && p.group.peerGroup() != m.Group || len(pairs) > 0 && p.group != pairs[0].group {
			return refuse(KindInvalid, "pair %s of site %s is not in group %s", ref.Name, s.cfg.Name, m.Group)
		}
		pairs = append(pairs, p)
	}
	if len(pairs) == 0 {
		return refuse(KindInvalid, "no pair of group %s is named", m.Group)
	}
	if err := send(pairs[0].group.lookReady(pairs)); err != nil {
		return err
	}
	// No lock is held while the peer reads, and one copy of a bitmap at a time.
	for _, p := range pairs {
		marked := p.att.bits.snapshot()
		for b := range quicwire.Bitmaps(p.name, regionSize, uint64(marked.regions), marked.spans) {
			if err := send(b); err != nil {
				return err
			}
		}
	}
	return nil
}

// lookReady is the head of the answer to a look.
func (g *group) lookReady(pairs []*pair) *quicwire.ResyncReady {
	g.mu.Lock()
	defer g.mu.Unlock()
	last := g.restoredSeq
	if g.role == Primary {
		last = g.peerRestore
	}
	ready := &quicwire.ResyncReady{LastSeq: uint64(last)}
	for _, p := range pairs {
		ready.Pairs = append(ready.Pairs, p.wire())
	}
	return ready
}
