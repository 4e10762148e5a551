package replica

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"

	bolt "go.etcd.io/bbolt"

	"pairfs/journal"
)

// A control record carries, little endian: operation u8, suspend type u8, flags u8, 0 u8, count u32, then count pair numbers u32. It
// stands at one sequence number of the group, so both sides do what it says at the same place of the order.

type controlOp uint8

// The operations of control records. Part of the format; only add.
const (
	controlStart   controlOp = 1 // from here on updates of these pairs are replicated
	controlCopied  controlOp = 2 // the copy of these pairs is complete: they are in PAIR
	controlSuspend controlOp = 3 // up to here updates of these pairs are replicated
	controlSeq     controlOp = 4 // nothing but a sequence number
	controlAlive   controlOp = 5 // the primary is up and quiet, or up again: the sequence number moves on, so that silence can be told from lag
	controlOff     controlOp = 6 // the primary is being switched off with these pairs in PAIR; obeyed if nothing follows it
	controlMark    controlOp = 7 // a marker: hosts' writes before it are restored when it is
)

// controlWritable asks, in a suspend record, that hosts may write the S-VOL afterwards.
const controlWritable = 1

const controlHeader = 8

type control struct {
	op       controlOp
	typ      SuspendType
	writable bool
	numbers  []uint32
}

func (c control) encode() []byte {
	b := make([]byte, controlHeader, controlHeader+4*len(c.numbers))
	b[0], b[1] = byte(c.op), byte(c.typ)
	if c.writable {
		b[2] = controlWritable
	}
	binary.LittleEndian.PutUint32(b[4:], uint32(len(c.numbers)))
	for _, n := range c.numbers {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	return b
}

func parseControl(b []byte) (c control, err error) {
	if len(b) < controlHeader {
		return c, fmt.Errorf("a control record has %d bytes, at least %d", len(b), controlHeader)
	}
	c.op, c.typ, c.writable = controlOp(b[0]), SuspendType(b[1]), b[2]&controlWritable != 0
	n := binary.LittleEndian.Uint32(b[4:])
	if b[2]&^controlWritable != 0 || b[3] != 0 || n > pairsGroup || len(b) != controlHeader+4*int(n) || c.op == 0 || c.op > controlMark {
		return c, fmt.Errorf("a control record is not understood: %x", b[:controlHeader])
	}
	for b = b[controlHeader:]; len(b) > 0; b = b[4:] {
		c.numbers = append(c.numbers, binary.LittleEndian.Uint32(b))
	}
	return c, nil
}

// appendControl journals a control record and returns its reservation; at is called at its sequence number, under the reserve lock.
// seq 0 takes the next number. The record may not be durable yet.
func (g *group) appendControl(ctx context.Context, op controlOp, c *control, seq journal.Seq, at func(journal.Seq)) (journal.Reservation, error) {
	if c == nil {
		c = &control{}
	}
	c.op = op
	h := journal.Header{Kind: journal.KindControl, Seq: seq, AtSeq: at, Time: g.site.wall().UnixNano()}
	if op == controlStart || op == controlSeq {
		h.Flags = journal.FlagEpoch // a secondary whose pairs were all suspended jumps to this number
	}
	payload := c.encode()
	h.Length = uint64(len(payload))
	return g.journal.Append(ctx, h, payload)
}

// obeyControl does on a secondary what a durable control record says, for all pairs that it names in one step. Called in the order of the
// records, by the pull alone.
func (g *group) obeyControl(seq journal.Seq, c control) error {
	if c.op == controlMark {
		g.kickCheckpoint() // somebody waits for it
		return nil
	}
	g.cmd.Lock()
	defer g.cmd.Unlock()
	pairs := g.concerned(seq, c)
	if len(pairs) == 0 {
		return nil
	}
	switch c.op {
	case controlStart:
		return g.started(seq, pairs)
	case controlCopied:
		// The primary is in PAIR, with nothing marked, when this is in the stores here.
		defer g.kickCheckpoint()
		return g.run(g.ctx, EvCopied, pairs, runOptions{})
	case controlOff:
		return g.primaryOff(pairs, "")
	case controlSuspend:
		if c.typ == JournalOverflow {
			return g.run(g.ctx, EvOverflow, pairs, runOptions{seq: seq, text: fmt.Sprintf("the master journal at %s was full: resync there when the link can keep up", g.rec.Peer)})
		}
		return g.run(g.ctx, EvDrained, pairs, runOptions{seq: seq, typ: c.typ, writable: c.writable})
	}
	return nil
}

// concerned returns the pairs that have to obey the record and have not done so.
func (g *group) concerned(seq journal.Seq, c control) (pairs []*pair) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.op == controlOff && max(g.newestSeq, g.lastSeq) > seq {
		return nil // it is up again; a start has heard nothing of it yet, but finds what it sent behind that
	}
	for _, n := range c.numbers {
		a := g.members[n]
		if a == nil || a.pair.rec.ControlSeq >= seq {
			continue
		}
		a.pair.rec.ControlSeq = seq
		if a.pair.rec.Starting && c.op != controlStart {
			continue // of the time before the resync that is under way
		}
		pairs = append(pairs, a.pair)
	}
	return pairs
}

