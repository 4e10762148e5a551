package replica

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pairfs/quicwire"
)

// paths sets the number of paths of a group and waits until both sides have them.
func (w *world) paths(g *simGroup, n string, want int) {
	w.t.Helper()
	must(w.t, g.home.site.SetGroup(context.Background(), g.master(), map[string]string{"paths": n}))
	w.until(fmt.Sprintf("there are %d paths", want), func() bool {
		return g.home.groupStatus(g.master()).Usage.Paths == want && g.away().groupStatus(g.restored()).Usage.Paths == want
	})
}

// early watches how many batches wait for their turn at the secondary of a group, and returns the most at the end.
func (w *world) early(g *simGroup) (most func() int) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	n := 0
	wg.Go(func() {
		for pause(ctx, time.Millisecond) == nil {
			own := g.away().site.groupByName(g.restored())
			own.mu.Lock()
			p := own.pulling
			own.mu.Unlock()
			if p != nil {
				p.gateMu.Lock()
				n = max(n, len(p.early))
				p.gateMu.Unlock()
			}
		}
	})
	most = sync.OnceValue(func() int { cancel(); wg.Wait(); return n })
	w.t.Cleanup(func() { most() })
	return most
}

// drained waits until the secondary of a group has all.
func (w *world) drained(g *simGroup) {
	w.t.Helper()
	w.until("all of "+g.name+" arrives", func() bool { return g.home.groupStatus(g.master()).LagSeq == 0 })
}

// splitsEqual ends a run: the S-VOLs are what the P-VOLs are.
func (w *world) splitsEqual(g *simGroup) {
	w.t.Helper()
	must(w.t, g.home.site.SuspendGroup(context.Background(), g.master(), SuspendOptions{}))
	w.awaitStatus(g, PSUS)
	g.w.check(g.away().node, everyAck)
	w.wantEqual(g.w.names...)
}

// TestPathsOfDifferentLengths: batches go over paths of which each takes another time and loses packets, and come in an order that is not theirs. What
// the secondary makes of them is one prefix at every moment, while pairs are split and taken up again among them.
func TestPathsOfDifferentLengths(t *testing.T) {
	for name, mirror := range map[string]time.Duration{"the_mirror_stream_is_short": 0, "the_mirror_stream_is_long": 120 * time.Millisecond} {
		t.Run(name, func(t *testing.T) { pathsOfDifferentLengths(t, mirror) })
	}
}

// pathsOfDifferentLengths is one of its runs: mirror is by how much the mirror stream is longer than the shortest path.
func pathsOfDifferentLengths(t *testing.T, mirror time.Duration) {
	inPair(t, func(t *testing.T, w *world, g *simGroup, tokyo, osaka *simSite) {
		for _, s := range w.sites {
			s.far = []time.Duration{0, 15 * time.Millisecond, 60 * time.Millisecond, 200 * time.Millisecond}
		}
		w.net.Drop(0.01)
		w.paths(g, "4", 4)
		for _, s := range w.sites {
			if len(s.paths) > 0 { // which has other sockets for its paths
				w.net.Far(s.addr, mirror)
			}
		}
		most := w.early(g)
		rng := newRand(testSeed(t))
		for round := range 8 {
			w.startHost(g, rng.Uint64(), 60, 256)
			w.startHost(g, rng.Uint64(), 60, 8)
			for range 4 {
				time.Sleep(time.Duration(rng.IntN(int(200 * time.Millisecond))))
				w.look()
			}
			v := g.w.names[round%2]
			switch round % 4 {
			case 0:
				must(t, tokyo.site.SuspendPair(context.Background(), v, SuspendOptions{Purge: true}))
			case 2:
				must(t, tokyo.site.SuspendPair(context.Background(), v, SuspendOptions{}))
			}
			w.look()
			time.Sleep(time.Duration(rng.IntN(int(time.Second))))
			w.finished(&tokyo.busy, "hosts")
			w.again("resync", func() error { return tokyo.site.ResyncGroup(context.Background(), g.master()) })
			w.look()
			w.awaitStatus(g, PAIR)
		}
		w.drained(g)
		if n := most(); n < 3 {
			t.Errorf("at most %d batches came before their turn", n)
		}
		if n := osaka.groupStatus(g.restored()).Usage.Reconnects; n != 0 {
			t.Errorf("the mirror came up again %d times", n)
		}
		w.splitsEqual(g)
	})
}

