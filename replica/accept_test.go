package replica

import (
	"context"
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"pairfs/journal"
)

// TestAcceptRefuses: what does not belong to a pair as it is here is not taken, changes nothing, and does not count as received.
func TestAcceptRefuses(t *testing.T) {
	t.Parallel()
	d, w, _ := differ(t)
	must(t, w.write(t.Context(), 0, 3, 1, true))
	last := d.a.site.groupByName("g").journal.Marks().LastSeq
	d.wait("it arrives", func() bool { return d.b.lastSeq("g@tokyo") >= last })
	d.cut()
	g, a := d.b.site.groupByName("g@tokyo"), d.b.site.pairByName("x").att
	last = d.b.lastSeq("g@tokyo")
	before := readAll(t, a.vol)
	p := &pullSession{g: g, ctx: context.Background(), wake: make(chan struct{}, 1)}
	update := func(change func(*journal.Record)) *journal.Record {
		rec := &journal.Record{Kind: journal.KindUpdate, Volume: a.number, Seq: last + 1, Length: blockSize, Payload: make([]byte, blockSize), Time: 1}
		change(rec)
		rec.CRC = journal.ChecksumRecord(rec)
		return rec
	}
	for name, change := range map[string]func(*journal.Record){
		"a base record in PAIR":     func(r *journal.Record) { r.Kind, r.Seq = journal.KindBase, last },
		"a record of that side":     func(r *journal.Record) { r.Flags, r.Seq = journal.FlagLocal, last },
		"one that ends outside":     func(r *journal.Record) { r.Offset = duoSize - blockSize/2 },
		"one that begins outside":   func(r *journal.Record) { r.Offset = duoSize },
		"one whose end wraps round": func(r *journal.Record) { r.Offset = ^uint64(0) - 10 },
		"one of nothing":            func(r *journal.Record) { r.Kind, r.Length, r.Payload = journal.KindDiscard, 0, nil },
		"one that is too long":      func(r *journal.Record) { r.Kind, r.Length, r.Payload = journal.KindDiscard, 1<<62, nil },
	} {
		if err := p.record(update(change), &touched{}); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	full := error(unix.ENOSPC)
	g.storeErr.Store(&full) // there is no room for what arrives
	if err := p.record(update(func(*journal.Record) {}), &touched{}); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("it ended with %v", err)
	}
	g.storeErr.Store(nil)
	if at := d.b.lastSeq("g@tokyo"); at != last {
		t.Errorf("the secondary counts number %d as received, and %d was the last that it took", at, last)
	}
	if at := diffAt(before, readAll(t, a.vol)); at >= 0 {
		t.Errorf("the S-VOL changed at offset %d", at)
	}
	must(t, p.record(update(func(*journal.Record) {}), &touched{}))
	if at := d.b.lastSeq("g@tokyo"); at != last+1 {
		t.Errorf("the secondary is at %d behind %d", at, last+1)
	}
}
