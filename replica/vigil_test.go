package replica

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestSilenceBound is the table of how long a primary may be silent.
func TestSilenceBound(t *testing.T) {
	for _, c := range []struct{ probe, most, want time.Duration }{
		{0, time.Minute, silenceMin}, // no connection any more
		{26 * time.Millisecond, time.Minute, silenceMin},
		{150 * time.Millisecond, time.Minute, 1200 * time.Millisecond},
		{4 * time.Second, time.Minute, 30 * time.Second}, // QUIC ends the connection before
		{26 * time.Millisecond, 400 * time.Millisecond, 200 * time.Millisecond},
	} {
		if got := silenceBound(c.probe, c.most); got != c.want {
			t.Errorf("probe timeout %v, timeout %v: %v, want %v", c.probe, c.most, got, c.want)
		}
	}
}

// TestHush: what comes ends the silence, and a side that stood still itself has not listened meanwhile.
func TestHush(t *testing.T) {
	t0 := time.Unix(0, 0)
	h := hush{packets: 7, looked: t0}
	for i, c := range []struct {
		at      time.Duration
		packets uint64
		want    time.Duration
	}{
		{10 * time.Millisecond, 7, 10 * time.Millisecond},
		{25 * time.Millisecond, 7, 25 * time.Millisecond},
		{10 * time.Second, 7, 45 * time.Millisecond}, // it stood still
		{10*time.Second + 10*time.Millisecond, 8, 0},
		{10*time.Second + 15*time.Millisecond, 8, 5 * time.Millisecond},
		{10*time.Second + 20*time.Millisecond, 3, 0}, // it was forgotten and made known again
	} {
		if h.look(t0.Add(c.at), c.packets, 20*time.Millisecond); h.quiet != c.want {
			t.Errorf("look %d: quiet for %v, want %v", i, h.quiet, c.want)
		}
	}
}

// takeOverAt takes a group over in virtual time and returns the answer and how long it took until the first write was accepted.
func (w *world) takeOverAt(site *simSite, g *simGroup) (answer string, took time.Duration) {
	w.t.Helper()
	began := time.Now()
	var said Remarks
	must(w.t, site.site.TakeoverGroup(WithRemarks(context.Background(), &said), g.names[site], TakeoverOptions{}))
	if _, err := site.vol(g.w.names[0]).WriteAt(context.Background(), make([]byte, simUnit), 0, true); err != nil {
		w.t.Fatalf("the first write behind %q: %v", said.String(), err)
	}
	return said.String(), time.Since(began)
}

// TestTakeoverBehindAKill: the primary was killed a moment ago, and as far as QUIC knows it is connected. Nothing is left to drain, or much: the
// takeover goes on without it well within a second of virtual time, and says why.
func TestTakeoverBehindAKill(t *testing.T) {
	for _, c := range []struct {
		name    string
		before  func(w *world, g *simGroup, osaka *simSite)
		latency time.Duration
		within  time.Duration
	}{
		{"nothing_to_drain", func(*world, *simGroup, *simSite) {}, 5 * time.Millisecond, 700 * time.Millisecond},
		{"much_to_drain", func(w *world, g *simGroup, osaka *simSite) {
			own := g.at(osaka, g.restored())
			own.mu.Lock()
			own.newestSeq = own.lastSeq + 1000 // it had said so, and then it died
			own.mu.Unlock()
		}, 5 * time.Millisecond, 700 * time.Millisecond},
		{"no_mirror", func(w *world, g *simGroup, osaka *simSite) { // it was about to be opened
			g.at(osaka, g.restored()).holdPull()()
		}, 5 * time.Millisecond, 700 * time.Millisecond},
		{"copy_not_ended_there", func(w *world, g *simGroup, osaka *simSite) { // it had not said yet that it is in PAIR
			own := g.at(osaka, g.restored())
			own.mu.Lock()
			for _, p := range own.pairs {
				p.peerStatus = COPY
			}
			own.mu.Unlock()
		}, 5 * time.Millisecond, 700 * time.Millisecond},
		{"long_link", func(w *world, g *simGroup, osaka *simSite) {}, 50 * time.Millisecond, 1500 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 1)
				g, tokyo, osaka := w.groups[0], w.sites[0], w.sites[1]
				w.net.Latency(c.latency)
				must(t, g.w.write(context.Background(), 0, 0, 1, true))
				w.until("everything has arrived", func() bool { return tokyo.status("x").LagSeq == 0 && osaka.status("x").PeerStatus == "PAIR" })
				time.Sleep(time.Minute) // of virtual time: the round trip is measured anew
				tokyo.die(nil)
				c.before(w, g, osaka)
				if _, up := osaka.site.endpoint.Connected("tokyo"); !up {
					t.Fatal("the secondary knows already")
				}
				answer, took := w.takeOverAt(osaka, g)
				if !strings.HasPrefix(answer, takeoverSSUS+":") || !strings.Contains(answer, "nothing was heard of tokyo for ") {
					t.Errorf("the answer is %q", answer)
				}
				if took > c.within {
					t.Errorf("it took %v, at most %v", took, c.within)
				}
				t.Logf("%v: %s", took, answer)
			})
		})
	}
}