// severPath loses every packet of one path connection, in both directions.
func (w *world) severPath() {
	w.t.Helper()
	for _, s := range w.sites {
		s.world.mu.Lock()
		n := len(s.paths)
		s.world.mu.Unlock()
		if n > 1 {
			at, to := s.pathAddr(n-2), w.peerOf(s).addr
			w.net.Cut(at, to, true)
			w.net.Cut(to, at, true)
			return
		}
	}
	w.t.Fatal("no site has dialled a path")
}

// TestPathBreaks: a path that is cut ends the session, and the next one goes on where the secondary is, with as many paths: no record is lost, none comes
// twice, and no pair is suspended. So it is with a copy.
func TestPathBreaks(t *testing.T) {
	for _, copied := range []bool{false, true} {
		t.Run(map[bool]string{false: "updates", true: "copy"}[copied], func(t *testing.T) {
			inPair(t, func(t *testing.T, w *world, g *simGroup, tokyo, osaka *simSite) {
				ctx := context.Background()
				w.paths(g, "4", 4)
				w.net.Latency(30 * time.Millisecond)
				w.net.Drop(0.02)
				rng := newRand(testSeed(t))
				if copied {
					must(t, tokyo.site.SuspendGroup(ctx, g.master(), SuspendOptions{Purge: true}))
					w.awaitStatus(g, PSUS)
				}
				for range 6 {
					w.startHost(g, rng.Uint64(), 60, 1024)
				}
				if copied {
					w.finished(&tokyo.busy, "hosts")
					must(t, tokyo.site.ResyncGroup(ctx, g.master()))
				}
				sent := tokyo.groupStatus(g.master()).Sent
				w.until("batches are under way", func() bool { return tokyo.groupStatus(g.master()).Sent > sent+1<<20 })
				w.severPath()
				began := time.Now()
				w.until("the mirror came up again", func() bool { return osaka.groupStatus(g.restored()).Usage.Reconnects > 0 })
				w.look()
				if took := time.Since(began); took >= activeWatch {
					t.Errorf("it took %v", took) // the watch over a mute peer had to mend it
				}
				w.until("there are 4 paths again", func() bool { return osaka.groupStatus(g.restored()).Usage.Paths == 4 })
				w.look()
				w.finished(&tokyo.busy, "hosts")
				w.awaitStatus(g, PAIR)
				w.drained(g)
				for _, name := range g.w.names {
					for _, s := range w.sites {
						if n := s.tells("pair/"+name, "PSUE"); n > 0 {
							t.Errorf("%s was suspended at %s", name, s.cfg.Name)
						}
					}
				}
				w.splitsEqual(g)
			})
		})
	}
}

// TestPathsComeAgainAsTheyEnd: a path that is wanted at the moment at which its connection is closed, because nobody used it, comes over another
// one. The session goes on.
func TestPathsComeAgainAsTheyEnd(t *testing.T) {
	inPair(t, func(t *testing.T, w *world, g *simGroup, tokyo, osaka *simSite) {
		const far = 200 * time.Millisecond // one way
		w.net.Latency(far)
		w.paths(g, "2", 2)
		for early := far / 2; early < 2*far; early += far / 2 { // the stream of the path comes when its connection is closed, which nobody knew when it was opened
			end := time.Now().Add(quicwire.PathLinger)
			w.paths(g, "1", 1)
			time.Sleep(time.Until(end) - early)
			w.paths(g, "2", 2)
		}
		if n := osaka.groupStatus(g.restored()).Usage.Reconnects; n != 0 {
			t.Errorf("the mirror came up again %d times", n)
		}
		w.splitsEqual(g)
	})
}

