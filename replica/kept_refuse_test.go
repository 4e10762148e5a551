package replica

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestKeptFailsWhole lets each step fail in turn: there is nothing left of the set, hosts may write again, and the next attempt succeeds. With
// two pairs nothing is left of either.
func TestKeptFailsWhole(t *testing.T) {
	t.Parallel()
	var calls, failAt int
	var with error
	d := newDuo(t, func(name string, c *Config) {
		c.keptStep = func(step string) error {
			if calls++; calls == failAt {
				return with
			}
			return nil
		}
	})
	d.a.group("g")
	d.a.volume("x")
	d.a.volume("y")
	d.a.pair("g", "x", "y")
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	newWriter(d.a, "x", "y").some(newRand(3), 20)
	before := d.a.status("x")
	for _, row := range []struct {
		err  error
		kind Kind
	}{{unix.EIO, KindInternal}, {unix.ENOSPC, KindNoSpace}, {unix.EDQUOT, KindNoSpace}} {
		with = row.err
		for failAt = 1; ; failAt++ {
			calls = 0
			sets, err := d.a.keepMarked(t.Context(), "x", "y")
			if calls < failAt {
				must(t, err)
				calls = -100 // no step fails
				for _, k := range sets {
					must(t, d.a.site.DropKept(t.Context(), k.Name))
				}
				break
			}
			refused(t, err, row.kind)
			if !errors.Is(err, row.err) || !strings.Contains(err.Error(), "cannot be kept aside, so nothing was changed") {
				t.Fatalf("call %d: %v", failAt, err)
			}
			d.a.wantNoSets()
			if after := d.a.status("x"); after.Status != before.Status || after.KeptSets != 0 || !d.a.vol("x").picture().Writable {
				t.Fatalf("call %d: %+v", failAt, after)
			}
		}
		if failAt < 20 {
			t.Errorf("only %d steps", failAt)
		}
	}
}

// A drop that fails on its way leaves the set whole, or one that the next attempt or start removes; it never comes back in part.
func TestDropFailsWhole(t *testing.T) {
	t.Parallel()
	fail := ""
	d, _ := keptDuo(t, func(name string, c *Config) {
		c.keptStep = func(step string) error {
			if step == fail {
				return unix.EIO
			}
			return nil
		}
	})
	for _, row := range []struct {
		step string
		left int
	}{{"drop rename", 1}, {"drop sync", 0}, {"drop remove", 0}} {
		fail = ""
		sets, err := d.a.keepMarked(t.Context(), "x")
		must(t, err)
		fail = row.step
		refused(t, d.a.site.DropKept(t.Context(), sets[0].Name), KindInternal)
		all, err := d.a.site.Kept()
		must(t, err)
		if len(all) != row.left {
			t.Fatalf("%s: %d sets", row.step, len(all))
		}
		fail = ""
		if row.left == 1 {
			must(t, d.a.site.DropKept(t.Context(), sets[0].Name))
		}
		d.a.reopen()
		d.a.wantNoSets()
	}
}

// TestKeepIsRefused: while hosts may write; when the time is over; when the site ends.
func TestKeepIsRefused(t *testing.T) {
	t.Parallel()
	d, _ := keptDuo(t)
	p := d.a.site.pairByName("x")
	_, err := d.a.site.keepAside(t.Context(), []lost{{p, wholeSet(duoSize)}}, keepOptions{})
	refused(t, err, KindBusy)
	says(t, err, "pair x", "hosts may write volume x")
	late, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	_, err = d.a.keepMarked(late, "x")
	refused(t, err, KindTimeout)
	p.group.cancel()
	_, err = d.a.keepMarked(t.Context(), "x")
	refused(t, err, KindBusy)
	says(t, err, "is being stopped")
	d.a.wantNoSets()
	sets, err := d.b.keepRegions(t.Context(), keepOptions{}, newRegionSet(duoSize), "x")
	if err != nil || len(sets) != 0 {
		t.Errorf("of nothing: %v, %v", sets, err)
	}
}

// TestKeepIsPolite: it rests while other volumes are written, and only then.
func TestKeepIsPolite(t *testing.T) {
	t.Parallel()
	d, w := keptDuo(t)
	n := neighbours{site: d.a.site, not: d.a.vol("x"), seen: time.Now()}
	write := func(v *Volume) {
		t.Helper()
		_, err := v.WriteAt(t.Context(), []byte("x"), 0, false)
		must(t, err)
	}
	other := d.a.volume("y")
	for _, row := range []struct {
		volume *Volume
		busy   bool
	}{{other, true}, {nil, false}, {w.node.vol("x"), false}, {other, true}} {
		n.seen = time.Now()
		if row.volume != nil {
			write(row.volume)
		}
		if n.write(n.seen.Add(keptLook/2)) != n.busy {
			t.Error("it looks too often")
		}
		if n.write(n.seen.Add(keptLook)) != row.busy {
			t.Errorf("%+v: %v", row, n.busy)
		}
	}
}

// A volume that changes while it is read is not what was kept.
func TestKeepRefusesAVolumeThatChanges(t *testing.T) {
	t.Parallel()
	var v *Volume
	d, _ := keptDuo(t, func(name string, c *Config) {
		c.keptStep = func(step string) error {
			if step == "sync list" && name == "tokyo" {
				v.modified.Add(1)
			}
			return nil
		}
	})
	v = d.a.vol("x")
	_, err := d.a.keepMarked(t.Context(), "x")
	refused(t, err, KindBusy)
	says(t, err, "volume x was written meanwhile")
	d.a.wantNoSets()
}

// TestI7Kept turns a bit over in memory in a record that is not in the store yet: its bytes are not kept as if they were good.
func TestI7Kept(t *testing.T) {
	t.Parallel()
	d, w := keptDuo(t)
	g := d.a.site.groupByName("g")
	goOn := g.stopRestore()
	must(t, w.write(t.Context(), 0, 7, 1, true))
	lastPayload(t, g)[1000] ^= 4
	goOn()
	sets, err := d.a.keepRegions(t.Context(), keepOptions{}, wholeSet(duoSize), "x")
	if err == nil { // the journal was given up meanwhile: the store is what hosts read
		k, err := d.a.site.OpenKept(sets[0].Name)
		must(t, err)
		defer k.Close()
		b := make([]byte, blockSize)
		_, err = k.ReadAt(b, 7*blockSize)
		must(t, err)
		if _, err := readBlock(b, 0, 7); err != nil {
			t.Errorf("damaged bytes were kept: %v", err)
		}
	} else {
		refused(t, err, KindBusy)
	}
	d.wait("the damage is told", func() bool { return eventWith(d.a.site, "checksum", "volume x") })
}
