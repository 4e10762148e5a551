package replica

import (
	"context"
	"slices"
	"strings"
	"testing"
)

// TestOptionsTakenBack: the value default takes an option back to what holds where nothing was set, here, in the database and at the other side.
func TestOptionsTakenBack(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	ctx := context.Background()
	s := d.a.site
	d.a.group("g")
	d.a.volume("x")
	d.a.pair("g", "x")
	must(t, s.SetGroup(ctx, "g", map[string]string{"path-watch": "90m", "line-speed": "1M", "copy-pace": "high"}))
	must(t, s.SetPair(ctx, "x", map[string]string{"priority": "7", "error-level": "lu"}))
	must(t, s.SetSite(ctx, map[string]string{"copies": "3"}))
	d.wait("the secondary has heard of it", func() bool { return slices.Contains(d.b.status("x").Options, "priority=7") })
	must(t, s.SetGroup(ctx, "g", map[string]string{"path-watch": "default", "line-speed": "default", "inflow-control": "default"}))
	must(t, s.SetPair(ctx, "x", map[string]string{"priority": "default"}))
	must(t, s.SetSite(ctx, map[string]string{"copies": "default"}))
	look := func(when string) {
		t.Helper()
		for what, have := range map[string][]string{
			"path-watch=1h line-speed=none copy-pace=high": d.a.groupStatus("g").Options, "priority=32 error-level=lu": d.a.status("x").Options,
			"copies=64": d.a.site.Status().Options,
		} {
			for _, want := range strings.Fields(what) {
				if !slices.Contains(have, want) {
					t.Errorf("%s: %v, want %s", when, have, want)
				}
			}
		}
	}
	look("set back")
	d.wait("the secondary has heard of that", func() bool {
		o := d.b.status("x").Options
		return slices.Contains(o, "priority=32") && slices.Contains(o, "error-level=lu")
	})
	d.a.reopen()
	look("after a restart")
	refused(t, d.a.site.SetPair(ctx, "x", map[string]string{"priority": "defaults"}), KindInvalid)
}

// TestOptionTakenBackAtTheSecondary: what was handed on holds again where something else was set at this side.
func TestOptionTakenBackAtTheSecondary(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	ctx := context.Background()
	d.a.group("g")
	d.a.volume("x")
	d.a.pair("g", "x")
	must(t, d.a.site.SetPair(ctx, "x", map[string]string{"priority": "7"}))
	must(t, d.b.site.SetPair(ctx, "x", map[string]string{"priority": "9"}))
	must(t, d.b.site.SetPair(ctx, "x", map[string]string{"priority": "default"}))
	d.wait("what was handed on holds", func() bool { return slices.Contains(d.b.status("x").Options, "priority=7") })
}

// TestBusyVolumeIsTold: a host that may not remove, rename or resize a volume finds in the events why.
func TestBusyVolumeIsTold(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	d.a.group("g")
	v := d.a.volume("x")
	d.a.pair("g", "x")
	for what, try := range map[string]func() error{
		"cannot be removed": func() error { return d.a.site.RemoveVolume("x") }, "cannot be renamed": func() error { return d.a.site.RenameVolume("x", "z") },
		"has a fixed size": func() error { return v.Resize(context.Background(), 0) },
	} {
		refused(t, try(), KindBusy)
		refused(t, try(), KindBusy)
		n := 0
		for _, e := range d.a.site.Events() {
			if e.Object == "volume/x" && e.Level == "warn" && strings.Contains(e.Text, what) && strings.Contains(e.Text, "pair x") && strings.Contains(e.Text, "delete the pair first") {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d events say that it %s, want one", n, what)
		}
	}
}