// TestPathsGrow: on a long link that loses packets there are several paths in a while, on a short one there never are, nor where the peer does not
// know of paths, whatever is set.
func TestPathsGrow(t *testing.T) {
	for _, c := range []struct {
		name    string
		latency time.Duration
		loss    float64
		set     string
		older   bool
		several bool
	}{
		{"long_and_lossy", 50 * time.Millisecond, 0.01, "auto", false, true},
		{"short", 100 * time.Microsecond, 0.01, "auto", false, false},
		{"older", 50 * time.Millisecond, 0.01, "8", true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			inPair(t, func(t *testing.T, w *world, g *simGroup, tokyo, osaka *simSite) {
				ctx := context.Background()
				w.net.Latency(c.latency)
				if c.older {
					osaka.stop()
					osaka.cfg.older = true
					osaka.start()
					w.until("the mirror is up", func() bool { return osaka.groupStatus(g.restored()).Linked })
				}
				w.net.Drop(c.loss)
				must(t, tokyo.site.SetGroup(ctx, g.master(), map[string]string{"inflow-control": "yes", "paths": c.set}))
				stop := w.keepWriting(g)
				most := 0
				for end := time.Now().Add(map[bool]time.Duration{true: 2 * time.Minute, false: 3 * pathLook}[c.several]); most < 4 && time.Now().Before(end); {
					time.Sleep(100 * time.Millisecond)
					most = max(most, tokyo.groupStatus(g.master()).Usage.Paths)
				}
				stop()
				if c.several && most < 4 || !c.several && most != 1 {
					t.Errorf("there were %d paths at most", most)
				}
				w.net.Drop(0)
				w.drained(g)
				w.splitsEqual(g)
			})
		})
	}
}

// keepWriting lets hosts write large records without a pause until it is stopped.
func (w *world) keepWriting(g *simGroup) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for i := int64(0); ctx.Err() == nil; i++ {
			if err := g.w.write(context.Background(), int(i%2), i%15*256, 256, false); err != nil {
				w.t.Errorf("a host's write: %v", err)
				return
			}
			_ = pause(ctx, 10*time.Millisecond)
		}
	}()
	stop = sync.OnceFunc(func() { cancel(); <-ended })
	w.t.Cleanup(stop)
	return stop
}

// TestPathPlan: on links of all kinds the number of paths comes to what they carry most with, and what was in vain is tried less and less often.
func TestPathPlan(t *testing.T) {
	for name, c := range map[string]struct {
		rtt        time.Duration
		each, link float64 // what a path carries, and the link
		busy       float64
		known      int
		want, most int
	}{
		"a short link":                {pathRTT / 2, 100, 1000, 1, 0, 1, 1},
		"hosts write less":            {100 * time.Millisecond, 100, 1000, pathBusy - 0.1, 0, 1, 1},
		"one path fills it":           {100 * time.Millisecond, 100, 100, 1, 0, 1, 2},
		"a second one brings little":  {100 * time.Millisecond, 100, 110, 1, 0, 1, 2},
		"four fill it":                {100 * time.Millisecond, 30, 115, 1, 0, 4, 8},
		"no number fills it":          {100 * time.Millisecond, 1, 1000, 1, 0, 16, 16},
		"eight were good before":      {100 * time.Millisecond, 1, 8, 1, 8, 8, 16},
		"eight were, and are not now": {100 * time.Millisecond, 10, 10, 1, 8, 1, 8},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPathPlan(c.known)
			at, n, most, tried := time.Now(), 1, 1, 0
			for range int(time.Hour / pathLook) {
				at = at.Add(pathLook)
				was := n
				n = p.look(pathSample{at: at, rtt: c.rtt, rate: min(float64(n)*c.each, c.link), busy: c.busy})
				if most = max(most, n); n > was {
					tried++
				}
			}
			if p.worth() != c.want || most != c.most {
				t.Errorf("%d paths, %d at most; want %d and %d", p.worth(), most, c.want, c.most)
			}
			if tried > 14 { // four to double, and pauses up to pathPauseMax
				t.Errorf("more were tried %d times in an hour", tried)
			}
		})
	}
	p := newPathPlan(8)
	at := time.Now()
	if p.look(pathSample{at: at, rtt: time.Second, rate: 1}); p.worth() != 8 {
		t.Errorf("%d paths are remembered of 8, and none was tried", p.worth())
	}
	p = newPathPlan(0)
	sample := pathSample{at: at, rtt: time.Second, rate: 1, busy: 1}
	if n := p.look(sample); n != 2 {
		t.Fatalf("%d paths are tried", n)
	}
	if n := p.fewer(0, at); n != 1 {
		t.Errorf("%d paths when none came about", n)
	}
	if n := p.look(sample); n != 1 {
		t.Errorf("%d paths are tried at once", n)
	}
	if sample.at = at.Add(pathPauseMin); p.look(sample) != 2 {
		t.Error("more are not tried again")
	}
}

