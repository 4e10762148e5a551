package replica

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLostDatabaseRefused: a state directory whose database or key is gone is not taken for a new one.
func TestLostDatabaseRefused(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	d.a.volume("x")
	d.a.close()
	for _, name := range []string{"site.db", "key.pem"} {
		path := filepath.Join(d.a.cfg.StateDir, name)
		must(t, os.Rename(path, path+".away"))
		if err := d.a.tryOpen(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
		must(t, os.Rename(path+".away", path))
	}
	d.a.open()
	d.a.vol("x")
}

// TestStoreOfNobodyKept: bytes in a store that no volume has are never written over by a new volume of the name.
func TestStoreOfNobodyKept(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	path := d.a.site.storePath("x")
	must(t, os.WriteFile(path, []byte("whose are these?"), 0o600))
	_, err := d.a.site.CreateVolume("x")
	refused(t, err, KindExists)
	if b, err := os.ReadFile(path); err != nil || string(b) != "whose are these?" {
		t.Errorf("%q, %v", b, err)
	}
	must(t, os.Truncate(path, 0))
	_, err = d.a.site.CreateVolume("x") // an empty one is what a crash leaves
	must(t, err)
}

// TestFormerSVOLNotTaken: a volume that a peer made is this site's own as soon as hosts here write to it.
func TestFormerSVOLNotTaken(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	ctx := context.Background()
	d.a.volume("x")
	d.a.group("g")
	d.a.pair("g", "x")
	create := func() error {
		return d.a.site.CreatePair(ctx, PairSpec{Name: "x", Volume: "x", Peer: "osaka", Group: "g"})
	}
	must(t, d.a.site.DeletePair(ctx, "x", DeleteOptions{}))
	must(t, create()) // nobody wrote to it: the peer may take it again
	d.a.awaitBoth(PAIR, "x")
	must(t, d.a.site.DeletePair(ctx, "x", DeleteOptions{}))
	if _, err := d.b.vol("x").WriteAt(ctx, []byte("precious"), 0, false); err != nil {
		t.Fatal(err)
	}
	refused(t, create(), KindAccess)
	d.b.reopen()
	var err error
	d.wait("the peer is back", func() bool { err = create(); return KindOf(err) != KindUnreachable })
	refused(t, err, KindAccess)
	b := make([]byte, 8)
	if _, err := d.b.vol("x").ReadAt(b, 0); err != nil || string(b) != "precious" {
		t.Errorf("%q, %v", b, err)
	}
	must(t, d.b.site.ReserveVolume(ctx, "x", "tokyo"))
	must(t, create())
	d.a.awaitBoth(PAIR, "x")
}

// TestRefusedCreateLeavesNothing: the default group that a create made goes when the peer refuses.
func TestRefusedCreateLeavesNothing(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	d.a.volume("x")
	d.b.volume("x") // not set aside
	refused(t, d.a.site.CreatePair(context.Background(), PairSpec{Name: "x", Volume: "x", Peer: "osaka"}), KindAccess)
	d.wait("no group is left", func() bool { return len(d.a.site.Status().Groups) == 0 })
}
