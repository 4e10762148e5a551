package replica

import (
	"context"
	"errors"

	"pairfs/journal"
)

// What a primary owes its peer, pair by pair: the journal bytes of records that are replicated and that the peer does not hold. A host write
// raises it, and what is heard from the peer lowers it: the sender notes what each batch has of each volume, for it reads all records anyway.
// So a pair's lag costs a host write one addition, and nobody reads the journal for it. In step it is exactly 0; while batches are under way it
// is right to within a batch.

// sentMost bounds the batches that are noted one by one; further ones are noted together with the last.
const sentMost = 256

// sentOut is what a batch has of each volume.
type sentOut struct {
	first, last journal.Seq
	parts       []sentPart
}

// sentPart is what a batch has of one volume.
type sentPart struct {
	a     *attachment
	start uint64 // of the replication that it belongs to
	bytes int64
	first lagRecord
}

// owe counts a record of n journal bytes that the peer is to have.
func (o *overlay) owe(n int64, seq journal.Seq, at int64) {
	if o.owed.Add(n) == n {
		o.since.Store(at)
		o.sinceSeq.Store(uint64(seq))
	}
}

// oldest is the first record since nothing was owed. It may have been paid.
func (o *overlay) oldest() lagRecord {
	return lagRecord{journal.Seq(o.sinceSeq.Load()), o.since.Load()}
}

// note counts a record into the batch that is being made.
func (f *feedSession) note(a *attachment, rec *journal.Record, size int) {
	if a == nil || rec.Seq <= f.counted {
		return
	}
	start := a.start.Load()
	for i := len(f.parts) - 1; i >= max(0, len(f.parts)-8); i-- { // volumes of one batch are few
		if p := &f.parts[i]; p.a == a && p.start == start {
			p.bytes += int64(size)
			return
		}
	}
	f.parts = append(f.parts, sentPart{a, start, int64(size), lagRecord{rec.Seq, rec.Time}})
}

// sending takes the batch that is about to be sent. Requires mu.
func (g *group) sending(f *feedSession, first, last journal.Seq) {
	if len(f.parts) == 0 || g.session != f {
		return
	}
	if n := len(g.sentOut); n >= sentMost {
		g.sentOut[n-1].join(last, f.parts)
		return
	}
	g.sentOut = append(g.sentOut, sentOut{first, last, append([]sentPart(nil), f.parts...)})
}

// join takes another batch into this one.
func (s *sentOut) join(last journal.Seq, parts []sentPart) {
	s.last = last
	for _, p := range parts {
		if n := len(s.parts); n > 0 && s.parts[n-1].a == p.a && s.parts[n-1].start == p.start {
			s.parts[n-1].bytes += p.bytes
			continue
		}
		s.parts = append(s.parts, p)
	}
}

// pay takes what the batch has off what is owed.
func (s *sentOut) pay() {
	for _, p := range s.parts {
		if p.a.start.Load() == p.start { // else the pair was split since, and begins again
			p.a.overlay.owed.Add(-p.bytes)
		}
	}
}

// paySent takes off what the peer holds by now. Requires mu.
func (g *group) paySent() {
	n := 0
	for ; n < len(g.sentOut) && g.sentOut[n].last <= g.peerDurable; n++ {
		g.sentOut[n].pay()
		g.paidSeq = max(g.paidSeq, g.sentOut[n].last)
	}
	if g.sentOut = g.sentOut[n:]; len(g.sentOut) == 0 {
		g.sentOut = nil
		g.paidSeq = max(g.paidSeq, g.peerDurable)
	}
}

// cutSent prepares for a new session of a peer that holds everything up to held: batches that it holds are paid, also one that it holds in part,
// whose rest is not counted when it is sent again; the others are sent and noted again. Requires mu.
func (g *group) cutSent(held journal.Seq) {
	for i := range g.sentOut {
		if s := &g.sentOut[i]; s.first <= held {
			s.pay()
			g.paidSeq = max(g.paidSeq, s.last)
		}
	}
	g.sentOut = nil
}

// payJournal takes off what the peer holds up to a number beyond what was heard from it: this site was started again, and the marks that it
// stored are some seconds old. The journal tells. No session is under way.
func (g *group) payJournal(ctx context.Context, held journal.Seq) error {
	g.mu.Lock()
	after := g.paidSeq
	g.paidSeq = max(after, held)
	g.mu.Unlock()
	if held <= after {
		return nil
	}
	pos, ok := g.journal.Locate(after + 1)
	if !ok {
		pos = g.journal.Marks().Freed
	}
	cursor := g.journal.NewCursor(pos)
	for buf := make([]byte, batchMax); ; {
		n, _, err := cursor.Read(buf, len(buf))
		if n == 0 || errors.Is(err, journal.ErrFreed) {
			return nil // nobody needs it, so no pair is replicated
		}
		if err != nil {
			return err
		}
		for b := buf[:n]; len(b) > 0 && ctx.Err() == nil; {
			rec, size, err := journal.Parse(b)
			if err != nil {
				return err
			}
			b = b[size:]
			if rec.Seq > held {
				return nil
			}
			update := rec.Kind == journal.KindUpdate || rec.Kind == journal.KindDiscard
			if a := g.member(rec.Volume); update && a != nil && rec.Seq > after && a.replicated(rec.Seq) {
				a.overlay.owed.Add(-int64(size))
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// paidUpTo is the number up to which nothing is owed.
func (g *group) paidUpTo() journal.Seq {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.paidSeq
}

// oldestSent returns for each volume its first record that is sent and not paid, and the number behind all that are sent. Requires mu.
func (g *group) oldestSent() (first map[*attachment]lagRecord, next journal.Seq) {
	next = g.paidSeq + 1
	for i := range g.sentOut {
		s := &g.sentOut[i]
		next = max(next, s.last+1)
		for _, p := range s.parts {
			if _, known := first[p.a]; !known {
				if first == nil {
					first = map[*attachment]lagRecord{}
				}
				first[p.a] = p.first
			}
		}
	}
	return first, next
}
