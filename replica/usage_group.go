package replica

import (
	"errors"
	"time"

	"pairfs/journal"
	"pairfs/quicwire"
)

// usageLoop looks at the counters of the group until it ends.
func (g *group) usageLoop() {
	tick := time.NewTicker(usageTick)
	defer tick.Stop()
	for {
		select {
		case <-g.ctx.Done():
			return
		case <-tick.C:
			g.lookAtUsage(time.Now())
		}
	}
}

// lookAtUsage takes one look. Only the group's own loop, or a test in its place, may call it.
func (g *group) lookAtUsage(now time.Time) {
	l := g.lags() // before the lock: it may read the journal
	g.mu.Lock()
	var all pairCounts
	for _, a := range g.members {
		left := int64(-1)
		if p := a.pair; p.rec.State.Role == Primary && p.rec.State.Status == COPY {
			left = p.left()
		}
		all.add(a.use.look(now, a.overlay.hosts.Load(), left))
		if p := l.of(a); a.pair.rec.State.Status.active() && !p.unknown {
			a.use.lagTime.add(int64(p.time))
			a.use.lagBytes.add(p.bytes)
		}
	}
	g.tellLag(&l)
	if !g.active() {
		g.usage.dropProbe() // what is not replicated has no way to time
	}
	g.mu.Unlock()
	g.usage.look(now, all, g.sent.Load()+g.received.Load(), l.lag)
}

// left is what a copy has still to do, in bytes. Requires group.mu.
func (p *pair) left() int64 {
	left := p.att.bits.bytes()
	if c := p.copier; c != nil {
		left = max(0, left-c.under)
	}
	return left
}

// groupUsage is the picture of the group's usage. Requires mu.
func (g *group) groupUsage() Usage {
	u := g.usage.picture()
	u.Paths = g.pathsNow()
	u.HeaderBytes = int64(g.journal.Records()) * journal.HeaderSize
	for _, p := range g.pairs {
		if p.rec.State.Status != PAIR {
			u.Different += p.att.bits.bytes()
		}
	}
	return u
}

// timeReply begins to time the way of the newest durable record to the peer, if none is being timed and there is one that it lacks.
func (g *group) timeReply() {
	m := &g.usage
	m.mu.Lock()
	busy := m.probe != 0
	m.mu.Unlock()
	if busy {
		return
	}
	seq := g.journal.Marks().DurableSeq
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.active() || seq <= g.peerDurable {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.probe, m.probeAt = seq, time.Now()
}

// asked counts a read-journal request that says that everything up to a number is durable at the peer.
func (m *usageMeter) asked(seq journal.Seq) {
	m.requests.Add(1)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.probe != 0 && seq >= m.probe {
		m.replied(time.Since(m.probeAt))
		m.probe = 0
	}
}

// dropProbe gives up what is being timed.
func (m *usageMeter) dropProbe() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.probe = 0
}

// replyGrants bounds the requests of one session that wait for their batches: the window of a pull holds fewer batches.
const replyGrants = 256

// replyMeter times the batches of one pull. A batch is due since the request that made room for it, or since the batch before it came,
// whichever was later; and only while the primary had more to send than it had sent, for silence is not slowness. Guarded by pullSession.mu.
type replyMeter struct {
	grants []grant
	last   time.Time // when the batch before came
	more   bool      // it said that there was more
}

// grant is a request that allowed to send up to a number of bytes of the session.
type grant struct {
	upTo uint64
	at   time.Time
}

// asked takes note of a request.
func (m *replyMeter) asked(upTo uint64, now time.Time) {
	if n := len(m.grants); n < replyGrants && (n == 0 || upTo > m.grants[n-1].upTo) {
		m.grants = append(m.grants, grant{upTo, now})
	}
}

// came takes note of a batch: from is how many bytes of the session came before it, more whether the primary has more after it. It returns
// how long the batch took, ok is false where that cannot be told.
func (m *replyMeter) came(from uint64, more bool, now time.Time) (d time.Duration, ok bool) {
	used := 0
	for used < len(m.grants) && m.grants[used].upTo <= from {
		used++
	}
	m.grants = append(m.grants[:0], m.grants[used:]...)
	due := m.last
	if ok = m.more && len(m.grants) > 0; ok && m.grants[0].at.After(due) {
		due = m.grants[0].at
	}
	m.last, m.more = now, more
	if !ok {
		return 0, false
	}
	return max(0, now.Sub(due)), true
}

// batch takes note of a batch behind taken bytes of its session, seq the last number that this side has with it. Requires pullSession.mu.
func (m *usageMeter) batch(r *replyMeter, taken uint64, b *quicwire.Batch, seq journal.Seq) {
	more := journal.Seq(b.NewestSeq) > seq || b.Last < b.First // more updates wait, or a copy is under way
	if d, ok := r.came(taken, more, time.Now()); ok {
		m.replied(d)
	}
}

// asked takes note of a request of this session.
func (p *pullSession) asked(upTo uint64) {
	p.g.usage.requests.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.replies.asked(upTo, time.Now())
}

// failedBy counts a journal that failed by a wrong checksum.
func (m *usageMeter) failedBy(cause error) {
	if errors.Is(cause, errChecksum) || errors.Is(cause, journal.ErrCorrupt) {
		m.damaged.Add(1)
	}
}

// lookedAt is when the last look was.
func (m *usageMeter) lookedAt() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.at
}
