package replica

import "testing"

// copying gives a pair in COPY with every region marked, as far as a copy looks at it.
func copying(regions int64) *pair {
	p := &pair{name: "p", att: &attachment{number: 1, bits: newBitmap(regions * regionSize)}}
	p.att.pair = p
	p.rec.State = PairState{Role: Primary, Status: COPY}
	p.rec.StartSeq, p.rec.Size = 10, regions*regionSize
	p.att.bits.fill()
	return p
}

// A base record of a copy that was suspended may be restored after a resync began another one: hosts may have changed the region in
// between, so it stays marked.
func TestBaseOfAnEarlierCopy(t *testing.T) {
	p := copying(2)
	before := &copier{pair: p, held: newBitmap(p.rec.Size), flying: 1}
	p.copier = &copier{pair: p, held: newBitmap(p.rec.Size), flying: 1}
	f := &feedSession{bases: []base{{ordinal: 1, copier: before, first: 0, n: 1}, {ordinal: 2, copier: p.copier, first: 1, n: 1}}}
	f.settleBases(2, 2)
	if !p.att.bits.test(0) || p.att.bits.test(1) || p.copier.flying != 0 || len(f.bases) != 0 {
		t.Fatalf("marked %v %v, %d under way, %d left", p.att.bits.test(0), p.att.bits.test(1), p.copier.flying, len(f.bases))
	}
}

// A secondary may say of a base record that it is in its store before it said that it is durable: the copy must not wait for the latter.
func TestBaseRestoredBeforeDurable(t *testing.T) {
	p := copying(2)
	p.copier = &copier{pair: p, held: newBitmap(p.rec.Size), flying: 2}
	f := &feedSession{bases: []base{{ordinal: 1, copier: p.copier, first: 0, n: 1}, {ordinal: 2, copier: p.copier, first: 1, n: 1}}}
	f.settleBases(1, 2)
	if p.att.bits.any() || p.copier.flying != 0 || len(f.bases) != 0 {
		t.Fatalf("marked: %v, %d under way, %d left", p.att.bits.any(), p.copier.flying, len(f.bases))
	}
}

// The daemon may die between the record that ends a copy and the pair that is stored with it. The peer obeys the record and takes no more
// base records, so the replay has to find it.
func TestReplayEndOfCopy(t *testing.T) {
	p := copying(1)
	r := replay{g: &group{role: Primary, members: map[uint32]*attachment{1: p.att}}}
	r.copied(9, control{op: controlCopied, numbers: []uint32{1, 2}}) // of the copy before
	if p.rec.PairSeq != 0 {
		t.Fatal("an old record ended the copy")
	}
	r.copied(11, control{op: controlCopied, numbers: []uint32{1}})
	if p.rec.PairSeq != 11 {
		t.Fatalf("the copy ends at %d", p.rec.PairSeq)
	}
}

// TestRestoredIsDurable: a base record that is restored at the peer is durable there, though the peer named the marks in the wrong order: a
// copy that takes it for flying never ends.
func TestRestoredIsDurable(t *testing.T) {
	p := copying(2)
	p.copier = &copier{pair: p, held: newBitmap(p.rec.Size), flying: 2, under: 2 * regionSize}
	f := &feedSession{bases: []base{{ordinal: 5, copier: p.copier, first: 0, n: 1}, {ordinal: 6, copier: p.copier, first: 1, n: 1}}}
	f.settleBases(4, 5)
	if p.copier.flying != 1 || p.copier.under != regionSize || len(f.bases) != 1 {
		t.Errorf("%d base records are flying, %d bytes under way, %d remembered", p.copier.flying, p.copier.under, len(f.bases))
	}
}

// TestBaseStaysMarked: a region is unmarked when its base record is in the peer's store. One that only its journal holds goes with that journal.
func TestBaseStaysMarked(t *testing.T) {
	p := copying(2)
	p.copier = &copier{pair: p, held: newBitmap(p.rec.Size), flying: 2, under: 2 * regionSize}
	f := &feedSession{bases: []base{{ordinal: 1, copier: p.copier, first: 0, n: 1}, {ordinal: 2, copier: p.copier, first: 1, n: 1}}}
	f.settleBases(2, 1)
	if p.att.bits.test(0) || !p.att.bits.test(1) || p.copier.flying != 0 || p.copier.under != regionSize || len(f.bases) != 1 {
		t.Errorf("marked %v %v, %d under way, %d bytes, %d left", p.att.bits.test(0), p.att.bits.test(1), p.copier.flying, p.copier.under, len(f.bases))
	}
	f.settleBases(2, 2)
	if p.att.bits.any() || len(f.bases) != 0 {
		t.Errorf("marked: %v, %d left", p.att.bits.any(), len(f.bases))
	}
}