// TestTakeoverOfASlowPrimary: a primary that is far away, or too busy to answer, lives: the roles are exchanged when it does.
func TestTakeoverOfASlowPrimary(t *testing.T) {
	for _, c := range []struct {
		name   string
		before func(w *world, g *simGroup, tokyo *simSite) (after func())
	}{
		{"far_away", func(w *world, g *simGroup, tokyo *simSite) func() {
			w.net.Latency(400 * time.Millisecond)
			time.Sleep(30 * time.Second) // of virtual time: QUIC has measured it
			return func() {}
		}},
		{"2s_away", func(w *world, g *simGroup, tokyo *simSite) func() {
			w.net.Latency(2 * time.Second)
			time.Sleep(2 * time.Minute)
			return func() {}
		}},
		{"busy", func(w *world, g *simGroup, tokyo *simSite) func() { // with a command, for less than the request waits for it
			own := g.at(tokyo, g.master())
			own.cmd.Lock()
			time.AfterFunc(4*time.Second, own.cmd.Unlock)
			return func() {}
		}},
		{"lossy", func(w *world, g *simGroup, tokyo *simSite) func() {
			w.net.Drop(0.2)
			return func() { w.net.Drop(0) }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 1)
				g, tokyo, osaka := w.groups[0], w.sites[0], w.sites[1]
				w.until("both say PAIR", func() bool {
					return tokyo.status("x").LagSeq == 0 && osaka.status("x").PeerStatus == "PAIR" && osaka.status("y").PeerStatus == "PAIR"
				})
				after := c.before(w, g, tokyo)
				answer, took := w.takeOverAt(osaka, g)
				after()
				if !strings.HasPrefix(answer, takeoverSwap+":") {
					t.Errorf("after %v the answer is %q", took, answer)
				}
			})
		})
	}
}

// TestLateAnswerOfASilentPrimary: the primary that counted as lost was only cut off for a moment, and was asked to hold its hosts before. Its
// hosts go on, it hears of the takeover, and nothing is lost.
func TestLateAnswerOfASilentPrimary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		g, tokyo, osaka := w.groups[0], w.sites[0], w.sites[1]
		w.until("both say PAIR", func() bool {
			return tokyo.status("x").LagSeq == 0 && osaka.status("x").PeerStatus == "PAIR" && osaka.status("y").PeerStatus == "PAIR"
		})
		w.net.Cut(tokyo.addr, osaka.addr, true) // what is asked arrives, the answer does not
		answer, _ := w.takeOverAt(osaka, g)
		if !strings.HasPrefix(answer, takeoverSSUS+":") {
			t.Fatalf("the answer is %q", answer)
		}
		own := g.at(tokyo, g.master())
		if own.fence.Load() == nil {
			t.Fatal("the primary was not asked to hold its hosts")
		}
		w.net.Cut(tokyo.addr, osaka.addr, false)
		w.until("the old primary knows", func() bool { return tokyo.status("x").TakenOver && tokyo.status("y").TakenOver })
		if own.fence.Load() != nil {
			t.Error("its hosts are held still")
		}
		tokyo.writesRefused("x", "y")
		must(t, osaka.site.ResyncGroupWith(context.Background(), g.restored(), ResyncOptions{Swap: true}))
		w.until("they are in PAIR", func() bool { return tokyo.status("x").Status == PAIR && osaka.status("x").Status == PAIR })
	})
}

// inPair runs a test in a world whose pairs are in PAIR, as both sides know.
func inPair(t *testing.T, run func(t *testing.T, w *world, g *simGroup, tokyo, osaka *simSite)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		g, tokyo, osaka := w.groups[0], w.sites[0], w.sites[1]
		w.until("both say PAIR", func() bool {
			return tokyo.status("x").LagSeq == 0 && osaka.status("x").PeerStatus == "PAIR" && osaka.status("y").PeerStatus == "PAIR"
		})
		run(t, w, g, tokyo, osaka)
	})
}

