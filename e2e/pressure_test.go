package e2e

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// thin is a site pair on a cable of some MB/s: one volume in one group with a small journal, in PAIR, watched and measured.
type thin struct {
	*Sites
	*Wire
	t      *testing.T
	size   int64
	meter  *Meter
	h      *History
	pa, pb *Passage // of the primary and of the secondary
}

// Pairs and groups of these tests.
const (
	thinPair, thinGroup = "pair0", "g"
	thinRate            = 4_000_000   // bytes per second of the cable
	wideRate            = 200_000_000 // when nothing is measured
)

// startThin makes one with a cable of thinRate; group are the words that create the group.
func startThin(t *testing.T, size int64, group string) *thin {
	t.Helper()
	return startCable(t, size, thinRate, group)
}

// startCable makes one with a cable of a rate, in bytes per second.
func startCable(t *testing.T, size, rate int64, group string) *thin {
	t.Helper()
	if why := NoWire(); why != "" {
		t.Skipf("two hosts with a cable between them cannot be made here: %s", why)
	}
	s, w := TwoApart(t, wideRate, Options{})
	x := &thin{Sites: s, Wire: w, t: t, size: size, meter: NewMeter(), h: NewHistory(s.Seed)}
	s.A.Do("groups/"+thinGroup, "create "+group)
	s.A.MakeVolume("db", size)
	x.pa, x.pb = s.A.WatchPair(thinPair, thinGroup), s.B.WatchPair(thinPair, thinGroup+"@tokyo")
	s.CreatePair(thinPair, "db", "group="+thinGroup)
	s.WaitBoth(thinPair, "PAIR")
	w.Rate(rate)
	x.meter.WatchJournal(s.A, thinGroup)
	return x
}

// load writes perSecond writes of 32 KB in the mean a second.
func (x *thin) load(perSecond float64) *Workload {
	x.t.Helper()
	return StartWorkload(x.t, x.h, x.A.Targets(x.size, "db"), Load{Seed: x.Seed + uint64(x.h.Len()), PerSecond: perSecond, Meter: x.meter})
}

// windows waits, n times, until the workload has done some more writes: as often as there are windows, the writers went on.
func (x *thin) windows(w *Workload, n int, writes int64) {
	x.t.Helper()
	for range n {
		more(x.t, w, writes)
	}
}

// stop ends a load; no write of it may have failed.
func (x *thin) stop(w *Workload) {
	x.t.Helper()
	if err := w.Stop(); err != nil {
		x.t.Fatal(err)
	}
}

// equal waits until the pair is in step and compares its volumes.
func (x *thin) equal() {
	x.t.Helper()
	x.A.AwaitDrained(thinPair)
	x.B.CheckImages(x.h, x.B.Targets(x.size, "db"), Always)
	x.SameVolumes("db")
}

func (x *thin) tables() {
	x.t.Helper()
	x.t.Logf("by phase:\n%s", x.meter.Phases())
	x.t.Logf("by time:\n%s", x.meter.Windows(time.Duration(scale(1, 5))*time.Second))
}

// TestInflowControl writes several times faster than the cable carries, with inflow control: hosts come to the pace of the cable, without
// a suspension, however long it lasts, and the pair is in step when the load ends.
func TestInflowControl(t *testing.T) {
	t.Parallel()
	x := startThin(t, 48*mib, fmt.Sprintf("size=%dMiB inflow-control=yes", scale(32, 2)))
	capacity := x.A.Int("groups/"+thinGroup, "capacity-bytes")
	x.meter.Phase("below the mark")
	w := x.load(600)
	x.pa.Await(t, "PFUL")
	if got := x.A.Status(thinPair); got != "PFUL" {
		t.Errorf("over the high-water mark the pair is %s", got)
	}
	x.meter.Phase("PFUL, settling")
	x.windows(w, scale(3, 4), 100)
	x.meter.Phase("PFUL, settled")
	sent := x.A.Int("groups/"+thinGroup, "sent-bytes")
	x.windows(w, scale(5, 20), 100)
	sent = x.A.Int("groups/"+thinGroup, "sent-bytes") - sent
	x.meter.Phase("load ended")
	x.stop(w)
	x.Wire.Rate(wideRate)
	x.A.Wait(thinPair, StatusLimit, "PAIR")
	x.equal()
	x.tables()
	t.Logf("sent %d bytes of records while settled", sent)
	if most := x.meter.MostUsed(); most >= capacity {
		t.Errorf("the journal was used to its end: %d of %d bytes", most, capacity)
	}
	x.pa.Expect(t, "COPY PAIR (PFUL below ){1,3}") // once, but for a machine that is very busy
	x.pb.Expect(t, "COPY PAIR ")
}

// TestInflowSmallJournal writes as fast as it can to a journal of the smallest size over a faster cable: the journal could be filled between
// two looks at a clock, and hosts come to the pace of the cable all the same. The journal never is without room.
func TestInflowSmallJournal(t *testing.T) {
	t.Parallel()
	for _, rate := range []int64{30_000_000, 100_000_000} {
		t.Run(fmt.Sprintf("%d_MBps", rate/1_000_000), func(t *testing.T) {
			x := startCable(t, 48*mib, rate, "size=16MiB inflow-control=yes")
			waited := x.A.Int("groups/"+thinGroup, "waited-room")
			x.meter.Phase("settling")
			w := x.load(1e6)
			x.pa.Await(t, "PFUL")
			x.windows(w, scale(3, 4), 200)
			x.meter.Phase("settled")
			x.windows(w, scale(10, 10), rate/300_000)
			x.meter.Phase("load ended")
			x.stop(w)
			x.A.Wait(thinPair, StatusLimit, "PAIR")
			x.equal()
			x.tables()
			t.Logf("%d writes waited for room", x.A.Int("groups/"+thinGroup, "waited-room")-waited)
			x.pa.Expect(t, "COPY PAIR (PFUL below )+")
			x.pb.Expect(t, "COPY PAIR ")
		})
	}
}

