package replica

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pairfs/quicwire"
)

// puppet is a peer with the key and the address of a site that died, which does by hand what a test wants.
type puppet struct {
	*quicwire.Endpoint
	mirror   func(ctx context.Context, s *quicwire.MirrorStream)                            // serves mirrors; nil never answers
	path     func(ctx context.Context, s *quicwire.MirrorStream)                            // serves further paths; nil lets them go
	mirrorOf func(ctx context.Context, open *quicwire.MirrorOpen, s *quicwire.MirrorStream) // as mirror, and ends it
	opened   atomic.Int64                                                                   // mirrors that it opened or served
}

// Serve never answers.
func (*puppet) Serve(ctx context.Context, _ string, _ quicwire.Frame, _ quicwire.SendFunc) quicwire.Frame {
	<-ctx.Done()
	return nil
}

func (p *puppet) ServeMirror(ctx context.Context, _ string, open *quicwire.MirrorOpen, s *quicwire.MirrorStream) {
	p.opened.Add(1)
	if p.mirrorOf != nil {
		p.mirrorOf(ctx, open, s)
		return
	}
	if p.mirror != nil {
		p.mirror(ctx, s)
	}
	for {
		if _, err := s.Recv(ctx); err != nil {
			return
		}
	}
}

// ServePath serves a further path.
func (p *puppet) ServePath(ctx context.Context, _ string, _ *quicwire.MirrorPath, s *quicwire.MirrorStream) {
	if p.path != nil {
		p.path(ctx, s)
	}
}
func (*puppet) Refused(net.Addr, quicwire.Fingerprint, string) {}
func (*puppet) PeerUp(string, quicwire.Hello)                  {}
func (*puppet) PeerDown(string, error)                         {}

// standIn puts the puppet in the place of the site, which has died, until leave is called.
func (s *simSite) standIn(p *puppet) (leave func()) {
	s.t.Helper()
	id, err := quicwire.LoadIdentity(filepath.Join(s.cfg.StateDir, "key.pem"))
	must(s.t, err)
	host, err := s.world.net.Host(s.addr)
	must(s.t, err)
	p.Endpoint, err = quicwire.Listen(quicwire.Config{Identity: id, Site: s.cfg.Name, PacketConn: host, Handler: p, Features: s.cfg.features()})
	must(s.t, err)
	leave = sync.OnceFunc(func() {
		must(s.t, p.Close(context.Background()))
		host.Close()
	})
	s.t.Cleanup(leave)
	other := s.world.peerOf(s)
	must(s.t, p.SetPeer(other.cfg.Name, other.addr, other.site.identity.Fingerprint()))
	return leave
}

// states are what the site says of the pairs of a group; open is how it would open its mirror.
func (s *simSite) states(group string) (states []quicwire.PairState, open *quicwire.MirrorOpen) {
	g := s.site.groupByName(group)
	g.mu.Lock()
	defer g.mu.Unlock()
	states = g.wireStates(s.cfg.features())
	return states, &quicwire.MirrorOpen{Group: g.rec.PeerGroup, Session: 1, DurableSeq: uint64(g.lastSeq), RestoredSeq: uint64(g.restoredSeq), Pairs: states}
}

// pulls opens the mirror, whenever it has ended, and asks for everything at once; then it does what take says with what comes.
func (p *puppet) pulls(t *testing.T, peer string, open *quicwire.MirrorOpen, take func(context.Context, *quicwire.MirrorStream)) {
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	go func() {
		for pause(ctx, time.Second) == nil {
			s, err := p.OpenMirror(ctx, peer, open)
			if err != nil {
				continue
			}
			p.opened.Add(1)
			if s.Send(ctx, &quicwire.ReadJournal{Budget: 1 << 40, DurableSeq: open.DurableSeq, RestoredSeq: open.RestoredSeq}) == nil {
				take(ctx, s)
			}
			select {
			case <-s.Context().Done():
			case <-ctx.Done():
			}
			s.Close()
		}
	}()
}

