package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"pairfs/journal"
	"pairfs/quicwire"

	"pairfs/crashpoint"
)

// TakeoverOptions says how to take over.
type TakeoverOptions struct {
	// Timeout is how long the primary is waited for, and what it still has to send; 0 means a minute. See takeoverMax. A primary of which nothing
	// is heard counts as lost much earlier (silenceBound), and after half of Timeout in any case; one that is heard and does not answer counts as lost
	// only if it had longer than any that works takes (answerMax).
	Timeout time.Duration
}

// The kinds of takeover, with the reference's words; the first word of a takeover's answer.
const (
	takeoverNop  = "nop-takeover"       // hosts write here already
	takeoverSwap = "swap-takeover"      // the roles were exchanged, nothing is lost
	takeoverSVOL = "SVOL-takeover"      // SSWS; the primary can be reached, and the pair was split
	takeoverSSUS = "SVOL-SSUS-takeover" // SSWS; the primary cannot be reached
	takeoverNone = "refused"
)

// takeoverFacts are what a takeover is decided by, of one pair.
type takeoverFacts struct {
	local  PairState
	linked bool   // the mirror is up
	gone   bool   // the peer says that it has no such pair
	peer   Status // as the peer said last, SMPL if it said nothing
}

// decideTakeover chooses the kind of takeover, as the reference's table does when horctakeover runs at the S-VOL's side:
//
//	local S-VOL        remote                    kind
//	SSWS               any                       nop-takeover
//	other              SMPL                      refused (volumes unconformable)
//	PAIR               P-VOL in PAIR or PFUL     swap-takeover
//	other              P-VOL in another status   SVOL-takeover
//	other              unknown                   SVOL-SSUS-takeover
//
// A P-VOL that hosts write needs no takeover. What the tables of states refuse is refused there.
func decideTakeover(f takeoverFacts) string {
	switch {
	case f.local.Role == Primary, f.local.TookOver:
		return takeoverNop
	case f.gone && f.linked:
		return takeoverNone
	case !f.linked || f.peer == SMPL:
		return takeoverSSUS
	case f.local.Status == PAIR && f.peer == PAIR:
		return takeoverSwap
	}
	return takeoverSVOL
}

// TakeoverPair lets hosts write the S-VOL of a pair; [Site.TakeoverGroup] does so for all of a group. While the primary can be reached and the
// whole group is in PAIR the roles are exchanged and nothing is lost: the old primary follows from then on. Otherwise everything that
// arrived is brought into the volume and the pair is SSWS. What was done, up to which sequence number, and what is lost if that is known, is
// a remark of the command ([WithRemarks]) that begins with the kind of takeover. An error of [KindTimeout] means that the primary could be
// reached and what it still had did not arrive in time: nothing was changed.
func (s *Site) TakeoverPair(ctx context.Context, name string, o TakeoverOptions) error {
	p := s.pairByName(name)
	if p == nil {
		return refuse(KindNotFound, "there is no pair %s: `pairfs pair list` shows the pairs of this site", name)
	}
	err := p.group.takeover(ctx, func() []*pair { return []*pair{p} }, o)
	return s.remember(p, err)
}

// TakeoverGroup takes over all pairs of a group at one sequence number.
func (s *Site) TakeoverGroup(ctx context.Context, name string, o TakeoverOptions) error {
	g := s.groupByName(name)
	if g == nil {
		return refuse(KindNotFound, "there is no group %s: `pairfs group list` shows the groups of this site", name)
	}
	return g.takeover(ctx, g.allPairs, o)
}

