package replica

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pairfs/journal"
	"pairfs/quicwire"
)

// lastPayload gives the ring's memory of the payload of the group's last record, which must be an update.
func lastPayload(t *testing.T, g *group) []byte {
	t.Helper()
	m := g.journal.Marks()
	pos, ok := g.journal.Locate(m.LastSeq)
	if !ok {
		t.Fatal("the last record is not found")
	}
	for ; pos < m.Reserved; pos += journal.HeaderSize {
		rec, _, err := journal.Parse(g.journal.Bytes(pos, journal.MaxRecord))
		if err == nil && rec.Seq == m.LastSeq && rec.Kind == journal.KindUpdate {
			return rec.Payload
		}
	}
	t.Fatal("the last record is no update")
	return nil
}

func eventWith(s *Site, words ...string) bool {
	for _, e := range s.Events() {
		has := e.Level != "info"
		for _, w := range words {
			has = has && strings.Contains(e.Text, w)
		}
		if has {
			return true
		}
	}
	return false
}

// TestI7Restore turns a bit of a record over in the secondary's memory after it was received: no byte of it reaches the store, the pairs
// are suspended on both sides, and the message names volume, offset and sequence number.
func TestI7Restore(t *testing.T) {
	t.Parallel()
	d, w, _ := differ(t)
	g := d.b.site.groupByName("g@tokyo")
	goOn := g.stopRestore()
	defer goOn()
	must(t, w.write(context.Background(), 0, 7, 1, true))
	last := d.a.groupStatus("g").AppendedSeq
	d.wait("it is durable at the secondary", func() bool { return d.a.groupStatus("g").PeerDurable >= last })
	lastPayload(t, g)[1000] ^= 4
	goOn()
	g.kickRestore()
	d.b.await(PSUE, "x", "y")
	d.a.await(PSUE, "x", "y")
	img := storeImage(t, d.b, "x")
	if _, err := readBlock(img[7*blockSize:8*blockSize], 0, 7); err != nil {
		t.Errorf("the store has damaged bytes: %v", err)
	}
	if !eventWith(d.b.site, "checksum", fmt.Sprint("seq ", last)) {
		t.Errorf("no event names the checksum and sequence number %d: %v", last, d.b.site.Events())
	}
	if !eventWith(d.b.site, "checksum", "x", fmt.Sprint("offset ", 7*blockSize)) {
		t.Errorf("no event names volume and offset: %v", d.b.site.Events())
	}
	must(t, w.write(context.Background(), 0, 8, 1, true)) // hosts go on
	d.b.reopen()
	d.wait("the link is up", d.a.linked)
	d.mend()
	w.check(d.b, everyAck)
}

// TestI7Send turns a bit over in the primary's memory before the record is sent: it is found there, and the peer never sees it.
func TestI7Send(t *testing.T) {
	t.Parallel()
	d, w, _ := differ(t)
	d.cut()
	goOn := d.a.site.groupByName("g").stopRestore()
	defer goOn()
	must(t, w.write(context.Background(), 0, 7, 1, true))
	lastPayload(t, d.a.site.groupByName("g"))[1000] ^= 4
	damaged := d.a.groupStatus("g").AppendedSeq
	d.heal()
	g := d.a.site.groupByName("g")
	d.wait("the primary gives its journal up", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.failed != ""
	})
	goOn()
	d.a.await(PSUE, "x", "y")
	d.b.await(PSUE, "x", "y")
	if at := d.b.groupStatus("g@tokyo").AppendedSeq; at >= damaged {
		t.Errorf("the secondary took records up to %d, the damaged one is %d", at, damaged)
	}
	if _, err := readBlock(readAll(t, d.b.vol("x"))[7*blockSize:8*blockSize], 0, 7); err != nil {
		t.Errorf("the S-VOL has damaged bytes: %v", err)
	}
}

