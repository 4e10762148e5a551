package replica

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"pairfs/quicwire"
)

// TestJournalFull: with the link down the journal fills; then the pairs are PFUS, hosts go on, and a resync mends it.
func TestJournalFull(t *testing.T) {
	t.Parallel()
	d, w, rng := differ(t)
	must(t, d.a.site.SetGroup(context.Background(), "g", map[string]string{"inflow-control": "no"}))
	d.cut()
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	for range 24 { // MiB, into a journal of 16
		must(t, w.write(ctx, rng.IntN(2), int64(rng.IntN(700)), 256, false))
	}
	d.a.await(PFUS, "x", "y")
	w.check(d.b, whatever)
	w.check(d.a, everyAck)
	d.heal()
	d.wait("the link is up", d.a.linked)
	d.b.awaitAny([]Status{PFUS, PSUE}, "x", "y")
	d.mend()
	w.check(d.b, everyAck)
}

// TestJoinAndRoles: a pair joins a group whose other pair is in PAIR, one without a copy joins another, and each site is primary of one
// group and secondary of another. Restarts of both do not disturb them.
func TestJoinAndRoles(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	rng := newRand(testSeed(t))
	ctx := context.Background()
	d.a.group("g")
	d.b.group("g") // a group of the same name on the other side is another group
	w, back := newWriter(d.a, "x", "y"), newWriter(d.b, "z")
	d.a.volume("x")
	d.a.volume("y")
	d.b.volume("z")
	w.some(rng, 20)
	d.a.pair("g", "x")
	d.b.pair("g", "z")
	w.some(rng, 20)
	back.some(rng, 20)
	must(t, d.a.site.CreatePair(ctx, PairSpec{Name: "y", Volume: "y", Peer: "osaka", Group: "g"}))
	w.some(rng, 40)
	d.a.awaitBoth(PAIR, "x", "y")
	w.checkStill(d.b, "g@tokyo", whatever)
	for _, n := range []*node{d.a, d.b, d.a} {
		n.reopen()
	}
	w.some(rng, 20)
	back.some(rng, 20)
	d.a.awaitBoth(PAIR, "x", "y", "z")
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	d.b.suspend("g", SuspendOptions{}, "z")
	w.check(d.b, everyAck)
	back.check(d.a, everyAck)

	d.a.volume("n")
	d.b.volume("n")
	must(t, d.b.site.ReserveVolume(ctx, "n", "tokyo"))
	none := newWriter(d.a, "n")
	must(t, d.a.site.CreatePair(ctx, PairSpec{Name: "n", Volume: "n", Peer: "osaka", Group: "g", CopyNone: true}))
	d.a.awaitBoth(PAIR, "n")
	none.some(rng, 20)
	must(t, d.a.site.SuspendPair(ctx, "n", SuspendOptions{}))
	d.a.awaitBoth(PSUS, "n")
	none.check(d.b, everyAck)
	if sent := d.a.groupStatus("g").BaseSent; sent != 0 {
		t.Errorf("%d bytes of base records were sent", sent)
	}
}

// TestDelete from either side, and by force with the link down.
func TestDelete(t *testing.T) {
	t.Parallel()
	d, w, _ := differ(t)
	ctx := context.Background()
	must(t, d.b.site.DeletePair(ctx, "x", DeleteOptions{}))
	d.b.await(SMPL, "x")
	d.a.await(PSUS, "x")
	if p := d.a.status("x"); p.Suspend != DeletePairToRCU {
		t.Errorf("the primary shows %s", p.Suspend)
	}
	refused(t, d.a.site.ResyncPair(ctx, "x"), KindBusy)
	if l, err := d.a.site.PairDifferences(ctx, "x"); err != nil || l[0].Copied != -1 || !strings.Contains(l[0].Note, "was deleted at osaka and cannot be resynchronised") {
		t.Errorf("differences of a pair that was deleted there: %+v, %v", l, err)
	}
	must(t, d.a.site.DeletePair(ctx, "x", DeleteOptions{}))
	must(t, d.b.vol("x").Writable())
	d.cut()
	refused(t, d.a.site.DeletePair(ctx, "y", DeleteOptions{}), KindUnreachable)
	must(t, d.a.site.DeletePair(ctx, "y", DeleteOptions{Force: true}))
	w.check(d.a, everyAck)
	d.heal()
	d.b.await(PSUE, "y")
	must(t, d.b.site.DeletePair(ctx, "y", DeleteOptions{Force: true}))
	d.wait("the restore group goes", func() bool { return d.b.site.groupByName("g@tokyo") == nil })
	d.a.pair("g", "x", "y") // and again
}

