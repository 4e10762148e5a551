package e2e

import (
	"testing"
	"time"

	"pairfs/e2e/wan"
)

// TestLongWire sends packets over a long link, and replicates over it what is written while one percent of them is lost.
func TestLongWire(t *testing.T) {
	t.Parallel()
	if !Long() {
		t.Skip("PAIRFS_LONG is not set: it needs /dev/net/tun")
	}
	if why := NoWire(); why != "" {
		t.Skip(why)
	}
	s, w := TwoFarApart(t, wan.Line{Rate: 12 << 20, Delay: 20 * time.Millisecond, Loss: 0.01}, Options{})
	s.A.MakeVolume("db", 8*mib)
	h := NewHistory(s.Seed)
	s.CreatePair("pair0", "db", "")
	s.WaitBoth("pair0", "PAIR")
	work := StartWorkload(t, h, s.A.Targets(8*mib, "db"), Load{Seed: s.Seed, PerSecond: 50, MaxSize: 64 << 10})
	more(t, work, 100)
	if err := work.Stop(); err != nil {
		t.Fatal(err)
	}
	s.A.AwaitDrained("pair0")
	s.B.CheckImages(h, s.B.Targets(8*mib, "db"), Always)
	if passed, lost, dropped := w.Relay.Counts(); passed < 100 || lost == 0 {
		t.Errorf("%d packets passed, %d were lost and %d dropped", passed, lost, dropped)
	}
}
