package replica

import (
	"context"
	"testing"
	"time"
)

// QUIC finds out that nothing comes any more when its idle time has passed since the last packet that came, or since the first one that it sent behind
// that: a probe of a quiet connection at the latest. The side that still hears the other one takes so long again when that has fallen silent.
const (
	idleLeast = 7 * time.Second // the last packet came before the link was lost
	idleMost  = 13*time.Second + 500*time.Millisecond
)

// darknesses are the ways in which a link can be lost. Each returns the way back.
var darknesses = map[string]func(w *world) (back func()){
	"both_ways": func(w *world) func() { w.net.Blackhole(true); return func() { w.net.Blackhole(false) } },
	"to_the_secondary": func(w *world) func() {
		w.net.Cut(w.sites[0].addr, w.sites[1].addr, true)
		return func() { w.net.Cut(w.sites[0].addr, w.sites[1].addr, false) }
	},
	"to_the_primary": func(w *world) func() {
		w.net.Cut(w.sites[1].addr, w.sites[0].addr, true)
		return func() { w.net.Cut(w.sites[1].addr, w.sites[0].addr, false) }
	},
}

// TestPathWatchExactly: the link is lost, in both directions or in one of them. For less than path watch time nothing happens but that writes wait in
// the journal; for longer both sides suspend the pairs, each when path watch time has passed since it found the mirror down, and none sooner
// than that after the link was lost.
func TestPathWatchExactly(t *testing.T) {
	for name, darken := range darknesses {
		t.Run(name, func(t *testing.T) {
			atLength(t, name == "both_ways")
			inPair(t, func(t *testing.T, w *world, g *simGroup, tokyo, osaka *simSite) {
				watch := tokyo.site.groupByName(g.master()).opts.Load().PathWatch
				copied := tokyo.groupStatus(g.master()).BaseSent
				stop := w.trickle(g)
				defer func() { stop() }()
				for range 2 { // together longer than path watch time
					back := darken(w)
					time.Sleep(watch - time.Second)
					for _, s := range []*simSite{tokyo, osaka} {
						if st := s.status("x"); st.Status != PAIR || st.Linked {
							t.Errorf("%s: the pair is %s, linked %v", s.cfg.Name, st.Status, st.Linked)
						}
					}
					back()
					w.until("the mirror is up", func() bool { return tokyo.status("x").Linked && osaka.status("x").Linked })
				}
				w.until("the rest has arrived", func() bool { return tokyo.status("x").LagSeq < 3 })

				lost := time.Now()
				sides := []*outage{tokyo.outage(g.master()), osaka.outage(g.restored())}
				back := darken(w)
				for _, o := range sides {
					if down := o.awaitDown(2 * idleMost); down < idleLeast {
						t.Errorf("%s: the mirror was down after %v", o.at.cfg.Name, down)
					}
				}
				for _, o := range sides {
					o.awaitPathLost("x", "y")
				}
				t.Logf("down after %v and %v, PSUE %v behind the loss", sides[0].down, sides[1].down, time.Since(lost))
				stop()
				stop = func() {}
				for _, o := range sides {
					o.goOn()
				}
				back()
				w.until("the peer is connected", func() bool { _, up := tokyo.site.endpoint.Connected("osaka"); return up })
				w.again("resync", func() error { return tokyo.site.ResyncGroup(context.Background(), g.master()) })
				w.until("it is in PAIR again", func() bool {
					return tokyo.status("x").Status == PAIR && tokyo.status("y").Status == PAIR && tokyo.status("x").LagSeq == 0 && osaka.status("x").Status == PAIR
				})
				if sent := tokyo.groupStatus(g.master()).BaseSent - copied; sent > 4*regionSize {
					t.Errorf("the resync copied %d bytes, hosts wrote to one region of each volume", sent)
				}
			})
		})
	}
}

// TestBadLinkHolds: over links that are bad and live the pairs stay in PAIR, everything arrives, and the sites do not take each other for dead: the
// connection is the same in the end, or was begun anew a few times where packets are lost by chance.
func TestBadLinkHolds(t *testing.T) {
	const span = 10 * time.Minute
	for _, c := range []struct {
		name   string
		spoil  func(w *world)
		redial int // times that the connection may have been lost
	}{
		{"latency_of_2s", func(w *world) {
			w.net.Latency(2 * time.Second)
			time.Sleep(time.Minute)
			w.net.Blackhole(true) // so that the sites find each other over it
			time.Sleep(2 * idleMost)
			w.net.Blackhole(false)
		}, 1},
		{"loss_of_30_percent", func(w *world) { w.net.Drop(0.3) }, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			atLength(t, false)
			inPair(t, func(t *testing.T, w *world, g *simGroup, tokyo, osaka *simSite) {
				copied := tokyo.groupStatus(g.master()).BaseSent
				c.spoil(w)
				stop := w.trickle(g)
				o := tokyo.outage(g.master())
				o.until("that has lasted", 2*span, func() bool {
					time.Sleep(time.Second)
					if a, b := tokyo.status("x").Status, osaka.status("x").Status; a != PAIR || b != PAIR {
						t.Fatalf("the pair is %s here and %s there", a, b)
					}
					return time.Since(o.began) > span
				})
				stop()
				o.until("the rest has arrived", 3*span, func() bool { return tokyo.status("x").LagSeq == 0 && tokyo.status("y").LagSeq == 0 })
				lost := 0
				for _, e := range tokyo.site.Events() {
					if e.Object == "peer/osaka" && e.Text != "connected" && e.Time.After(w.began) {
						lost++
						t.Log(e.Text)
					}
				}
				if lost > c.redial+1 { // and that it was added
					t.Errorf("the connection was lost %d times", lost-1)
				}
				if sent := tokyo.groupStatus(g.master()).BaseSent; sent != copied {
					t.Errorf("%d bytes were copied", sent-copied)
				}
				g.w.checkStill(osaka.node, g.restored(), everyAck)
			})
		})
	}
}

// TestDarkSitesAreQuiet counts what two sites send while the link is down, and while it is up and hosts are quiet: it does not grow with the time.
func TestDarkSitesAreQuiet(t *testing.T) {
	atLength(t, false)
	inPair(t, func(t *testing.T, w *world, g *simGroup, tokyo, osaka *simSite) {
		perMinute := func(what string, most uint64) {
			t.Helper()
			for range 3 {
				before := w.net.Packets()
				time.Sleep(10 * time.Minute) // of virtual time
				n := (w.net.Packets() - before) / 10
				t.Logf("%s: %d packets a minute", what, n)
				if n > most {
					t.Errorf("%s: %d packets a minute, want %d at most", what, n, most)
				}
			}
		}
		perMinute("quiet", 400)
		w.net.Blackhole(true)
		time.Sleep(time.Minute)
		perMinute("dark", 300)
	})
}