// Without a copy the S-VOL has to be there: one that is made for the pair is empty, and nothing would tell or mend that.
func TestCopyNoneNeedsTheVolume(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	d.a.group("g")
	d.a.volume("x")
	spec := PairSpec{Name: "p", Volume: "x", RemoteVolume: "v3", Peer: "osaka", Group: "g", CopyNone: true}
	err := d.a.site.CreatePair(t.Context(), spec)
	refused(t, err, KindNotFound)
	says(t, err, "volume v3 does not exist at osaka, so it cannot be equal", "leave out copy=none", "volume reserve")
	if _, err := d.b.site.Volume("v3"); err == nil || d.a.status("p").Status != SMPL {
		t.Fatal("a refused create left a volume or a pair")
	}
	d.b.volume("v3")
	must(t, d.b.site.ReserveVolume(t.Context(), "v3", "tokyo"))
	must(t, d.a.site.CreatePair(t.Context(), spec))
	d.a.awaitBoth(PAIR, "p")
}

// TestCreateRefusals: quota, a volume that was not set aside, a wrong generation, and an orphan that makes room.
func TestCreateRefusals(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	ctx := context.Background()
	d.a.group("g")
	d.a.volume("x")
	spec := PairSpec{Name: "x", Volume: "x", Peer: "osaka", Group: "g"}
	quota := func(n int64) {
		must(t, d.b.site.AddPeer(ctx, PeerSpec{Name: "tokyo", Address: d.a.proxy.Addr(), Fingerprint: d.a.site.identity.Fingerprint().String(), Quota: n}))
	}
	quota(duoSize - 1)
	refused(t, d.a.site.CreatePair(ctx, spec), KindNoSpace)
	quota(duoSize)
	d.b.volume("x")
	refused(t, d.a.site.CreatePair(ctx, spec), KindAccess)
	must(t, d.b.site.RemoveVolume("x"))
	orphan := &quicwire.CreatePair{Pair: "x", Group: "g", Volume: "x", Number: 1, Size: duoSize, Generation: 77, JournalSize: journalMin}
	must(t, d.b.site.serveCreate(ctx, "tokyo", orphan)) // whose primary died before it joined
	d.a.pair("g", "x")
	for _, gen := range []uint64{77, 78} {
		err := d.b.site.serveDelete(ctx, "tokyo", &quicwire.DeletePair{Pairs: []quicwire.PairRef{{Name: "x", Generation: gen}}})
		refused(t, err, KindNotFound)
	}
	refused(t, d.b.site.serveCreate(ctx, "tokyo", orphan), KindExists)
	d.a.awaitBoth(PAIR, "x")
}

// TestSparse pairs a volume of 1 TiB that is a hole but for a few blocks: nothing but those travels.
func TestSparse(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	ctx := context.Background()
	v, err := d.a.site.CreateVolume("big")
	must(t, err)
	must(t, v.Resize(ctx, 1<<40))
	block := make([]byte, blockSize)
	places := []int64{0, 1 << 30, 1<<40 - blockSize}
	for i, off := range places {
		fillBlock(block, uint64(i+1), 0, off/blockSize)
		_, err := v.WriteAt(ctx, block, off, false)
		must(t, err)
	}
	d.a.group("g")
	d.a.pair("g", "big")
	if sent := d.a.groupStatus("g").BaseSent; sent > uint64(len(places))*regionSize {
		t.Errorf("the copy sent %d bytes for %d blocks", sent, len(places))
	}
	for i, off := range places {
		_, err := d.b.vol("big").ReadAt(block, off)
		must(t, err)
		if n, err := readBlock(block, 0, off/blockSize); err != nil || n != uint64(i+1) {
			t.Errorf("offset %d: write %d, %v", off, n, err)
		}
	}
	if n := d.b.vol("big").Allocated(); n > 1<<20 {
		t.Errorf("the S-VOL takes %d bytes", n)
	}
	if !slices.Equal(d.a.groupStatus("g").Pairs, []string{"big"}) {
		t.Error("the pair is not listed")
	}
}
