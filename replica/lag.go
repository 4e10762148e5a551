package replica

import (
	"time"

	"pairfs/journal"
	"pairfs/quicwire"
)

// lag is how far the peer is behind (primary), or this side (secondary).
type lag struct {
	seq     uint64
	bytes   int64 // -1 where it is not known
	time    time.Duration
	unknown bool // time is how long ago the primary was heard, which may have written since
}

// lags are the lag of a group and what that of each pair follows from, all of one moment.
type lags struct {
	lag
	newest journal.Seq               // primary
	sent   map[*attachment]lagRecord // primary: the first record of a volume that is sent and not held
	unsent lagRecord                 // primary: the first record that is not sent
	told   *toldLag                  // secondary: what it goes by
}

// lagRecord is a record whose age is of interest: its number, and its time by the wall clock, ns since 1970. The zero value is none.
type lagRecord struct {
	seq journal.Seq
	at  int64
}

// later is the one behind the other.
func (r lagRecord) later(o lagRecord) lagRecord {
	if o.seq > r.seq {
		return o
	}
	return r
}

// toldLag is what a secondary was told about its lag.
type toldLag struct {
	at    time.Time
	lag   quicwire.MirrorLag
	pairs map[uint32]quicwire.PairLag
}

// toldOfLag takes what the primary says.
func (g *group) toldOfLag(m *quicwire.MirrorLag) {
	t := toldLag{at: time.Now(), lag: *m, pairs: make(map[uint32]quicwire.PairLag, len(m.Pairs))}
	for _, p := range m.Pairs {
		t.pairs[p.Number] = p
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.told, g.lastHeard = t, t.at
}

// lags takes a look. It may read the journal.
func (g *group) lags() (l lags) {
	g.mu.Lock()
	if g.role == Secondary {
		defer g.mu.Unlock()
		return g.lagsTold()
	}
	active, held := g.active(), g.heldByPeer()
	sent, next := g.oldestSent()
	g.mu.Unlock()
	m := g.journal.Marks()
	l.newest = m.AppendedSeq
	if !active || m.AppendedSeq <= held {
		return l
	}
	l.sent = sent
	l.seq = uint64(m.AppendedSeq - held)
	if pos, ok := g.journal.Locate(held + 1); ok && m.Appended > pos {
		l.bytes = int64(m.Appended - pos)
	}
	if at, ok := g.journal.TimeAt(held + 1); ok {
		g.mu.Lock()
		l.time = g.age(lagRecord{held + 1, at.UnixNano()})
		g.mu.Unlock()
	}
	if at, ok := g.journal.TimeAt(next); ok {
		l.unsent = lagRecord{next, at.UnixNano()}
	}
	return l
}

// age is how long ago a record was made, whatever became of the wall clock since. Requires mu.
func (g *group) age(r lagRecord) time.Duration {
	return g.ages.bound(r.seq, g.site.wall().Sub(time.Unix(0, r.at)), time.Now())
}

// lagsTold is how far a secondary is behind what the primary said last. Without a mirror it cannot know: the primary may have written since,
// or not. Requires mu.
func (g *group) lagsTold() (l lags) {
	newest := max(g.newestSeq, journal.Seq(g.told.lag.NewestSeq))
	if newest > g.lastSeq {
		l.seq = uint64(newest - g.lastSeq)
	}
	if !g.linked {
		l.unknown, l.bytes = true, -1
	}
	if (l.unknown || l.seq > 0) && !g.lastHeard.IsZero() {
		l.time = time.Since(g.lastHeard)
	}
	if !l.unknown && journal.Seq(g.told.lag.NewestSeq) > g.lastSeq {
		l.told = &g.told
		l.bytes, l.time = int64(l.told.lag.Bytes), l.told.since(l.told.lag.Age)
	}
	return l
}

// since is how old a record is by now that had an age when the primary told of it.
func (t *toldLag) since(age uint64) time.Duration {
	if age == 0 {
		return 0
	}
	return time.Duration(age) + time.Since(t.at)
}

// of is the lag of one pair. Its oldest record that the peer lacks is one that was sent, or is behind all that were; and it is not older than
// the time at which the pair was in step last. Requires group.mu.
func (l *lags) of(a *attachment) (p lag) {
	switch {
	case l.unknown || l.seq == 0:
		return l.lag
	case a.group.role == Secondary && l.told == nil:
		return l.lag // the last batch said that there is more: of which pair will be told in a second at most
	case a.group.role == Secondary:
		if t, behind := l.told.pairs[a.number]; behind {
			p = lag{seq: l.seq, bytes: int64(t.Bytes), time: l.told.since(t.Age)}
		}
		return p
	}
	owed := a.overlay.owed.Load()
	if owed <= 0 {
		return p
	}
	oldest := a.overlay.oldest()
	if sent, ok := l.sent[a]; ok {
		oldest = oldest.later(sent)
	} else {
		oldest = oldest.later(l.unsent)
	}
	return lag{seq: l.seq, bytes: min(owed, l.bytes), time: min(a.group.age(oldest), l.time)}
}

// tellLag lets the peer be told, if it understands that, as long as there is a lag and once when it is over. Requires mu.
func (g *group) tellLag(l *lags) {
	f := g.session
	if f == nil || f.stream.Agreement().Features&quicwire.FeatureLag == 0 || l.seq == 0 && !f.lagged {
		return
	}
	m := &quicwire.MirrorLag{NewestSeq: uint64(l.newest), Bytes: uint64(l.bytes), Age: uint64(l.time)}
	for _, a := range g.members {
		if p := l.of(a); p.bytes > 0 && a.pair.rec.State.Status.active() {
			m.Pairs = append(m.Pairs, quicwire.PairLag{Number: a.number, Bytes: uint64(p.bytes), Age: uint64(p.time)})
		}
	}
	f.lag, f.lagged = m, l.seq > 0
	kick(f.wake)
}

// sendLag tells the peer what is to be told.
func (f *feedSession) sendLag() error {
	f.g.mu.Lock()
	m := f.lag
	f.lag = nil
	f.g.mu.Unlock()
	if m == nil {
		return nil
	}
	return f.stream.Send(f.ctx, m)
}