// TestPathMemory: each mirror gets half of what is left, none gets too little, and what is given back is there again.
func TestPathMemory(t *testing.T) {
	m := pathMemory{bound: 32 << 20}
	var shares []int64
	for n := m.take(); n > 0; n = m.take() {
		shares = append(shares, n)
	}
	if !slices.Equal(shares, []int64{16 << 20, 8 << 20, 4 << 20, 2 << 20}) || m.taken() != 30<<20 {
		t.Errorf("shares of %d", shares)
	}
	m.give(16 << 20)
	if n := m.take(); n != 9<<20 {
		t.Errorf("%d of what was given back", n)
	}
	if n := (&pathMemory{bound: 1 << 40}).take(); n != pathMemoryMax {
		t.Errorf("%d of plenty", n)
	}
}

// TestAheadKeepsOneBack: of the batches that a primary may send ahead it keeps one back, for the states that may have to be told at any time.
func TestAheadKeepsOneBack(t *testing.T) {
	f := &feedSession{flights: make([]flight, pathAhead-2)}
	if f.ahead() {
		t.Error("one more batch may be sent, and a divider")
	}
	if f.flights = make([]flight, pathAhead-1); !f.ahead() {
		t.Errorf("with the next batch and a divider there are %d", len(f.flights)+2)
	}
}

// endsAtOnce reports whether the stream ends without a frame.
func endsAtOnce(t *testing.T, s *quicwire.MirrorStream) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := s.Recv(ctx)
	return errors.Is(err, io.EOF)
}

// puppetPulls puts a puppet in the place of the secondary of a group, which opens its mirror and is asked for n paths.
func (w *world) puppetPulls(g *simGroup, n int) (s *quicwire.MirrorStream, open *quicwire.MirrorOpen) {
	t, ctx := w.t.(*testing.T), w.t.Context()
	t.Helper()
	must(t, g.home.site.SetGroup(ctx, g.master(), map[string]string{"paths": fmt.Sprint(n)}))
	_, open = g.away().states(g.restored())
	g.away().die(nil)
	p := &puppet{}
	g.away().standIn(p)
	peer := g.home.cfg.Name
	w.until("the puppet is connected", func() bool { _, up := p.Connected(peer); return up })
	w.until("the puppet has a mirror", func() bool {
		var err error
		s, err = p.OpenMirror(ctx, peer, open)
		return err == nil
	})
	t.Cleanup(func() { s.Close() })
	asked := map[uint8]bool{}
	for len(asked) < n {
		f, err := s.Recv(ctx)
		must(t, err)
		if m, ok := f.(*quicwire.MirrorPath); ok {
			if m.Session != open.Session || asked[m.Path] {
				t.Errorf("asked for %+v", m)
			}
			asked[m.Path] = true
		}
	}
	return s, open
}

// TestStatesHaveTheirPlace: a primary that sends batches over further paths says with batches without records, in the mirror stream, where among them
// the states of pairs belong.
func TestStatesHaveTheirPlace(t *testing.T) {
	inPair(t, func(t *testing.T, w *world, g *simGroup, tokyo, osaka *simSite) {
		ctx := t.Context()
		s, open := w.puppetPulls(g, 2)
		must(t, s.Send(ctx, &quicwire.ReadJournal{Budget: 1 << 40, DurableSeq: open.DurableSeq, RestoredSeq: open.RestoredSeq}))
		var mu sync.Mutex
		var told []uint64                   // the batch of the mirror stream that was before each PairStates
		last, over := uint64(0), []uint64{} // batches of the mirror stream, and of the paths
		next := map[uint64]uint64{}         // the batch there behind one
		read := func(s *quicwire.MirrorStream, path bool) {
			for {
				f, err := s.Recv(ctx)
				if err != nil {
					return
				}
				mu.Lock()
				switch m := f.(type) {
				case *quicwire.Batch:
					if path {
						over = append(over, m.Ordinal)
						break
					}
					next[last], last = m.Ordinal, m.Ordinal
				case *quicwire.PairStates:
					told = append(told, last)
				}
				mu.Unlock()
			}
		}
		go read(s, false)
		for n := range 2 {
			r, err := s.OpenPath(ctx, &quicwire.MirrorPath{Session: open.Session, Path: uint8(n + 1)})
			must(t, err)
			t.Cleanup(func() { r.Close() })
			go read(r, true)
		}
		w.until("the paths are there", func() bool { return tokyo.groupStatus(g.master()).Usage.Paths == 2 })
		count := func() (states, batches int) {
			mu.Lock()
			defer mu.Unlock()
			return len(told), len(over)
		}
		for _, name := range g.w.names {
			states, batches := count()
			for n := range int64(20) {
				must(t, g.w.write(ctx, len(g.w.names)-1, n, 1, false))
				time.Sleep(time.Millisecond)
			}
			w.until("batches come over the paths", func() bool { _, n := count(); return n > batches })
			must(t, tokyo.site.SuspendPair(ctx, name, SuspendOptions{Purge: true}))
			w.until("the states come", func() bool { n, _ := count(); return n > states })
		}
		mu.Lock()
		defer mu.Unlock()
		for i, before := range told {
			behind := next[before]
			if slices.ContainsFunc(over, func(n uint64) bool { return n > before && (behind == 0 || n < behind) }) {
				t.Errorf("states %d came between batches %d and %d of the mirror stream, and over the paths came %v", i, before, behind, over)
			}
		}
	})
}