func (g *group) takeover(ctx context.Context, which func() []*pair, o TakeoverOptions) error {
	if o.Timeout == 0 {
		o.Timeout = takeoverDefault
	}
	if o.Timeout < 0 || o.Timeout > takeoverMax {
		return refuse(KindInvalid, "timeout=%v is out of range: up to %v", o.Timeout, takeoverMax)
	}
	if err := g.serves(); err != nil {
		return err
	}
	end, err := g.beginTaking()
	if err != nil {
		return err
	}
	defer end()
	pairs := which()
	if len(pairs) == 0 {
		return refuse(KindBusy, "group %s has no pairs", g.name)
	}
	watched, endVigil := g.keepVigil(ctx, o.Timeout)
	defer endVigil()
	g.awaitPeerPair(watched, pairs, o.Timeout/2)
	kind := g.takeoverKind(pairs)
	if why := silent(watched); why != nil && kind != takeoverNone && kind != takeoverNop { // whatever it said before
		return g.svolTakeover(ctx, takeoverSSUS, pairs, why)
	}
	switch kind {
	case takeoverNop:
		return g.takeoverNothing(ctx, pairs)
	case takeoverNone:
		return refuse(KindBusy, "%s has no pair %s any more: delete it here too, the volume is then written like any other", g.peerName(), pairs[0].name)
	case takeoverSwap:
		if err := g.wholeGroup(pairs, "take over the group"); err != nil {
			return err
		}
		err := g.swapTakeover(ctx, watched, pairs, o.Timeout)
		if err == nil || !errors.Is(err, errPeerLost) {
			return err
		}
		g.site.events.add(slog.LevelWarn, g.object(), "the roles could not be exchanged: %v", err)
		return g.svolTakeover(ctx, takeoverSSUS, pairs, lostBy(err))
	default:
		return g.svolTakeover(ctx, kind, pairs, nil)
	}
}

// beginTaking lets one takeover or exchange of a group run at a time.
func (g *group) beginTaking() (end func(), err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.taking {
		return nil, refuse(KindBusy, "a takeover of group %s, or an exchange of its roles, is under way: wait for its end", g.name)
	}
	g.taking = true
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.taking = false
	}, nil
}

// awaitPeerPair waits while the S-VOLs are in PAIR and the primary has not said so of its side: between the end of a copy here and there, and
// behind an exchange of the roles or a flap, when the primary is connected and the mirror is about to be opened again.
func (g *group) awaitPeerPair(ctx context.Context, pairs []*pair, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	open, stop := context.WithTimeout(ctx, min(d, mirrorWait))
	defer stop()
	for {
		_, up := g.site.endpoint.Connected(g.peerName())
		g.mu.Lock()
		linked, behind := g.linked, false
		for _, p := range pairs {
			st := p.rec.State
			said := linked && p.peerStatus != COPY && (p.peerStatus != SMPL || p.gone)
			behind = behind || up && st.Role == Secondary && st.Status == PAIR && !said
		}
		g.mu.Unlock()
		wait := ctx
		if !linked {
			wait = open
		}
		if !behind || pause(wait, 2*time.Millisecond) != nil {
			return
		}
	}
}

// takeoverKind decides for all pairs: one that is already taken over has nothing to do, and the others are taken over alike.
func (g *group) takeoverKind(pairs []*pair) string {
	peer := g.peerName()
	_, up := g.site.endpoint.Connected(peer)
	agreed, _ := g.site.endpoint.Agreed(peer)
	g.mu.Lock()
	defer g.mu.Unlock()
	kinds := map[string]int{}
	for _, p := range pairs {
		kinds[decideTakeover(takeoverFacts{local: p.rec.State, linked: g.linked && up, gone: p.gone, peer: p.peerStatus})]++
	}
	switch {
	case kinds[takeoverNone] > 0:
		return takeoverNone
	case kinds[takeoverNop] == len(pairs):
		return takeoverNop
	case kinds[takeoverSwap] == len(pairs) && agreed.Features&quicwire.FeatureSwap != 0:
		return takeoverSwap
	case kinds[takeoverSSUS] > 0:
		return takeoverSSUS
	}
	return takeoverSVOL
}

// takeoverNothing answers where hosts write already, or says why they may not.
func (g *group) takeoverNothing(ctx context.Context, pairs []*pair) error {
	g.cmd.Lock()
	defer g.cmd.Unlock()
	if err := g.run(ctx, CmdTakeover, pairs, runOptions{}); err != nil {
		return err
	}
	Remark(ctx, takeoverNop+": hosts write here already, nothing was changed")
	return nil
}

