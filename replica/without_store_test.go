package replica

import (
	"bytes"
	"os"
	"slices"
	"testing"
)

// loseStore takes the store of a volume away from a site that was killed.
func (n *node) loseStore(volume string) {
	n.t.Helper()
	must(n.t, os.Remove(n.cfg.StateDir+"/volumes/"+volume))
}

// threePaired makes volumes x and y in group g and z in group h, with records in the journals that are not in the stores of a site before goOn.
func threePaired(t *testing.T, late func(d *duo) *node) (d *duo, w *writer, goOn func()) {
	t.Helper()
	d = newDuo(t)
	d.a.group("g")
	d.a.group("h")
	for _, v := range []string{"x", "y", "z"} {
		d.a.volume(v)
	}
	w = newWriter(d.a, "x", "y", "z")
	w.some(newRand(testSeed(t)), 50)
	d.a.pair("g", "x", "y")
	d.a.pair("h", "z")
	var restores []func()
	for _, g := range late(d).site.groups {
		restores = append(restores, g.stopRestore())
	}
	for v := range 3 {
		must(t, w.write(t.Context(), v, 3, 2, true))
	}
	d.wait("the peer has all", func() bool {
		return d.a.status("x").LagBytes == 0 && d.a.status("y").LagBytes == 0 && d.a.status("z").LagBytes == 0
	})
	return d, w, func() {
		for _, goOn := range restores {
			goOn()
		}
	}
}

// TestLostStoreOfSecondary: a secondary does not start without a store; told that it is lost it gives that volume and its pair up, the primary
// hears of it, the others go on, and the pair can be made anew.
func TestLostStoreOfSecondary(t *testing.T) {
	d, w, goOn := threePaired(t, func(d *duo) *node { return d.b })
	d.b.crash(goOn)
	d.b.loseStore("x")
	err := d.b.tryOpen()
	refused(t, err, KindNotFound)
	says(t, err, "the store of x is missing", "--without-store=x")
	d.b.cfg.WithoutStores = []string{"x", "x"}
	d.b.open()
	d.b.cfg.WithoutStores = nil
	if _, err := d.b.site.Volume("x"); KindOf(err) != KindNotFound || d.b.status("x").Status != SMPL {
		t.Errorf("the volume without a store is still there: %v, %+v", err, d.b.status("x"))
	}
	if d.b.tells("volume/x", "whose P-VOL is at tokyo: delete the pair there too") != 1 {
		t.Errorf("what was given up is not told: %v", d.b.site.Events())
	}
	past, err := d.b.site.History(t.Context())
	must(t, err)
	if !slices.ContainsFunc(past, func(e Entry) bool { return e.Object == "pair/x" && e.What == "SMPL" && e.Group == "g@tokyo" }) {
		t.Errorf("it is not in the history: %+v", past)
	}
	d.a.await(PSUS, "x")
	if got := d.a.status("x").Suspend; got != DeletePairToRCU {
		t.Errorf("the primary takes it for %s", got)
	}
	d.a.awaitBoth(PAIR, "y", "z")
	must(t, w.write(t.Context(), 1, 9, 1, true))
	must(t, d.a.site.DeletePair(t.Context(), "x", DeleteOptions{}))
	d.a.pair("g", "x")
	d.b.reopen()
	d.a.awaitBoth(PAIR, "x", "y", "z")
	must(t, w.write(t.Context(), 0, 9, 1, true))
	d.inStep("x", "y", "z") // a flush without a link ends in marks
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	d.a.suspend("h", SuspendOptions{}, "z")
	d.wantEqual("x", "y", "z")
}