// TestStatesWaitForBatches: a secondary compares the states of pairs when all batches before them have passed, whatever way these come.
func TestStatesWaitForBatches(t *testing.T) {
	inPair(t, func(t *testing.T, w *world, g *simGroup, tokyo, osaka *simSite) {
		tokyo.die(nil)
		streams, goOn, done := make(chan *quicwire.MirrorStream, 1), make(chan struct{}), make(chan error, 1)
		p := &puppet{path: func(ctx context.Context, s *quicwire.MirrorStream) { streams <- s; <-ctx.Done() }}
		var begun atomic.Bool
		p.mirrorOf = func(ctx context.Context, open *quicwire.MirrorOpen, s *quicwire.MirrorStream) {
			if open.Group != g.master() || begun.Swap(true) {
				return
			}
			split := slices.Clone(open.Pairs)
			for i := range split {
				split[i].Status, split[i].SuspendType = uint8(PSUS), uint8(PVOLByOperator)
			}
			err := s.Send(ctx, accept(open))
			s.Provide(1)
			if err == nil {
				err = s.Send(ctx, &quicwire.MirrorPath{Session: open.Session, Path: 1})
			}
			over := <-streams
			done <- errors.Join(err, s.Send(ctx, &quicwire.Batch{Ordinal: 2, First: 1}), s.Send(ctx, &quicwire.PairStates{Pairs: split}))
			<-goOn
			done <- over.Send(ctx, &quicwire.Batch{Ordinal: 1, First: 1})
			<-ctx.Done()
		}
		tokyo.standIn(p)
		must(t, <-done)
		time.Sleep(5 * time.Second)
		if st := osaka.status("x").Status; st != PAIR {
			t.Errorf("the pair is %s before the batches that were sent before it was split", st)
		}
		close(goOn)
		must(t, <-done)
		w.until("the pair is split", func() bool { return osaka.status("x").Status == PSUS })
	})
}

// TestHostilePathsOfASecondary: a secondary gets the paths that it was asked for, of its own session, and no others.
func TestHostilePathsOfASecondary(t *testing.T) {
	inPair(t, func(t *testing.T, w *world, g *simGroup, tokyo, osaka *simSite) {
		s, open := w.puppetPulls(g, 3)
		path := func(session uint64) *quicwire.MirrorStream {
			t.Helper()
			r, err := s.OpenPath(t.Context(), &quicwire.MirrorPath{Session: session, Path: 1})
			must(t, err)
			t.Cleanup(func() { r.Close() })
			return r
		}
		if !endsAtOnce(t, path(open.Session+1)) {
			t.Error("a path of a session that there is not")
		}
		for range 3 {
			path(open.Session)
		}
		w.until("the paths are there", func() bool { return tokyo.groupStatus(g.master()).Usage.Paths == 3 })
		if !endsAtOnce(t, path(open.Session)) {
			t.Error("a path that was not asked for")
		}
		if n := tokyo.groupStatus(g.master()).Usage.Paths; n != 3 {
			t.Errorf("%d paths", n)
		}
	})
}