// TestTakeoverInTooLittleTime: a primary that is heard and has less time to answer than one that works may take is not lost: nothing is changed, and its
// hosts are not held for an exchange that nobody waits for any more.
func TestTakeoverInTooLittleTime(t *testing.T) {
	for _, c := range []struct {
		name string
		busy func(own *group) (ready func())
	}{
		{"a_command", func(own *group) func() { own.cmd.Lock(); return own.cmd.Unlock }},
		{"a_write", func(own *group) func() { // hosts are held already
			v := own.pairs["x"].att.vol
			v.mode.RLock()
			return v.mode.RUnlock
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inPair(t, func(t *testing.T, w *world, g *simGroup, tokyo, osaka *simSite) {
				own := g.at(tokyo, g.master())
				ready := c.busy(own)
				time.AfterFunc(3*time.Second, ready)
				err := osaka.site.TakeoverGroup(context.Background(), g.restored(), TakeoverOptions{Timeout: 2 * time.Second})
				refused(t, err, KindTimeout)
				says(t, err, "nothing was changed")
				w.until("hosts go on", func() bool { return own.fence.Load() == nil && own.cmd.TryLock() })
				own.cmd.Unlock()
				must(t, g.w.write(context.Background(), 0, 0, 1, true))
				for _, s := range w.sites {
					if st := s.status("x"); st.Status != PAIR || st.TakenOver {
						t.Errorf("%s says %s", s.cfg.Name, st.Status)
					}
				}
				if answer, _ := w.takeOverAt(osaka, g); !strings.HasPrefix(answer, takeoverSwap+":") {
					t.Errorf("the answer is %q", answer)
				}
			})
		})
	}
}

// TestTakeoverOfAPrimaryThatStands: a primary that is heard and does not answer for longer than one that works may take is gone on without.
func TestTakeoverOfAPrimaryThatStands(t *testing.T) {
	inPair(t, func(t *testing.T, w *world, g *simGroup, tokyo, osaka *simSite) {
		v := g.at(tokyo, g.master()).pairs["x"].att.vol
		v.mode.RLock()
		answer, took := w.takeOverAt(osaka, g)
		v.mode.RUnlock()
		if !strings.HasPrefix(answer, takeoverSSUS+":") || !strings.Contains(answer, "tokyo is heard, but did not answer for ") || took < answerMax {
			t.Errorf("after %v the answer is %q", took, answer)
		}
	})
}

// TestCommitHasItsOwnTime: what the operator gave for what the primary has to send does not cut off the last question, when all is here: the primary
// is not lost, and says that it goes on.
func TestCommitHasItsOwnTime(t *testing.T) {
	inPair(t, func(t *testing.T, w *world, g *simGroup, tokyo, osaka *simSite) {
		away := g.at(osaka, g.restored())
		away.cmd.Lock() // a command is under way here, until the time is over
		time.AfterFunc(3*time.Second, away.cmd.Unlock)
		err := osaka.site.TakeoverGroup(context.Background(), g.restored(), TakeoverOptions{Timeout: 2 * time.Second})
		refused(t, err, KindBusy)
		says(t, err, "lets its hosts write again")
		if answer, _ := w.takeOverAt(osaka, g); !strings.HasPrefix(answer, takeoverSwap+":") {
			t.Errorf("the answer is %q", answer)
		}
	})
}

// TestMirrorEndsInAnExchange: a mirror that ends while the last records are waited for is opened again, for the primary is connected.
func TestMirrorEndsInAnExchange(t *testing.T) {
	inPair(t, func(t *testing.T, w *world, g *simGroup, tokyo, osaka *simSite) {
		away := g.at(osaka, g.restored())
		letGo := away.holdPull() // it ends, and is not opened yet
		time.AfterFunc(time.Second, letGo)
		must(t, g.w.write(context.Background(), 0, 0, 1, true))
		last := g.at(tokyo, g.master()).journal.Marks().LastSeq
		must(t, away.awaitSeq(context.Background(), last, away.allPairs()))
	})
}

// TestLostPrimaryIsNotToldToGoOn: hosts of a primary that counts as lost are not let go by the side that goes on without it.
func TestLostPrimaryIsNotToldToGoOn(t *testing.T) {
	inPair(t, func(t *testing.T, w *world, g *simGroup, tokyo, osaka *simSite) {
		own, away := g.at(tokyo, g.master()), g.at(osaka, g.restored())
		own.cmd.Lock()
		f, err := own.holdWrites(context.Background(), 7, fenceMax)
		own.cmd.Unlock()
		must(t, err)
		away.abortSwap(7, away.allPairs(), &lostPrimary{"it was silent"})
		time.Sleep(time.Second) // of virtual time
		if own.fence.Load() != f {
			t.Error("they go on")
		}
		away.abortSwap(7, away.allPairs(), context.Canceled)
		if own.fence.Load() != nil {
			t.Error("they are held for an exchange that came to nothing")
		}
	})
}

// TestVigilBesideADelete: the name of the peer goes with the last pair, at any moment of a vigil.
func TestVigilBesideADelete(t *testing.T) {
	t.Parallel()
	d, _, _ := differ(t)
	g := d.b.site.groupByName("g@tokyo")
	before, _ := d.b.site.endpoint.Pulse("tokyo")
	_, end := g.keepVigil(t.Context(), time.Minute)
	d.wait("it listens", func() bool {
		g.mu.Lock()
		g.rec.Peer = strings.Clone(g.rec.Peer)
		g.mu.Unlock()
		u, _ := d.b.site.endpoint.Pulse("tokyo")
		return u.Packets > before.Packets+20
	})
	end()
}
