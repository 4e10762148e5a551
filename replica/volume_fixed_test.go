package replica

import "testing"

// A paired volume has a fixed size, whichever call would change it.
func TestAPairedVolumeDoesNotGrow(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	d.a.group("g")
	v := d.a.volume("x")
	d.a.pair("g", "x")
	ctx := t.Context()
	refused(t, v.Allocate(ctx, duoSize, 4096, false), KindBusy)
	refused(t, v.Zero(ctx, duoSize, 4096, false), KindBusy)
	refused(t, v.Resize(ctx, duoSize+4096), KindBusy)
	must(t, v.Allocate(ctx, 0, duoSize, false))
	must(t, v.Allocate(ctx, duoSize, 4096, true))
	must(t, d.a.site.DeletePair(ctx, "x", DeleteOptions{}))
	must(t, v.Allocate(ctx, duoSize, 4096, false))
	if v.Size() != duoSize+4096 {
		t.Errorf("the volume has %d bytes", v.Size())
	}
}