// reads takes all that comes and confirms it as durable, or nothing; it never restores anything.
func reads(confirm bool) func(context.Context, *quicwire.MirrorStream) {
	return func(ctx context.Context, s *quicwire.MirrorStream) {
		for {
			f, err := s.Recv(ctx)
			if err != nil {
				return
			}
			if b, ok := f.(*quicwire.Batch); ok && confirm {
				if s.Send(ctx, &quicwire.ReadJournal{Budget: 1 << 40, Durable: b.Ordinal, DurableSeq: b.Last}) != nil {
					return
				}
			}
		}
	}
}

// TestMuteSecondary: a secondary that is connected and does not do its part. What decides is path watch time, from the moment at which the mirror is
// found to be down, or the journal, if that is full before.
func TestMuteSecondary(t *testing.T) {
	for _, c := range []struct {
		name   string
		always bool
		take   func(context.Context, *quicwire.MirrorStream) // nil: it never opens a mirror
		at     time.Duration                                 // when the mirror is down, from the first write on
		full   bool                                          // hosts fill the journal
		want   Status
	}{
		{"never_answers", false, nil, 0, false, PSUE},
		{"never_reads", false, func(context.Context, *quicwire.MirrorStream) {}, activeWatch, false, PSUE},
		{"never_confirms", true, reads(false), activeWatch, false, PSUE},
		{"never_restores_much", false, reads(true), 0, true, PFUS},
	} {
		t.Run(c.name, func(t *testing.T) {
			atLength(t, c.always)
			inPair(t, func(t *testing.T, w *world, g *simGroup, tokyo, osaka *simSite) {
				_, open := osaka.states(g.restored())
				osaka.die(nil)
				p := &puppet{}
				osaka.standIn(p)
				w.until("the puppet is connected", func() bool { _, up := p.Connected("tokyo"); return up })
				if c.take != nil {
					p.pulls(t, "tokyo", open, c.take)
					w.until("the puppet has a mirror", func() bool { return p.opened.Load() > 0 && tokyo.groupStatus(g.master()).Linked })
				}
				o := tokyo.outage(g.master())
				stop := func() {}
				if c.full {
					must(t, tokyo.site.SetGroup(context.Background(), g.master(), map[string]string{"inflow-control": "no"}))
					w.fill(g, o)
				} else {
					stop = w.trickle(g)
				}
				if c.want == PSUE {
					// A batch behind the first one that is owed counts as well, so it may be one write of the host later, and one look.
					if down := o.awaitDown(2 * activeWatch); down < c.at || down > c.at+2*time.Second+watchTick+outageLook {
						t.Errorf("the mirror was down %v after the first write, want %v", down, c.at)
					}
					o.awaitPathLost("x", "y")
				}
				took := o.until("the pairs are suspended", 10*time.Minute, func() bool { return tokyo.status("x").Status == c.want && tokyo.status("y").Status == c.want })
				t.Logf("%s after %v, down after %v, %d mirrors", c.want, took, o.down, p.opened.Load())
				if c.want == PSUE && c.take != nil {
					anew := 0
					for _, e := range tokyo.site.Events() {
						if e.ID > o.first && e.Object == "peer/osaka" && e.Text == "connected" {
							anew++
						}
					}
					if anew != 1 {
						t.Errorf("the connection was begun anew %d times, want once", anew)
					}
				}
				stop()
				o.goOn()
				must(t, g.w.write(context.Background(), 0, 0, 1, true))
			})
		})
	}
}

// trickle lets a host write a little each second until it is stopped.
func (w *world) trickle(g *simGroup) (stop func()) {
	w.t.Helper()
	must(w.t, g.w.write(context.Background(), 0, 0, 1, false))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for i := int64(1); pause(ctx, time.Second) == nil; i++ {
			if err := g.w.write(context.Background(), int(i%2), i%64, 1, false); err != nil {
				w.t.Errorf("a host's write: %v", err)
				return
			}
		}
	}()
	stop = func() { cancel(); <-ended }
	w.t.Cleanup(stop)
	return stop
}

