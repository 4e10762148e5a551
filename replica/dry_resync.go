package replica

import (
	"context"
	"fmt"

	"pairfs/quicwire"
)

// What a resync that exchanges the roles, or gives one side's writes up, would do: the regions that it would overwrite, and which side loses.

// PairResyncDifferences is [Site.PairDifferences] for a resync with options: Next lists only what would lose, Overwritten counts it, Loses
// says where it is, and Note who goes on, and why it would be refused if it would. Nothing is changed, here or at the peer.
func (s *Site) PairResyncDifferences(ctx context.Context, name string, o ResyncOptions) ([]*Differences, error) {
	if o == (ResyncOptions{}) {
		return s.PairDifferences(ctx, name)
	}
	p := s.pairByName(name)
	if p == nil {
		return nil, noPair(name)
	}
	return p.group.dryResync(ctx, []*pair{p}, o)
}

// GroupResyncDifferences does so for all pairs of a group, sorted by name.
func (s *Site) GroupResyncDifferences(ctx context.Context, name string, o ResyncOptions) ([]*Differences, error) {
	if o == (ResyncOptions{}) {
		return s.GroupDifferences(ctx, name)
	}
	g := s.groupByName(name)
	if g == nil {
		return nil, noGroup(name)
	}
	return g.dryResync(ctx, g.allPairs(), o)
}

func (g *group) dryResync(ctx context.Context, pairs []*pair, o ResyncOptions) ([]*Differences, error) {
	if len(pairs) == 0 {
		return nil, refuse(KindBusy, "group %s has no pairs", g.name)
	}
	g.mu.Lock()
	way, lose := decideResync(g.role, o)
	g.mu.Unlock()
	if way == resyncWrong {
		return nil, wrongOptions(o)
	}
	if way != resyncLose {
		if err := g.wholeGroup(pairs, "resync the group"); err != nil {
			return nil, err
		}
	}
	all := g.differences(ctx, pairs)
	for i, d := range all {
		d.losing(way, lose, g.site.cfg.Name)
		if why := pairs[i].refusesResync(way); why != "" {
			d.Note = joinNotes("it would be refused now: "+why, d.Note)
		}
	}
	return all, nil
}

// losing narrows the differences down to what loses in a resync that goes the way. here is this site's name.
func (d *Differences) losing(way resyncWay, lose uint8, here string) {
	sides := map[Role]string{d.Role: here, otherRole(d.Role): d.Peer}
	d.Loses, d.Overwritten = ChangedSVOL, d.SVOL
	goesOn, gaveUp := sides[Primary], sides[Secondary]
	if way == resyncTurn || way == resyncAskTurn {
		d.Loses, d.Overwritten = ChangedPVOL, d.PVOL
		goesOn, gaveUp = sides[Secondary], sides[Primary]
	}
	if d.Overwritten >= 0 {
		d.Overwritten += max(0, d.Both)
	}
	next := d.Next
	d.Next = func(from int64) (r ChangedRange, ok bool) {
		for {
			if r, ok = next(from); !ok || r.Where&d.Loses != 0 {
				return r, ok
			}
			from = r.Offset + r.Length
		}
	}
	note := fmt.Sprintf("%s goes on; what %s alone has is kept aside there and then overwritten", goesOn, gaveUp)
	if lose == quicwire.LoseNothing {
		note = goesOn + " goes on"
		if d.Overwritten > 0 {
			note = fmt.Sprintf("it would be refused: %s has what %s lacks, and mode=swap gives nothing up; discard= does", gaveUp, goesOn)
		}
	}
	d.Note = joinNotes(note, d.Note)
}

// refusesResync says why a resync that goes the way would be refused by the state of the pair at this side, "" if it would not.
func (p *pair) refusesResync(way resyncWay) string {
	p.group.mu.Lock()
	defer p.group.mu.Unlock()
	in := CmdSwap
	switch {
	case way == resyncLose:
		in = CmdDiscard
	case way == resyncAskLose, way == resyncAskTurn && p.rec.State.TookOver:
		return "" // the other side decides
	}
	out := Step(p.rec.State, in)
	if out.Verdict != Refuse {
		return ""
	}
	return fmt.Sprintf("pair %s is %s here: %s", p.name, p.rec.State.Status.On(p.rec.State.Role), out.Why)
}

func joinNotes(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

// wrongOptions refuses options of a resync that contradict each other.
func wrongOptions(o ResyncOptions) error {
	return refuse(KindInvalid, "mode=swap makes the side that was taken over the primary, and discard=%s would give up what it has: leave one of them out", o.Discard)
}