// TestI7Primary turns a bit over in the primary's memory before a record is in the store. The journal is given up; the message names the
// place, all other acknowledged writes are there, and the damaged record does not hide what hosts write to the place afterwards.
func TestI7Primary(t *testing.T) {
	t.Parallel()
	d, w, _ := differ(t)
	ctx := context.Background()
	g := d.a.site.groupByName("g")
	goOn := g.stopRestore()
	defer goOn()
	must(t, w.write(ctx, 0, 6, 1, false))
	must(t, w.write(ctx, 1, 900, 1, false))
	must(t, w.write(ctx, 0, 7, 1, true))
	lastPayload(t, g)[1000] ^= 4
	late := begin(func() error { return errors.Join(w.write(ctx, 0, 8, 1, false), w.write(ctx, 1, 901, 1, true)) })
	// The sender may find the damage first. The journal is given up then, with hosts held, and that waits for goOn.
	must(t, waitFor(func() bool { return late.ended() || late.in("(*waitLock).RLock(") }))
	goOn()
	must(t, <-late.end)
	g.kickRestore()
	d.a.await(PSUE, "x", "y")
	d.b.await(PSUE, "x", "y")
	must(t, w.write(ctx, 0, 7, 1, false))
	w.check(d.a, everyAck)
	if !eventWith(d.a.site, "checksum", "volume x", fmt.Sprint("offset ", 7*blockSize)) {
		t.Errorf("no event names volume and offset: %v", d.a.site.Events())
	}
	d.a.reopen()
	w.check(d.a, everyAck)
	d.wait("the link is up", d.a.linked)
	d.mend()
	w.check(d.b, everyAck)
}

// nextRecord makes a duo without a link and gives, for the group at the secondary, which has everything up to number last, the bytes of the record
// that would come next.
func nextRecord(t *testing.T) (d *duo, w *writer, g *group, last uint64, data []byte) {
	t.Helper()
	d, w, _ = differ(t)
	must(t, w.write(context.Background(), 0, 7, 1, true))
	last = d.a.groupStatus("g").AppendedSeq
	d.wait("it arrives", func() bool { return d.b.groupStatus("g@tokyo").AppendedSeq >= last })
	d.cut()
	g = d.b.site.groupByName("g@tokyo")
	rec := journal.Record{Kind: journal.KindUpdate, Volume: d.b.site.pairByName("x").att.number, Seq: journal.Seq(last + 1), Offset: 7 * blockSize, Length: blockSize, Payload: make([]byte, blockSize), Time: 1}
	fillBlock(rec.Payload, 9999, 0, 7)
	data, err := journal.EncodeRecord(nil, &rec)
	must(t, err)
	return d, w, g, last, data
}

// TestI7Receive gives the secondary a batch with one bit turned over, at every place of a record: nothing of it is used, and an event
// names the sequence numbers.
func TestI7Receive(t *testing.T) {
	t.Parallel()
	d, w, g, last, good := nextRecord(t)
	for bit := 0; bit < 8*len(good); bit += 1 + bit/64 {
		if at := bit / 8; at >= 8 && at < 16 || at >= 52 && at < 56 || at >= 60 && at < 64 {
			continue // position, mark and seal belong to the journal that a record was read from, not to the record
		}
		data := bytes.Clone(good)
		data[bit/8] ^= 1 << (bit % 8)
		p := &pullSession{g: g, ctx: context.Background(), wake: make(chan struct{}, 1), early: map[uint64]*quicwire.Batch{}}
		if err := p.store(&quicwire.Batch{Ordinal: 1, First: last + 1, Last: last + 1, Count: 1, RawLen: uint32(len(data)), Data: data}); err == nil {
			t.Fatalf("a record with bit %d turned over was taken", bit)
		}
	}
	if at := d.b.groupStatus("g@tokyo").AppendedSeq; at != last {
		t.Errorf("the secondary is at sequence number %d, not %d", at, last)
	}
	if !eventWith(d.b.site, "damaged", fmt.Sprint(last+1)) {
		t.Error("no event names the sequence number")
	}
	w.check(d.b, everyAck)
}

// TestI7OwnChecksum turns a bit over behind the check of what arrived and before it is in the journal: the checksum that came with the record goes
// on with it, so the restore finds that.
func TestI7OwnChecksum(t *testing.T) {
	t.Parallel()
	d, _, g, last, data := nextRecord(t)
	rec, _, err := journal.Parse(data)
	must(t, err)
	rec.Payload[1000] ^= 4
	p := &pullSession{g: g, ctx: context.Background(), wake: make(chan struct{}, 1)}
	must(t, p.record(&rec, &touched{}))
	g.kickRestore()
	d.b.await(PSUE, "x", "y")
	img := storeImage(t, d.b, "x")
	if n, err := readBlock(img[7*blockSize:8*blockSize], 0, 7); err != nil || n == 9999 {
		t.Errorf("the store has damaged bytes: %d, %v", n, err)
	}
	if !eventWith(d.b.site, "checksum", fmt.Sprint("seq ", last+1)) {
		t.Errorf("no event names the checksum and sequence number %d: %v", last+1, d.b.site.Events())
	}
}
