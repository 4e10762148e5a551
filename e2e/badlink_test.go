package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// badSize is the size of each of the three volumes of these tests, and badMemory the bound of their sites.
const (
	badSize   = 8 * mib
	badMemory = "64MiB"
)

// bad is two sites with a group of three volumes in PAIR, hosts that write to them, and all that is watched meanwhile.
type bad struct {
	*Sites
	t      *testing.T
	h      *History
	w      *Workload
	a, b   *Passage // of the pair of the last volume, and its group
	prints []*Footprint
	copied int64 // bytes of base records before the link was bad
}

// badPair is the pair that is looked at; the three are of one group.
var badPair = "p-" + three[2]

func startBad(t *testing.T, s *Sites, rate int) *bad {
	t.Helper()
	groupOfThree(t, s, badSize, "64MiB")
	s.A.Do("groups/g", "set path-watch=1h")
	s.B.Do("groups/g@tokyo", "set path-watch=1h")
	x := &bad{Sites: s, t: t, h: NewHistory(s.Seed), copied: s.A.Int("groups/g", "base-sent-bytes")}
	x.a, x.b = s.A.WatchPair(badPair, "g"), s.B.WatchPair(badPair, "g@tokyo")
	for _, site := range []*Site{s.A, s.B} {
		x.prints = append(x.prints, site.WatchFootprint())
	}
	x.w = StartWorkload(t, x.h, s.A.Targets(badSize, three...), Load{Seed: s.Seed, PerSecond: float64(rate), MaxSize: 16 << 10})
	more(t, x.w, int64(rate))
	return x
}

// image looks at the S-VOLs of a restore journal that stands still.
func (x *bad) image(floor Stamp) Prefix {
	x.t.Helper()
	return x.B.CheckImages(x.h, x.B.Targets(badSize, three...), floor)
}

// standStill cuts the link, looks whether the S-VOLs are one prefix, and lets it go on.
func (x *bad) standStill() {
	x.t.Helper()
	x.Link.Cut(true)
	x.B.AwaitStill("g@tokyo")
	x.image(0)
	x.Link.Cut(false)
	x.AwaitMirror("g")
}

// drained stops the hosts and waits until all they wrote has arrived.
func (x *bad) drained() {
	x.t.Helper()
	if err := x.w.Stop(); err != nil {
		x.t.Fatal(err)
	}
	x.A.AwaitDrained(badPair)
	x.image(Always)
	x.SameVolumes(three...)
}

// connections tells how often a site was connected with its peer.
func (s *Site) connections(peer string) (n int) {
	s.t.Helper()
	for _, e := range s.Events() {
		if strings.Contains(e, " peer/"+peer+": connected") {
			n++
		}
	}
	return n
}

// heldPair expects that the pair was in PAIR all the time, that nothing was copied, and that the daemons stayed within their bounds.
func (x *bad) heldPair() {
	x.t.Helper()
	x.a.Expect(x.t, "COPY PAIR ")
	x.b.Expect(x.t, "COPY PAIR ")
	if got := x.A.Int("groups/g", "base-sent-bytes"); got != x.copied {
		x.t.Errorf("%d bytes were copied", got-x.copied)
	}
	x.bounded()
}

func (x *bad) bounded() {
	x.t.Helper()
	for _, f := range x.prints {
		x.t.Log(f.Stop())
		f.Within(x.t)
	}
	x.t.Logf("connected %d times here, %d there", x.A.connections("osaka"), x.B.connections("tokyo"))
}