// TestLostStoreOfPrimary: a primary without a store gives volume and pair up as well; nothing of it is taken for the volume, and what the
// secondary has, which was taken over, becomes the volume of both sites.
func TestLostStoreOfPrimary(t *testing.T) {
	d, w, goOn := threePaired(t, func(d *duo) *node { return d.a })
	h := d.a.site.groupByName("h")
	h.mu.Lock()
	h.rec.Handed = map[string]string{"copy-pace": "high"} // by osaka, when that was the primary
	h.mu.Unlock()
	h.cmd.Lock()
	must(t, h.storeStates(h.allPairs()))
	h.cmd.Unlock()
	d.a.crash(goOn)
	d.a.loseStore("z")
	d.b.takeOver("h@tokyo", takeoverSSUS)
	b := newWriter(d.b, "x", "y", "z")
	must(t, b.write(t.Context(), 2, 20, 1, true))
	had := readAll(t, d.b.vol("z"))
	says(t, d.a.tryOpen(), "the store of z is missing", "--without-store=z")
	d.a.cfg.WithoutStores = []string{"z"}
	d.a.open()
	d.a.cfg.WithoutStores = nil
	if _, err := d.a.site.Volume("z"); KindOf(err) != KindNotFound || d.a.status("z").Status != SMPL || d.a.groupStatus("h").Peer != "" {
		t.Errorf("the volume without a store is still there: %v, %+v, %+v", err, d.a.status("z"), d.a.groupStatus("h"))
	}
	if got := d.a.groupStatus("h").Options; !slices.Contains(got, "copy-pace=low") {
		t.Errorf("the group goes by what the peer of its last pair handed on: %v", got)
	}
	if d.a.tells("volume/z", "whose S-VOL is at osaka: take over there") != 1 {
		t.Errorf("what was given up is not told: %v", d.a.site.Events())
	}
	d.a.awaitBoth(PAIR, "x", "y")
	must(t, w.write(t.Context(), 0, 9, 1, true))
	must(t, d.b.site.DeletePair(t.Context(), "z", DeleteOptions{}))
	d.b.group("k")
	d.b.pair("k", "z")
	if !bytes.Equal(had, readAll(t, d.b.vol("z"))) {
		t.Error("what the secondary had is not what it has")
	}
	d.inStep("x", "y")
	d.b.suspend("k", SuspendOptions{}, "z")
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	d.wantEqual("x", "y", "z")
	d.a.reopen()
	d.wantEqual("z")
}

// TestWithoutStoreRefused: only what is lost can be given up, and a refused start changes nothing.
func TestWithoutStoreRefused(t *testing.T) {
	d := newDuo(t)
	for _, v := range []string{"x", "y", "z"} {
		d.a.volume(v)
	}
	d.a.close()
	d.a.loseStore("y")
	d.a.loseStore("z")
	says(t, d.a.tryOpen(), "the store of y, of z is missing", "--without-store=y --without-store=z")
	for _, row := range []struct {
		names []string
		kind  Kind
		says  string
	}{
		{[]string{"y", "x"}, KindExists, "the store of volume x is there"},
		{[]string{"y", "nothing"}, KindNotFound, `has no volume "nothing"`},
		{[]string{"y"}, KindNotFound, "start with --without-store=y --without-store=z"},
	} {
		d.a.cfg.WithoutStores = row.names
		err := d.a.tryOpen()
		refused(t, err, row.kind)
		says(t, err, row.says)
	}
	d.a.cfg.WithoutStores = []string{"z", "y"} // a refused start changed nothing
	d.a.open()
	d.a.cfg.WithoutStores = nil
	d.a.reopen()
	if _, err := d.a.site.Volume("x"); err != nil || len(d.a.site.Volumes()) != 1 {
		t.Errorf("the site has %d volumes: %v", len(d.a.site.Volumes()), err)
	}
}

// TestStoreOfAnotherSize: an empty file in the place of a paired volume's store is not served, and nobody is told to make it as long as the pair: it would
// be taken for the volume. It is given up as a store that is missing.
func TestStoreOfAnotherSize(t *testing.T) {
	d, _, goOn := threePaired(t, func(d *duo) *node { return d.b })
	d.b.crash(goOn)
	store := d.b.cfg.StateDir + "/volumes/z"
	must(t, os.Truncate(store, 0))
	d.b.cfg.WithoutStores = []string{"z"}
	refused(t, d.b.tryOpen(), KindExists)
	d.b.cfg.WithoutStores = nil
	says(t, d.b.tryOpen(), "move "+store+" away and start with --without-store=z")
	must(t, os.Remove(store))
	d.b.cfg.WithoutStores = []string{"z"}
	d.b.open()
	d.b.cfg.WithoutStores = nil
	d.a.await(PSUS, "z")
	d.a.awaitBoth(PAIR, "x", "y")
}