// svolTakeover makes the S-VOLs writable with what is here. why, if not nil, is how the primary was found to be lost.
func (g *group) svolTakeover(ctx context.Context, kind string, pairs []*pair, why *lostPrimary) error {
	letGo := g.holdPull()
	defer letGo()
	g.cmd.Lock()
	defer g.cmd.Unlock()
	defer g.keepWhole()()
	var done []*pair
	for _, p := range pairs {
		if !p.takenOver() {
			done = append(done, p)
		}
	}
	g.mu.Lock()
	last, at, newest, heard := g.lastSeq, g.lastTime, g.newestSeq, g.lastHeard
	for _, p := range done {
		newest = max(newest, p.lastThere())
	}
	seq, split := allHave(done, last)
	g.mu.Unlock()
	if at == 0 || seq != last {
		at = 0
		if t, ok := g.journal.TimeAt(seq); ok {
			at = t.UnixNano()
		}
	}
	text := heldWords(seq, at) + lostWords(kind, split, g.rec.Peer, uint64(last), uint64(newest), heard)
	if why != nil {
		text += "; " + why.Error()
	}
	crashpoint.Hit(crashpoint.TakeoverDue)
	if err := g.run(ctx, CmdTakeover, done, runOptions{taken: at}); err != nil {
		return err
	}
	crashpoint.Hit(crashpoint.TakenOver)
	answer := fmt.Sprintf("%s: hosts may write now; %s", kind, text)
	g.site.events.add(slog.LevelWarn, g.object(), "%s", answer)
	Remark(ctx, answer)
	return nil
}

// allHave returns up to which number all S-VOLs of pairs have everything, with last received for the group, and whether one of them was split: what
// hosts wrote at its P-VOL since is not in what was heard of the primary. Requires mu.
func allHave(pairs []*pair, last journal.Seq) (seq journal.Seq, split bool) {
	seq = last
	for _, p := range pairs {
		if st := p.rec.State; st.Status.suspended() {
			seq = min(seq, p.rec.StopSeq)
			split = split || st.Suspend != MCUPowerOff
		}
	}
	return seq, split
}

func (p *pair) takenOver() bool {
	p.group.mu.Lock()
	defer p.group.mu.Unlock()
	return p.rec.State.TookOver
}

// lastThere is the last number that the primary had when it was switched off with something that is missing here, 0 if it was not. Requires
// group.mu.
func (p *pair) lastThere() journal.Seq {
	if p.rec.Missing == nil {
		return 0
	}
	return p.rec.Missing.Seq
}

// heldWords says up to where the S-VOLs have everything.
func heldWords[S ~uint64](seq S, at int64) string {
	text := fmt.Sprintf("everything up to sequence number %d is here", seq)
	if at != 0 {
		text += ", written at " + time.Unix(0, at).UTC().Format("2006-01-02 15:04:05.000 UTC")
	}
	return text
}

// lostWords says what is known to be missing at S-VOLs that were taken over, of which last was received and newest given, as the primary said last. It
// is a pure function.
func lostWords(kind string, split bool, peer string, last, newest uint64, heard time.Time) (text string) {
	switch {
	case newest > last && heard.IsZero():
		text = fmt.Sprintf("; %s had given %d more when it was switched off, and may have written since", peer, newest-last)
	case newest > last:
		text = fmt.Sprintf("; %s had given %d more when it was heard last, at %s, and may have written since", peer, newest-last, heard.UTC().Format("15:04:05.000 UTC"))
	}
	switch {
	case split, kind == takeoverSVOL && newest <= last:
		return text + "; what hosts wrote at the P-VOL since the split is not here"
	case newest > last:
		return text
	case heard.IsZero():
		return fmt.Sprintf("; %s was not heard since this site was started: what it wrote since is not here", peer)
	}
	return fmt.Sprintf("; nothing was missing when %s was heard last, at %s: what it wrote since is not here", peer, heard.UTC().Format("15:04:05.000 UTC"))
}