// fill lets hosts write more than the journal holds.
func (w *world) fill(g *simGroup, o *outage) {
	w.t.Helper()
	done := make(chan error, 1)
	go func() {
		for range 24 { // MiB, into a journal of 16
			if err := g.w.write(context.Background(), 0, 0, 2048, false); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	o.until("hosts have written it all", 10*time.Minute, func() bool { return len(done) > 0 })
	must(w.t, <-done)
}

// TestMutePrimary: a primary that is connected and sends nothing. The secondary finds that out, does not say any more that it lacks nothing, and
// suspends its pairs when path watch time has passed; and it can be taken over meanwhile.
func TestMutePrimary(t *testing.T) {
	for _, c := range []struct {
		name    string
		accepts bool // the mirror
		at      time.Duration
		over    bool // take over before path watch time has passed
	}{
		{"never_answers", false, 0, false},
		{"accepts_and_is_silent", true, activeWatch, false},
		{"taken_over", true, activeWatch, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			atLength(t, false)
			inPair(t, func(t *testing.T, w *world, g *simGroup, tokyo, osaka *simSite) {
				states, _ := tokyo.states(g.master())
				tokyo.die(nil)
				p := &puppet{}
				if c.accepts {
					p.mirror = func(ctx context.Context, s *quicwire.MirrorStream) {
						_ = s.Send(ctx, &quicwire.MirrorAccept{Session: 1, Pairs: states})
					}
				}
				tokyo.standIn(p)
				w.until("the puppet is asked for its mirror", func() bool {
					return p.opened.Load() > 0 && osaka.groupStatus(g.restored()).Linked == c.accepts
				})
				o := osaka.outage(g.restored())
				if c.accepts && !osaka.status("x").LagKnown {
					t.Error("the lag is not known although the mirror was just accepted")
				}
				if down := o.awaitDown(2 * activeWatch); down < c.at-time.Second || down > c.at+time.Second {
					t.Errorf("the mirror was down after %v, want %v", down, c.at)
				}
				if osaka.status("x").LagKnown {
					t.Error("a primary that says nothing may have written, and the lag is known still")
				}
				if c.over {
					answer, took := w.takeOverAt(osaka, g)
					if !strings.HasPrefix(answer, takeoverSSUS+":") || took > answerMax+mirrorWait {
						t.Errorf("the takeover took %v: %s", took, answer)
					}
					t.Logf("taken over in %v: %s", took, answer)
					return
				}
				o.awaitPathLost("x", "y")
				t.Logf("down after %v, %d mirrors", o.down, p.opened.Load())
				o.goOn()
			})
		})
	}
}

// TestMuteIsMended: a secondary whose disk stands still for longer than it may is taken for mute; it goes on by itself when the disk does, and nothing
// is suspended or copied.
func TestMuteIsMended(t *testing.T) {
	atLength(t, false)
	inPair(t, func(t *testing.T, w *world, g *simGroup, tokyo, osaka *simSite) {
		copied := tokyo.groupStatus(g.master()).BaseSent
		osaka.disks.flushes.Store(int64(activeWatch + 10*time.Second))
		o := tokyo.outage(g.master())
		stop := w.trickle(g)
		down := o.awaitDown(2 * activeWatch)
		if st := tokyo.status("x"); st.Status != PAIR || down < activeWatch {
			t.Errorf("after %v the pair is %s", down, st.Status)
		}
		osaka.disks.flushes.Store(0)
		o.until("the mirror is up", 10*time.Minute, func() bool { return tokyo.groupStatus(g.master()).Linked })
		stop()
		o.until("the rest has arrived", 10*time.Minute, func() bool { return tokyo.status("x").LagSeq == 0 && tokyo.status("y").LagSeq == 0 })
		if x, y := tokyo.status("x").Status, osaka.status("x").Status; x != PAIR || y != PAIR {
			t.Errorf("the pair is %s here and %s there", x, y)
		}
		if sent := tokyo.groupStatus(g.master()).BaseSent; sent != copied {
			t.Errorf("%d bytes were copied", sent-copied)
		}
	})
}

// TestMutePrimaryComesBack: a primary that was mute is linked again with the first word that it owed, and the pairs go on.
func TestMutePrimaryComesBack(t *testing.T) {
	inPair(t, func(t *testing.T, w *world, g *simGroup, tokyo, osaka *simSite) {
		states, _ := tokyo.states(g.master())
		tokyo.die(nil)
		p := &puppet{mirror: func(ctx context.Context, s *quicwire.MirrorStream) {
			_ = s.Send(ctx, &quicwire.MirrorAccept{Session: 1, Pairs: states})
		}}
		leave := tokyo.standIn(p)
		w.until("the puppet is asked for its mirror", func() bool { return p.opened.Load() > 0 && osaka.groupStatus(g.restored()).Linked })
		o := osaka.outage(g.restored())
		o.awaitDown(2 * activeWatch)
		leave()
		tokyo.start()
		must(t, g.w.write(context.Background(), 0, 0, 1, true))
		w.until("the mirror is up", func() bool {
			return osaka.groupStatus(g.restored()).Linked && tokyo.groupStatus(g.master()).Linked && tokyo.status("x").LagSeq == 0
		})
		if x, y := tokyo.status("x").Status, osaka.status("x").Status; x != PAIR || y != PAIR {
			t.Errorf("the pair is %s here and %s there", x, y)
		}
		g.w.checkStill(osaka.node, g.restored(), everyAck)
	})
}

// TestSuspendedIsNotMute: where nothing is replicated nothing is owed, and silence is no outage.
func TestSuspendedIsNotMute(t *testing.T) {
	inPair(t, func(t *testing.T, w *world, g *simGroup, tokyo, osaka *simSite) {
		must(t, tokyo.site.SuspendGroup(context.Background(), g.master(), SuspendOptions{}))
		w.awaitStatus(g, PSUS)
		stop := w.trickle(g)
		time.Sleep(3 * activeWatch)
		stop()
		for s, group := range map[*simSite]string{tokyo: g.master(), osaka: g.restored()} {
			if !s.groupStatus(group).Linked || eventWith(s.site, "although it is connected") {
				t.Errorf("%s: the peer of a suspended group counts as mute: %v", s.cfg.Name, s.site.Events())
			}
		}
	})
}

// TestMuteEndsBehindItsSuspension: a peer that was mute until its pairs were suspended, and then says something over the same mirror, is linked again:
// nothing is owed any more that it could say.
func TestMuteEndsBehindItsSuspension(t *testing.T) {
	inPair(t, func(t *testing.T, w *world, g *simGroup, tokyo, osaka *simSite) {
		states, open := osaka.states(g.restored())
		osaka.die(nil)
		p, speak := &puppet{}, make(chan struct{})
		osaka.standIn(p)
		p.pulls(t, "tokyo", open, func(ctx context.Context, s *quicwire.MirrorStream) {
			go func() {
				select {
				case <-speak:
					for i := range states {
						states[i].Status = uint8(PSUE)
					}
					_ = s.Send(ctx, &quicwire.PairStates{Pairs: states})
				case <-ctx.Done():
				}
			}()
			reads(false)(ctx, s)
		})
		w.until("the puppet has a mirror", func() bool { return p.opened.Load() > 0 && tokyo.groupStatus(g.master()).Linked })
		stop := w.trickle(g)
		o := tokyo.outage(g.master())
		o.until("the pairs are suspended", 10*time.Minute, func() bool { return tokyo.status("x").Status == PSUE && tokyo.status("y").Status == PSUE })
		stop()
		time.Sleep(time.Minute)
		if tokyo.groupStatus(g.master()).Linked {
			t.Error("the mirror is up, and nothing was said")
		}
		close(speak)
		w.until("the mirror is up", func() bool { return tokyo.groupStatus(g.master()).Linked })
	})
}
