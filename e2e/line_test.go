package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// carried says how many bytes per second went over the cable while do ran, all headers counted.
func (x *thin) carried(what string, do func()) (perSecond float64) {
	x.t.Helper()
	x.meter.Phase(what)
	before, begun := x.Wire.Sent(), time.Now()
	do()
	sent, took := x.Wire.Sent()-before, time.Since(begun)
	perSecond = float64(sent) / took.Seconds()
	x.t.Logf("%s: %d bytes went over the cable in %.2f s, %.3f MB/s", what, sent, took.Seconds(), perSecond/1e6)
	return perSecond
}

// TestLineSpeed sets a line speed below what the cable carries, under a load, and takes it back: the daemon itself sends that much and not
// more, and goes on at once when it may.
func TestLineSpeed(t *testing.T) {
	t.Parallel()
	x := startThin(t, 48*mib, "size=64MiB inflow-control=yes")
	x.Wire.Rate(4 * thinRate)
	w := x.load(200)
	some := func() { x.windows(w, scale(2, 10), 150) }
	free := x.carried("no line speed", some)
	x.A.Do("groups/"+thinGroup, "set line-speed=1M")
	more(t, w, 50) // what was on its way
	limited := x.carried("line-speed=1M", some)
	if limited > free/2 {
		t.Errorf("with a line speed of 1 MiB a second %.0f bytes went over the cable in a second, without %.0f", limited, free)
	}
	// At this speed one batch takes a quarter of a minute, so what waits for it does so when the speed is taken back.
	x.A.Do("groups/"+thinGroup, "set line-speed=64K")
	crawling := x.carried("line-speed=64K", some)
	if crawling > free/4 {
		t.Errorf("with a line speed of 64 KiB a second %.0f bytes went over the cable in a second, without %.0f", crawling, free)
	}
	x.stop(w)
	x.A.Do("groups/"+thinGroup, "set line-speed=none")
	x.carried("line-speed=none, rest", func() { x.A.AwaitDrained(thinPair) })
	x.equal()
	x.tables()
	x.pb.Expect(t, "COPY PAIR ")
}

// TestCopyPace copies a volume at each pace beside a load that is more than the cable carries, with inflow control, and says what copy and
// hosts got.
func TestCopyPace(t *testing.T) {
	t.Parallel()
	size := int64(scale(6, 8)) * mib
	x := startThin(t, 16*mib, "size=32MiB inflow-control=yes")
	x.Wire.Rate(4 * thinRate)
	w := x.load(1200)
	x.pa.Await(t, "PFUL")
	var table strings.Builder
	fmt.Fprintf(&table, "%-8s %12s\n", "pace", "copy MB/s")
	for _, pace := range []string{"low", "medium", "high"} {
		volume, h := "copied-"+pace, NewHistory(x.Seed)
		x.A.MakeVolume(volume, size)
		Prefill(t, h, Target{Path: x.A.Path(volume), Size: size})
		x.A.Do("groups/"+thinGroup, "set copy-pace="+pace)
		x.meter.Phase("copy-pace=" + pace)
		before, begun := x.A.Int("groups/"+thinGroup, "base-sent-bytes"), time.Now()
		x.CreatePair(volume, volume, "group="+thinGroup)
		x.A.Wait(volume, StatusLimit, "PAIR", "PFUL")
		Until(t, StatusLimit, "the copy of "+volume+" has ended", func() bool { return x.A.Get(volume)["copied-percent"] == "100.0" })
		copied, took := x.A.Int("groups/"+thinGroup, "base-sent-bytes")-before, time.Since(begun)
		fmt.Fprintf(&table, "%-8s %12.2f\n", pace, float64(copied)/1e6/took.Seconds())
	}
	x.meter.Phase("no copy")
	x.windows(w, 2, 300)
	x.meter.Phase("load ended")
	x.stop(w)
	x.Wire.Rate(wideRate)
	x.equal()
	for _, pace := range []string{"low", "medium", "high"} {
		x.WaitBoth("copied-"+pace, "PAIR")
		x.SameVolumes("copied-" + pace)
	}
	t.Logf("the copy beside a load that is more than the cable carries:\n%s", table.String())
	x.tables()
}