// TestHostilePathsOfAPrimary: a primary that asks for too many paths gets no more, one that asks for another session's or sends over paths what no primary
// sends loses its mirror, and what the site held for it is free again.
func TestHostilePathsOfAPrimary(t *testing.T) {
	const paths = 3
	for name, do := range map[string]func(ctx context.Context, open *quicwire.MirrorOpen, s *quicwire.MirrorStream, over []*quicwire.MirrorStream) error{
		"another_session": func(ctx context.Context, open *quicwire.MirrorOpen, s *quicwire.MirrorStream, _ []*quicwire.MirrorStream) error {
			return s.Send(ctx, &quicwire.MirrorPath{Session: open.Session + 1, Path: 1})
		},
		"a_batch_twice": func(ctx context.Context, _ *quicwire.MirrorOpen, _ *quicwire.MirrorStream, over []*quicwire.MirrorStream) error {
			return errors.Join(over[0].Send(ctx, &quicwire.Batch{Ordinal: 3}), over[1].Send(ctx, &quicwire.Batch{Ordinal: 3}))
		},
		"a_batch_that_passed": func(ctx context.Context, _ *quicwire.MirrorOpen, s *quicwire.MirrorStream, over []*quicwire.MirrorStream) error {
			return errors.Join(s.Send(ctx, &quicwire.Batch{Ordinal: 1}), over[1].Send(ctx, &quicwire.Batch{Ordinal: 1}))
		},
		"nonsense": func(ctx context.Context, _ *quicwire.MirrorOpen, _ *quicwire.MirrorStream, over []*quicwire.MirrorStream) error {
			return over[0].Send(ctx, &quicwire.Batch{Ordinal: 1, Count: 1, RawLen: 8, Data: []byte("nonsense")})
		},
		"more_than_the_window": func(ctx context.Context, _ *quicwire.MirrorOpen, _ *quicwire.MirrorStream, over []*quicwire.MirrorStream) error {
			data := make([]byte, quicwire.MaxBatchData)
			for n := uint64(2); n < 1000; n++ {
				if err := over[n%paths].Send(ctx, &quicwire.Batch{Ordinal: n, RawLen: uint32(len(data)), Data: data}); err != nil {
					return nil // it has ended the mirror
				}
			}
			return errors.New("2 GB were taken ahead")
		},
		"more_batches_than_may_be_ahead": func(ctx context.Context, _ *quicwire.MirrorOpen, _ *quicwire.MirrorStream, over []*quicwire.MirrorStream) error {
			for n := range uint64(3 * pathAhead) {
				if over[n%paths].Send(ctx, &quicwire.Batch{Ordinal: n + 2}) != nil {
					break
				}
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			inPair(t, func(t *testing.T, w *world, g *simGroup, tokyo, osaka *simSite) {
				tokyo.die(nil)
				streams := make(chan *quicwire.MirrorStream, 100)
				done := make(chan error, 1)
				p := &puppet{path: func(ctx context.Context, s *quicwire.MirrorStream) { streams <- s; <-ctx.Done() }}
				var begun atomic.Bool
				p.mirrorOf = func(ctx context.Context, open *quicwire.MirrorOpen, s *quicwire.MirrorStream) {
					if open.Group != g.master() || begun.Swap(true) {
						return
					}
					must(t, s.Send(ctx, accept(open)))
					s.Provide(paths)
					for i := range uint8(paths) {
						must(t, s.Send(ctx, &quicwire.MirrorPath{Session: open.Session, Path: i + 1}))
					}
					var over []*quicwire.MirrorStream
					for range paths {
						over = append(over, <-streams)
					}
					if n := osaka.site.paths.taken(); n == 0 || n > osaka.cfg.Memory/pathShare {
						t.Errorf("%d bytes are counted", n)
					}
					began := time.Now()
					err := do(ctx, open, s, over)
					for err == nil {
						_, err = s.Recv(ctx)
					}
					if took := time.Since(began); took >= activeWatch {
						done <- fmt.Errorf("the mirror went on for %v", took) // the watch over a mute peer had to end it
						return
					}
					if ctx.Err() == nil && !errors.Is(err, io.EOF) && !errors.Is(err, quicwire.ErrConnectionLost) {
						done <- err
						return
					}
					done <- nil
				}
				tokyo.standIn(p)
				w.until("the mirror has ended", func() bool { return len(done) > 0 })
				must(t, <-done)
				w.until("nothing is held any more", func() bool { return osaka.site.paths.taken() == 0 })
				if st := osaka.status("x"); st.Status != PAIR {
					t.Errorf("the pair is %s", st.Status)
				}
			})
		})
	}
}
