package replica

import (
	"errors"
	"fmt"
	"time"

	"pairfs/journal"
	"pairfs/quicwire"
)

// sendUpdates sends the next records of the journal, and reports whether there were any.
func (f *feedSession) sendUpdates() (bool, error) {
	most := batchMax
	if f.g.site.ending.Load() {
		most = switchedOffBatch
	} else if f.spreads() {
		most = pathBatch
	}
	n, _, err := f.cursor.Read(f.buf, most)
	if err != nil {
		err = fmt.Errorf("read the journal of group %s behind sequence number %d: %w", f.g.name, f.lastSeq, err)
		if !errors.Is(err, journal.ErrFreed) && !errors.Is(err, journal.ErrClosed) {
			f.g.journalFailed(err)
		}
		return false, err
	}
	if n == 0 {
		return false, nil
	}
	first, last, count, err := f.filter(f.buf[:n])
	if err != nil {
		f.g.journalFailed(err)
		return false, err
	}
	if count == 0 {
		return f.cursor != nil, nil
	}
	return true, f.batch(first, last, count)
}

// filter copies into out what the peer is to get: records of pairs that are replicated at their number as they are, of others a skip
// with the same number, so that numbers stay dense; records of this side alone not at all. It ends before a record of which the peer may not
// be told yet whether it is to have it; the cursor is found anew then.
func (f *feedSession) filter(b []byte) (first, last journal.Seq, count int, err error) {
	f.out, f.parts = f.out[:0], f.parts[:0]
	first = 1
	for len(b) > 0 {
		rec, size, err := journal.Parse(b)
		if err != nil {
			return 0, 0, 0, fmt.Errorf("a record of group %s behind sequence number %d is damaged in its journal: %w", f.g.name, f.lastSeq, err)
		}
		raw := b[:size]
		b = b[size:]
		if !rec.Advances() {
			continue
		}
		to, what := f.passes(&rec)
		switch what {
		case passNot:
			f.cursor = nil
			return first, last, count, nil
		case passSkip:
			skip := journal.Record{Kind: journal.KindSkip, Seq: rec.Seq, Time: rec.Time}
			f.out, err = journal.EncodeRecord(f.out, &skip)
			if err != nil {
				return 0, 0, 0, err
			}
		default:
			f.out = append(f.out, raw...)
			f.note(to, &rec, size)
		}
		if count == 0 {
			first = rec.Seq
		}
		last = rec.Seq
		count++
	}
	return first, last, count, nil
}

// passage says what of a record goes to the peer.
type passage uint8

const (
	passWhole passage = iota
	passSkip          // its number alone
	passNot           // nothing yet
)

// passes says what of the record goes to the peer, and of which volume it is, nil for none. A peer that knows of no markers would not understand one.
func (f *feedSession) passes(rec *journal.Record) (*attachment, passage) {
	switch {
	case rec.Kind == journal.KindControl && !f.marks && len(rec.Payload) > 0 && controlOp(rec.Payload[0]) == controlMark:
		return nil, passSkip
	case rec.Kind == journal.KindControl, rec.Kind == journal.KindSkip:
		return nil, passWhole
	}
	return f.g.passes(rec)
}

// passes says what of a host's record goes to the peer. A pair that is split here may have been replicated up to a number that the peer did
// not come to before it split it too: what lies in between is marked here, and the peer would not take it. While the bound of a pair is not in
// the database nothing behind it may pass: the next start would know of no bound, and of no mark for what the peer was told to pass over.
func (g *group) passes(rec *journal.Record) (*attachment, passage) {
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.members[rec.Volume]
	switch {
	case a == nil:
		return nil, passSkip
	case !a.replicated(rec.Seq) && a.pair.stopping:
		return nil, passNot
	case !a.replicated(rec.Seq), !a.pair.rec.State.Status.active() && a.pair.peerStatus.suspended():
		return nil, passSkip
	}
	a.passed = rec.Seq
	return a, passWhole
}

// batch sends what is in out.
func (f *feedSession) batch(first, last journal.Seq, count int) error {
	raw, how := f.pack()
	if err := f.g.line.wait(f.ctx, len(f.out)); err != nil {
		return err
	}
	f.ordinal++
	f.begun.Store(f.ordinal)
	f.sent.Add(uint64(raw))
	f.g.sent.Add(uint64(raw))
	if last >= first {
		f.g.mu.Lock()
		f.lastSeq = last
		f.g.sending(f, first, last)
		f.g.mu.Unlock()
	}
	f.flies(raw)
	m := f.g.journal.Marks()
	b := &quicwire.Batch{
		Ordinal: f.ordinal, First: uint64(first), Last: uint64(last), Count: uint32(count),
		NewestSeq: uint64(m.AppendedSeq), NewestTime: uint64(f.g.site.wall().UnixNano()), Flags: how, RawLen: uint32(raw), Data: f.out,
	}
	began := time.Now()
	defer func() { f.paths.busy += time.Since(began) }()
	if f.spreads() && !f.paths.told { // the first batch behind states is in their stream
		return f.hand(b)
	}
	f.paths.away, f.paths.told = false, false
	return f.stream.Send(f.ctx, b)
}