// badLinks are links over which a pair stays in PAIR with a long path watch time.
var badLinks = []struct {
	name   string
	always bool // not in the long form alone
	rate   int  // writes a second: what the link carries, behind a packet that is lost as well (at 2 s of latency QUIC sends one more each 4 s then)
	spoil  func(x *bad)
	each   func(x *bad) // again and again while hosts write
	proof  func(x *bad) // that the link was bad
}{
	{"loss_of_30_percent", true, 8, func(x *bad) { x.Link.Drop(0.3) }, nil, lossy},
	{"reordering", false, 60, func(x *bad) { x.Link.Reorder(0.3) }, nil, nil},
	{"duplication", false, 60, func(x *bad) { x.Link.Duplicate(0.5) }, nil, func(x *bad) {
		if x.Link.Doubled() <= 0 {
			x.t.Error("no packet arrived twice")
		}
	}},
	{"latency_of_2s", false, 10, func(x *bad) { x.Link.Latency(2 * time.Second) }, nil, nil},
	{"bits_of_1_percent", false, 60, func(x *bad) { x.Link.Corrupt(0.01) }, nil, func(x *bad) {
		if x.Link.Damaged() == 0 {
			x.t.Error("no packet was damaged")
		}
	}},
	{"all_at_once", false, 8, func(x *bad) {
		x.Link.Drop(0.1)
		x.Link.Reorder(0.2)
		x.Link.Duplicate(0.2)
		x.Link.Corrupt(0.01)
		x.Link.Delay(50 * time.Millisecond)
	}, nil, lossy},
	{"mtu_of_1280", false, 60, func(x *bad) { // from the first packet of a connection
		x.Link.Narrow(1280)
		x.standStill()
	}, nil, lossy},
	{"mtu_of_1280_in_mid_stream", false, 60, func(x *bad) {
		x.Link.Narrow(1280)
		Until(x.t, StatusLimit, "one of the sites finds that nothing gets through", func() bool { // whoever does closes the connection
			return x.A.HasEvent("group/g", "has confirmed nothing of what it was sent") || x.B.HasEvent("group/g@tokyo", "has sent nothing")
		})
		x.AwaitMirror("g")
	}, nil, lossy},
	{"address_changes_in_mid_stream", true, 60, func(*bad) {}, func(x *bad) { x.Link.Rebind() }, nil},
	{"peer_moves", false, 60, func(*bad) {}, (*bad).movePeer, nil},
}

func lossy(x *bad) {
	if x.Link.Lost() == 0 {
		x.t.Error("no packet was lost")
	}
}

// movePeer gives osaka another address; nobody answers at the old one any more, and tokyo is told the new one.
func (x *bad) movePeer() {
	x.t.Helper()
	old := x.Link.AddrB()
	x.Link.MoveB(x.t, x.B, x.Seed)
	x.A.Do("peers/osaka", fmt.Sprintf("add address=%s key=%s create=2TiB", x.Link.AddrB(), x.B.Fingerprint()))
	if x.Link.AddrB() == old {
		x.t.Error("osaka has its old address")
	}
}

// TestBadLinks runs hosts over each of them: PAIR holds, what arrives meanwhile is a prefix, everything arrives in order over the link as bad as it is,
// and neither memory nor threads grow.
func TestBadLinks(t *testing.T) {
	for _, row := range badLinks {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if !row.always && !Long() {
				t.Skip("with PAIRFS_LONG=1")
			}
			x := startBad(t, Two(t, Options{Memory: badMemory}), row.rate)
			row.spoil(x)
			for range scale(2, 5) {
				more(t, x.w, int64(scale(row.rate, 5)))
				if row.each != nil {
					row.each(x)
				}
			}
			if Long() {
				x.standStill()
			}
			x.drained()
			if row.proof != nil {
				row.proof(x)
			}
			x.Link.Heal()
			x.heldPair()
		})
	}
}

// deadLinks are the ways in which a link can be lost.
var deadLinks = []struct {
	name   string
	always bool
	cut    func(l *Link, on bool)
}{
	{"both_ways", false, (*Link).Cut},
	{"to_the_secondary", true, (*Link).CutToB},
	{"to_the_primary", false, (*Link).CutToA},
}

// TestDeadLinks loses the link, with hosts that write. Within path watch time nothing happens, and the mirror goes on when the link is back; behind
// it both sides suspend the pairs, none of them sooner than path watch time after the loss. (How much later at most is asserted in virtual time,
// see package replica: there time may be.)
func TestDeadLinks(t *testing.T) {
	for _, row := range deadLinks {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if !row.always && !Long() {
				t.Skip("with PAIRFS_LONG=1")
			}
			x := startBad(t, Two(t, Options{Memory: badMemory}), 60)
			x.lose(row.cut)
			x.pathLost(row.cut)
		})
	}
}