// started lets pairs follow the primary from the start record on.
func (g *group) started(seq journal.Seq, pairs []*pair) error {
	defer g.tell() // the primary may have heard of a new pair's state before it had the pair
	was := g.late.Swap(true)
	err := g.site.db.update(func(tx *bolt.Tx) error {
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, p := range pairs {
			p.rec.StartSeq, p.rec.Starting = seq, false
			if p.rec.State.Status == COPY {
				p.rec.State.Consistent = false // base records follow
			}
			if err := put(tx, bucketPairs, p.name, p.rec); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		g.storeSoon()
		return err
	}
	g.late.Store(was)
	return nil
}

// replay applies the records that the stores may not hold, when a journal is opened.
type replay struct {
	g        *group
	from     journal.Position // the stores hold everything before it
	controls []replayedControl
}

type replayedControl struct {
	pos journal.Position
	seq journal.Seq
	c   control
}

// record is called by the journal for each record after its head, in order. What leads to states and marks counts from the head on, for it
// may not have been stored yet when a checkpoint passed over it.
func (r *replay) record(rec *journal.Record) error {
	if rec.Kind == journal.KindControl {
		c, err := parseControl(rec.Payload)
		if err != nil {
			return fmt.Errorf("group %s: %w", r.g.name, err)
		}
		switch {
		case r.g.role == Secondary && rec.Flags&journal.FlagLocal == 0:
			r.controls = append(r.controls, replayedControl{rec.Position, rec.Seq, c})
		case r.g.role == Primary && c.op == controlCopied:
			r.copied(rec.Seq, c)
		}
		return nil
	}
	a := r.g.members[rec.Volume]
	if a == nil || rec.Kind == journal.KindSkip {
		return nil // of a pair that was deleted, after its volume's last checkpoint
	}
	if int64(rec.Offset) < 0 || int64(rec.Length) < 0 || int64(rec.Offset)+int64(rec.Length) > a.vol.Size() {
		return fmt.Errorf("group %s: the %s lies outside of volume %s", r.g.name, rec, a.vol.name)
	}
	if rec.Kind != journal.KindBase && !a.formerRole(rec.Seq) {
		if rec.Flags&journal.FlagLocal != 0 || (r.g.role == Primary && !a.replicated(rec.Seq) && !a.beforeStart(rec.Seq)) {
			a.bits.setRange(int64(rec.Offset), int64(rec.Length))
		} else if r.g.role == Primary && rec.Seq > r.g.paidSeq {
			a.overlay.owe(int64(rec.Size()), rec.Seq, rec.Time)
		}
	}
	if rec.Position < r.from {
		return nil
	}
	var err error
	if !a.torn.Load() {
		if err = a.applyToStore(rec); err != nil {
			if torn, _ := a.tear(); torn {
				a.replayErr = err
			}
		}
	}
	if a.torn.Load() { // given up: see giveUp
		a.bits.setRange(int64(rec.Offset), int64(rec.Length))
		return nil
	}
	return err
}

// formerRole reports whether a record of a primary's journal is from the time before an exchange of the roles made it one: what had to be
// marked then was stored with the exchange, and what was received as a secondary is no difference.
func (a *attachment) formerRole(seq journal.Seq) bool {
	return a.group.role == Primary && seq <= a.pair.rec.ControlSeq
}

// beforeStart reports whether a record is from before the start record of the pair's replication: who wrote it had marked it, where that was
// needed, when the start record was durable, the marks were stored with the number of that record, and what the peer has of them since is
// cleared. Marked again it would count as what hosts wrote and the peer never got, and a takeover as one of two histories.
func (a *attachment) beforeStart(seq journal.Seq) bool {
	start := a.pair.rec.StartSeq
	return start != 0 && seq < start
}

// applyToStore writes what a record says to the volume's store.
func (a *attachment) applyToStore(rec *journal.Record) error {
	a.vol.dirtySync.Store(true)
	if len(rec.Payload) == 0 {
		return a.vol.store.punch(int64(rec.Offset), int64(rec.Length))
	}
	_, err := a.vol.store.writeAt(rec.Payload, int64(rec.Offset))
	return err
}

// copied takes the end of a copy over into pairs that were not stored with it any more before the daemon ended: the peer obeys that record.
func (r *replay) copied(seq journal.Seq, c control) {
	r.g.mu.Lock()
	defer r.g.mu.Unlock()
	for _, n := range c.numbers {
		if a := r.g.members[n]; a != nil && a.pair.rec.State.Status == COPY && a.pair.rec.PairSeq == 0 && seq > a.pair.rec.StartSeq {
			a.pair.rec.PairSeq = seq
		}
	}
}

// obey carries out the control records that were durable but not obeyed before the daemon ended.
func (r *replay) obey() error {
	defer r.g.letGo()
	for _, c := range r.controls {
		r.g.keep(c.pos)
		if err := r.g.obeyControl(c.seq, c.c); err != nil {
			r.g.site.events.add(slog.LevelError, r.g.object(), "a control record could not be obeyed: %v", err)
			return err
		}
	}
	return nil
}
