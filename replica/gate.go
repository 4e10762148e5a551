package replica

import (
	"bytes"
	"fmt"
	"log/slog"
	"time"

	"pairfs/journal"
	"pairfs/quicwire"
)

// gate lets batches pass in the order of their ordinals; what comes early is kept, in memory of its own, and waits. It is for the reader of the
// mirror stream, which receives the next batch into the buffer of this one.
func (p *pullSession) gate(b *quicwire.Batch) error {
	p.gateMu.Lock()
	if b.Ordinal != p.ordinal+1 || p.passing != 0 {
		defer p.gateMu.Unlock()
		b.Data = bytes.Clone(b.Data) // the buffer may be much longer, and only what is in it counts
		return p.hold(b)
	}
	p.passing = b.Ordinal
	storer := p.storer
	p.gateMu.Unlock()
	if err := p.pass(b); err != nil {
		return err
	}
	if storer {
		kick(p.due)
		return nil
	}
	return p.passEarly()
}

// hold keeps a batch until its turn. Requires gateMu.
func (p *pullSession) hold(b *quicwire.Batch) error {
	if b.Ordinal <= max(p.ordinal, p.passing) || p.early[b.Ordinal] != nil {
		return fmt.Errorf("group %s: batch %d arrived, %d was next", p.g.name, b.Ordinal, p.ordinal+1)
	}
	p.held += int64(len(b.Data))
	p.mu.Lock()
	most := p.window + quicwire.MaxBatchData // one batch may begin below the window and end above it
	p.mu.Unlock()
	if p.held > most || len(p.early) >= pathAhead {
		return fmt.Errorf("group %s: batch %d arrived, %d was next, and more than may be sent ahead", p.g.name, b.Ordinal, p.ordinal+1)
	}
	p.early[b.Ordinal] = b
	return nil
}

// passEarly stores the batches that were kept and whose turn it is.
func (p *pullSession) passEarly() error {
	for {
		p.gateMu.Lock()
		b := p.early[p.ordinal+1]
		if b == nil || p.passing != 0 {
			p.gateMu.Unlock()
			return nil
		}
		delete(p.early, b.Ordinal)
		p.held -= int64(len(b.Data))
		p.passing = b.Ordinal
		p.gateMu.Unlock()
		if err := p.pass(b); err != nil {
			return err
		}
	}
}

// pass stores the batch whose turn it is, passing. One that could not be stored lets none pass behind it.
func (p *pullSession) pass(b *quicwire.Batch) error {
	if err := p.store(b); err != nil {
		return err
	}
	p.gateMu.Lock()
	p.ordinal, p.passing = b.Ordinal, 0
	p.gateMu.Unlock()
	kick(p.passed)
	return nil
}

// turn waits until the batches up to an ordinal have passed.
func (p *pullSession) turn(ordinal uint64) error {
	for {
		p.gateMu.Lock()
		passed := p.ordinal >= ordinal
		p.gateMu.Unlock()
		if passed {
			return nil
		}
		p.waits.Store(true)
		select {
		case <-p.passed:
			p.waits.Store(false)
		case <-p.ctx.Done():
			p.waits.Store(false)
			return p.ctx.Err()
		}
	}
}

// store puts the records of a batch into the restore journal.
func (p *pullSession) store(b *quicwire.Batch) error {
	g := p.g
	rest, err := p.unpack(b)
	if err != nil {
		return err
	}
	size := uint64(len(rest))
	g.mu.Lock()
	g.newestSeq, g.newestTime, g.lastHeard = journal.Seq(b.NewestSeq), int64(b.NewestTime), time.Now()
	g.mu.Unlock()
	t := &touched{}
	for n := uint32(0); n < b.Count; n++ {
		rec, size, err := journal.Parse(rest)
		if err != nil {
			return p.damaged(b, err)
		}
		rest = rest[size:]
		if err := p.record(&rec, t); err != nil {
			return err
		}
	}
	if len(rest) > 0 {
		return p.damaged(b, fmt.Errorf("%d bytes behind the last record", len(rest)))
	}
	m := g.journal.Marks()
	if !g.opts.Load().UseOfCache {
		if err := g.journal.Sync(p.ctx, m.Reserved); err != nil {
			return err
		}
	}
	g.received.Add(size)
	g.mu.Lock()
	seq, due := g.lastSeq, g.stepDue(m.Reserved)
	g.mu.Unlock()
	if due {
		g.kickCheckpoint()
	}
	p.mu.Lock()
	if b.Count > 0 {
		g.usage.batch(&p.replies, p.taken, b, seq)
	}
	p.taken += size
	p.arrived = append(p.arrived, arrival{b.Ordinal, m.Reserved, seq})
	p.mu.Unlock()
	kick(p.wake)
	t.tell(g.site)
	return nil
}

// damaged is a batch whose bytes are not those that were sent (I7). It ends the session; what was durable stays, and the primary sends
// the rest again.
func (p *pullSession) damaged(b *quicwire.Batch, err error) error {
	p.g.usage.damaged.Add(1)
	p.g.site.tellOf(p.g.rec.Peer, slog.LevelError, p.g.object(), "", "batch %d (sequence numbers %d to %d) from %s is damaged and was not used, it is asked for again: %v", b.Ordinal, b.First, b.Last, p.g.rec.Peer, err)
	return fmt.Errorf("group %s: batch %d is damaged: %w", p.g.name, b.Ordinal, err)
}

// touched gathers the ranges of S-VOLs with open handles that a batch changed.
type touched struct {
	ranges []touchedRange
}

type touchedRange struct {
	vol    *Volume
	off, n int64
}

func (t *touched) add(v *Volume, off, n int64) {
	if v.opens.Load() == 0 {
		return
	}
	if k := len(t.ranges); k > 0 && t.ranges[k-1].vol == v && t.ranges[k-1].off+t.ranges[k-1].n == off {
		t.ranges[k-1].n += n
		return
	}
	t.ranges = append(t.ranges, touchedRange{v, off, n})
}

func (t *touched) tell(s *Site) {
	f := s.invalidate.Load()
	if f == nil {
		return
	}
	for _, r := range t.ranges {
		(*f)(r.vol, r.off, r.n)
	}
}