// lose cuts the link for less than path watch time.
func (x *bad) lose(cut func(*Link, bool)) {
	x.t.Helper()
	cut(x.Link, true)
	more(x.t, x.w, 50)
	x.B.AwaitStill("g@tokyo")
	x.image(0)
	for side, site := range map[string]*Site{"primary": x.A, "secondary": x.B} {
		if got := site.Status(badPair); got != "PAIR" {
			x.t.Errorf("within path watch time the %s is %s", side, got)
		}
	}
	cut(x.Link, false)
	x.AwaitMirror("g")
	more(x.t, x.w, 50)
	x.a.Expect(x.t, "COPY PAIR ")
	x.b.Expect(x.t, "COPY PAIR ")
}

// pathLost cuts the link for longer.
func (x *bad) pathLost(cut func(*Link, bool)) {
	x.t.Helper()
	const watch = 3 * time.Second
	x.A.Do("groups/g", "set path-watch=3s")
	x.B.Do("groups/g@tokyo", "set path-watch=3s")
	lost := time.Now()
	cut(x.Link, true)
	for site, p := range map[*Site]*Passage{x.A: x.a, x.B: x.b} {
		p.Await(x.t, "PSUE")
		took := time.Since(lost)
		x.t.Logf("%s was PSUE %.2f s after the loss", site.Name, took.Seconds())
		if took < watch { // it was seen later than it was
			x.t.Errorf("%s suspended its pairs %v after the loss, path watch time is %v", site.Name, took, watch)
		}
		if got := site.Get(badPair); got["suspend-type"] != "S-VOL failure" || !strings.Contains(got["last-error"], "path watch time (3s)") {
			x.t.Errorf("%s: suspend-type %s, last-error %s", site.Name, got["suspend-type"], got["last-error"])
		}
	}
	more(x.t, x.w, 50)
	x.image(0)
	cut(x.Link, false)
	x.AwaitLink()
	if err := x.w.Stop(); err != nil {
		x.t.Fatal(err)
	}
	union := int64(0)
	for _, v := range three {
		union += max(x.A.Int("p-"+v, "different-bytes"), x.B.Int("p-"+v, "different-bytes"))
	}
	Until(x.t, LinkLimit, "the peer takes the resync", func() bool { return x.A.Ctl("groups/g", "resync") == nil })
	for _, v := range three {
		x.WaitBoth("p-"+v, "PAIR")
	}
	if moved := x.A.Int("groups/g", "base-sent-bytes") - x.copied; moved > union {
		x.t.Errorf("the resync moved %d bytes, only %d differed", moved, union)
	}
	x.A.AwaitDrained(badPair)
	x.image(Always)
	x.SameVolumes(three...)
	x.a.Expect(x.t, "COPY PAIR PSUE COPY PAIR ")
	x.b.Expect(x.t, "COPY PAIR PSUE COPY PAIR ")
	x.bounded()
}

// TestQuietProcessor prints what two daemons take of a processor while hosts are quiet and the link is up, and then while it is down.
func TestQuietProcessor(t *testing.T) {
	if !Long() {
		t.Skip("with PAIRFS_LONG=1, and with nothing beside it")
	}
	s := Two(t, Options{Memory: badMemory})
	groupOfThree(t, s, badSize, "64MiB")
	s.A.AwaitDrained(badPair)
	quiet := func(what string) {
		t.Helper()
		before, begun := []time.Duration{s.A.CPU(), s.B.CPU()}, time.Now()
		<-time.After(time.Minute)
		for i, site := range []*Site{s.A, s.B} {
			cpu, took := site.CPU()-before[i], time.Since(begun)
			t.Logf("%s, %s: %.2f s of processor in %.0f s, %.2f %%", what, site.Name, cpu.Seconds(), took.Seconds(), 100*cpu.Seconds()/took.Seconds())
		}
	}
	quiet("link up")
	s.Link.Cut(true)
	Until(t, LinkLimit, "the link is down", func() bool {
		return s.A.Get("groups/g")["linked"] == "no" && s.B.Get("groups/g@tokyo")["linked"] == "no"
	})
	quiet("link down")
}
