package replica

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"pairfs/journal"
)

// TestAges: whatever the wall clock says, the age of a number is what the group saw of its numbers, to a tick.
func TestAges(t *testing.T) {
	const tick = 250 * time.Millisecond
	begin := time.Now()
	at := func(d time.Duration) time.Time { return begin.Add(d) }
	for name, c := range map[string]struct {
		last func(d time.Duration) journal.Seq // the last number given after that time
		held journal.Seq
		took time.Duration
		want time.Duration // age of held+1
	}{
		"one number that waits":       {func(d time.Duration) journal.Seq { return 10 + min(journal.Seq(d/time.Minute), 1) }, 10, time.Hour, 59 * time.Minute},
		"many numbers, none held":     {func(d time.Duration) journal.Seq { return 10 + journal.Seq(d/tick) }, 11, time.Hour, time.Hour},
		"many numbers, half are held": {func(d time.Duration) journal.Seq { return 10 + journal.Seq(d/tick) }, 10 + 2*3600, time.Hour, 30 * time.Minute},
		"nothing waits for long":      {func(d time.Duration) journal.Seq { return 10 + journal.Seq(d/tick) }, 10 + 4*3600 - 3, time.Hour, 3 * tick},
	} {
		var a ages
		for d := time.Duration(0); d <= c.took; d += tick {
			a.look(c.last(d), 0, at(d))
		}
		a.look(c.last(c.took), c.held, at(c.took))
		if len(a.marks) > agesMax {
			t.Errorf("%s: %d marks", name, len(a.marks))
		}
		slack := 2*tick + c.took/16
		for _, wall := range []time.Duration{-48 * time.Hour, 0, 5 * time.Second, 48 * time.Hour} {
			got := a.bound(c.held+1, wall, at(c.took))
			if got < c.want-slack || got > c.want+slack {
				t.Errorf("%s: the wall clock says %v, the lag is %v and not %v", name, wall, got, c.want)
			}
		}
		if got := a.bound(c.held+1, c.want, at(c.took)); got < c.want-tick || got > c.want+tick {
			t.Errorf("%s: the wall clock is right with %v, the lag is said to be %v", name, c.want, got)
		}
	}
}

// TestAgesFollow: as the peer takes what it lacks, what is remembered goes, and short ages are exact again.
func TestAgesFollow(t *testing.T) {
	const tick = 250 * time.Millisecond
	var a ages
	now := time.Now()
	for n := range journal.Seq(20000) { // the peer takes nothing
		now = now.Add(tick)
		a.look(n, 0, now)
	}
	for n := range journal.Seq(2000) { // it lacks the last two
		now = now.Add(tick)
		a.look(20000+n, 20000+n-2, now)
	}
	if len(a.marks) > 4 {
		t.Errorf("%d marks are left", len(a.marks))
	}
	if got := a.bound(21998, time.Hour, now); got < tick || got > 3*tick {
		t.Errorf("the age is %v", got)
	}
}

// TestLagOfASetClock: the lag is the age of what the peer lacks, though the wall clock of the primary is set forth and back meanwhile.
func TestLagOfASetClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		g, tokyo := w.groups[0], w.sites[0]
		w.net.Blackhole(true)
		time.Sleep(5 * time.Second)
		must(t, g.w.write(context.Background(), 0, 0, 1, true))
		for _, by := range []time.Duration{0, time.Hour, -3 * time.Hour, 2*time.Hour - time.Minute} {
			tokyo.clock.Add(int64(by))
			time.Sleep(2 * time.Second)
			w.verify("the lag", g.lagIs(g.at(tokyo, "g")))
			if l := tokyo.status("x"); l.LagBytes <= 0 || l.LagSeq == 0 || l.LagTime < time.Second || l.LagTime > 20*time.Second {
				t.Errorf("after %v the lag is %d records, %v", by, l.LagSeq, l.LagTime)
			}
		}
		w.calm()
		w.until("the peer has it", func() bool { return tokyo.status("x").LagSeq == 0 })
		w.verify("the lag", g.lagIs(g.at(tokyo, "g")))
	})
}

// TestGrantBehindASetClock: a secondary that granted a resync which never begins splits the pair again, though its clock was set back by an
// hour before it started anew.
func TestGrantBehindASetClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		g, osaka := w.groups[0], w.sites[1]
		must(t, g.home.site.SuspendPair(context.Background(), "x", SuspendOptions{}))
		w.until("the pair is split", func() bool { return g.home.status("x").Status == PSUS && osaka.status("x").Status == PSUS })
		own := g.at(osaka, g.restored())
		own.cmd.Lock()
		err := own.run(context.Background(), EvPeerResync, []*pair{osaka.site.pairByName("x")}, runOptions{})
		own.cmd.Unlock()
		must(t, err)
		osaka.die(nil)
		osaka.clock.Add(-int64(time.Hour))
		osaka.start()
		w.until("the pair is split again", func() bool { return osaka.status("x").Status == PSUS })
	})
}

// TestHistoryOfASetClock: what each ledger holds stays in its order when the clock was set back.
func TestHistoryOfASetClock(t *testing.T) {
	entries := func(what string, minutes ...int) (list []Entry) {
		for i, m := range minutes {
			list = append(list, Entry{Time: time.Unix(int64(m)*60, 0), What: what + string(rune('0'+i))})
		}
		return list
	}
	for _, c := range []struct {
		a, b []Entry
		want string
	}{
		{entries("a", 1, 3, 5), entries("b", 2, 4), "a0 b0 a1 b1 a2"},
		{entries("a", 5, 6, 1, 2), nil, "a0 a1 a2 a3"},
		{nil, entries("b", 5, 1), "b0 b1"},
		{entries("a", 10, 1), entries("b", 9, 2), "b0 b1 a0 a1"},
	} {
		got := ""
		for _, e := range inTime(c.a, c.b) {
			got += " " + e.What
		}
		if got != " "+c.want {
			t.Errorf("got%s, want %s", got, c.want)
		}
	}
}