// TestOverflow writes faster than the cable carries, without inflow control: the journal gets full, and then hosts are free of the cable.
// A second overflow finds a load that stays in what is left to hosts: all that the journal held for the peer gets there.
func TestOverflow(t *testing.T) {
	t.Parallel()
	x := startThin(t, 48*mib, "size=16MiB")
	x.meter.Phase("PAIR")
	w := x.load(600)
	x.pa.Await(t, "PFUS")
	x.meter.Phase("PFUS")
	x.pb.Await(t, "PFUS")
	x.windows(w, 2, 200)
	x.meter.Phase("PFUS, cable cut")
	x.Wire.Cut(true)
	x.windows(w, scale(3, 20), 200)
	x.meter.Phase("resync")
	x.Wire.Cut(false)
	x.resyncUnion(w, 0)
	x.pa.Expect(t, "COPY PAIR (PFUL below ){0,2}PFUL Suspending PFUS COPY PAIR ")
	x.pb.Expect(t, "COPY PAIR PFUS COPY PAIR ")

	x.pa.Forget()
	x.pb.Forget()
	x.Wire.Rate(thinRate)
	x.meter.Phase("PAIR again")
	w = StartWorkload(t, x.h, x.A.Targets(x.size, "db"), Load{Seed: x.Seed, Burst: 120, Meter: x.meter})
	if err := w.Wait(); err != nil {
		t.Fatal(err)
	}
	floor := x.h.Now() // before the overflow: at the secondary when the drain has ended
	// A little more than the cable carries: on a slow machine the writers end late, and what they write by then has to find room.
	w = StartWorkload(t, x.h, x.A.Targets(x.size, "db"), Load{Seed: x.Seed + uint64(x.h.Len()), PerSecond: 350, MaxSize: 64 << 10, Meter: x.meter})
	x.pa.Await(t, "Suspending")
	x.stop(w)
	x.meter.Phase("Suspending")
	w = x.load(10)
	x.pa.Await(t, "PFUS")
	x.meter.Phase("PFUS after a drain")
	if w.Acked() == 0 {
		t.Error("no write was acknowledged while the journal was drained")
	}
	x.B.Wait(thinPair, StatusLimit, "PFUS")
	x.resyncUnion(w, floor)
	x.pa.Expect(t, "(PFUL below )*PFUL Suspending PFUS COPY PAIR ")
	x.pb.Expect(t, "PFUS COPY PAIR ")
	x.tables()
}

// resyncUnion checks that the S-VOL of a pair in PFUS is one prefix that has all from before floor, brings the pair back, and checks what
// that cost.
func (x *thin) resyncUnion(w *Workload, floor Stamp) {
	x.t.Helper()
	x.stop(w)
	for side, site := range map[string]*Site{"primary": x.A, "secondary": x.B} {
		if got := site.Get(thinPair); got["status"] != "PFUS" || got["suspend-type"] != "JNL overflow" {
			x.t.Errorf("the %s is %s, %s", side, got["status"], got["suspend-type"])
		}
	}
	x.B.CheckImages(x.h, x.B.Targets(x.size, "db"), floor)
	x.Wire.Rate(wideRate)
	x.AwaitLink()
	union := max(x.A.Int(thinPair, "different-bytes"), x.B.Int(thinPair, "different-bytes"))
	before := x.A.Int("groups/"+thinGroup, "base-sent-bytes")
	x.resync()
	x.WaitBoth(thinPair, "PAIR")
	moved := x.A.Int("groups/"+thinGroup, "base-sent-bytes") - before
	x.t.Logf("the resync moved %d bytes, %d differed of %d", moved, union, x.size)
	if moved > union {
		x.t.Errorf("the resync moved %d bytes, only %d differed", moved, union)
	}
	x.equal()
}

// resync asks until the peer can be reached: a connection that the peer gave up while the cable was out is found out by who uses it first.
func (x *thin) resync() {
	x.t.Helper()
	Until(x.t, LinkLimit, "the peer takes the resync", func() bool {
		err := x.A.Ctl(thinPair, "resync")
		var refused *CtlError
		if err != nil && !(errors.As(err, &refused) && refused.Errno == unix.EHOSTUNREACH) {
			x.t.Fatalf("resync: %v", err)
		}
		return err == nil
	})
}

// TestOverflowWatch cuts the cable under a load with inflow control: hosts are slowed for data overflow watch, then the pair is suspended
// and they go on.
func TestOverflowWatch(t *testing.T) {
	t.Parallel()
	x := startThin(t, 48*mib, "size=16MiB inflow-control=yes overflow-watch=2s")
	x.meter.Phase("PAIR")
	w := x.load(100)
	x.windows(w, 2, 100)
	x.meter.Phase("cable cut")
	x.Wire.Cut(true)
	x.pa.Await(t, "PFUL")
	x.meter.Phase("PFUL")
	x.pa.Await(t, "PFUS")
	x.meter.Phase("PFUS, cable cut")
	x.windows(w, scale(2, 20), 200)
	x.meter.Phase("PFUS")
	x.Wire.Cut(false)
	x.B.Wait(thinPair, StatusLimit, "PFUS")
	x.resyncUnion(w, 0)
	x.tables()
	x.pa.Expect(t, "COPY PAIR (PFUL below ){0,2}PFUL (Suspending )?PFUS COPY PAIR ")
	x.pb.Expect(t, "COPY PAIR PFUS COPY PAIR ")
}
