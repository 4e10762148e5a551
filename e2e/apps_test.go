package e2e

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// needApps skips a test of real applications unless they were asked for.
func needApps(t *testing.T) {
	t.Helper()
	if os.Getenv("PAIRFS_APPS") == "" {
		t.Skip("tests of real applications run with PAIRFS_APPS=1: `make apps` installs these and sets it")
	}
}

// appsLimit ends the daemons of a test of applications that hangs.
const appsLimit = 40 * time.Minute

// appsDelay is what packets take below a database: the other side is that far behind, so that the loss of the primary costs something.
const appsDelay = 20 * time.Millisecond

// standby is the volume "disk" of pair "pair0" as a host and its standby see it: one side is used, the other is taken over.
type standby struct {
	*Sites
	primary, secondary *Site

	t *testing.T
}

// startStandby starts two sites with a volume at the first, which is not paired yet.
func startStandby(t *testing.T, size int64) *standby {
	t.Helper()
	s := Two(t, Options{Limit: appsLimit})
	s.A.MakeVolume("disk", size)
	return &standby{Sites: s, primary: s.A, secondary: s.B, t: t}
}

// disk is the path of the volume where hosts use it.
func (s *standby) disk() string { return s.primary.Path("disk") }

// groupAt is the name of the pair's group at a site.
func (s *standby) groupAt(at *Site) string {
	if at == s.A {
		return "default"
	}
	return "default@tokyo"
}

// replicate makes the pair and waits until it is in step.
func (s *standby) replicate() {
	s.t.Helper()
	s.CreatePair("pair0", "disk", "")
	s.awaitPair()
}

// awaitPair waits until the pair is in step.
func (s *standby) awaitPair() {
	s.t.Helper()
	s.primary.Wait("pair0", StatusLimit, "PAIR")
	s.secondary.Wait("pair0", StatusLimit, "PAIR")
}

// takeover lets hosts use the other side and returns what pairfs said. kinds are the kinds of takeover that it may be.
func (s *standby) takeover(kinds ...string) (answer string, took time.Duration) {
	s.t.Helper()
	begun := time.Now()
	answer, code := s.secondary.CLI("group", "takeover", s.groupAt(s.secondary))
	took, answer = time.Since(begun), strings.TrimSpace(answer)
	kind, _, _ := strings.Cut(answer, ":")
	if code != 0 || !slices.Contains(kinds, kind) {
		s.t.Fatalf("takeover at %s: exit status %d, %s; want one of %v", s.secondary.Name, code, answer, kinds)
	}
	s.primary, s.secondary = s.secondary, s.primary
	return answer, took
}

// rejoin brings the old primary back as the secondary of the new one, by the runbook: where it had written what never arrived at the other
// side there are two histories, the operator goes on from the new primary, and what is given up is kept. It reports whether that was so.
func (s *standby) rejoin() (bothWrote bool) {
	s.t.Helper()
	if !s.secondary.Running() {
		s.secondary.Restart()
	}
	s.AwaitLink()
	s.secondary.Wait("pair0", StatusLimit, "PSUS", "PSUE")
	group := s.groupAt(s.primary)
	out, code := s.primary.CLI("group", "resync", group, "--swap")
	if code != 0 && strings.Contains(out, "discard") {
		bothWrote = true
		out, code = s.primary.CLI("group", "resync", group, "--discard=there")
	}
	if code != 0 {
		s.t.Fatalf("resync at %s: exit status %d, %s", s.primary.Name, code, out)
	}
	if bothWrote && s.secondary.Int("pair0", "kept-sets") == 0 {
		s.t.Fatalf("what %s had and %s had not was given up, and nothing was kept", s.secondary.Name, s.primary.Name)
	}
	return bothWrote
}

// marker is one that was placed while an application worked.
type marker struct {
	name     string
	seq      uint64
	begun    time.Time // what was reported before had been acknowledged when the marker was placed
	restored bool      // the other side said so before the primary was lost
}

// marks places markers at a primary and waits for each at the other side, as a script would, until it is stopped or the primary is lost.
type marks struct {
	s      *standby
	losing atomic.Bool // the primary is about to be lost: what fails is no news
	end    chan struct{}
	done   chan struct{}
	all    []marker // once done is closed
	err    error
}

// marksEvery is the pause between two markers.
const marksEvery = 100 * time.Millisecond

func (s *standby) startMarks() *marks {
	m := &marks{s: s, end: make(chan struct{}), done: make(chan struct{})}
	go m.run(s.primary, s.secondary)
	return m
}

func (m *marks) run(here, there *Site) {
	defer close(m.done)
	ticker := time.NewTicker(marksEvery)
	defer ticker.Stop()
	for m.place(here, there) {
		select {
		case <-m.end:
			return
		case <-ticker.C:
		}
	}
}

// place places one marker and waits for it.
func (m *marks) place(here, there *Site) (ok bool) {
	mk := marker{begun: time.Now()}
	out, code := here.CLI("pair", "mark", "pair0")
	mk.name = strings.TrimSpace(out)
	if code == 0 {
		_, number, _ := strings.Cut(mk.name, "-")
		mk.seq, m.err = strconv.ParseUint(number, 10, 64)
		out, code = there.CLI("wait", "--marker", mk.name, "--timeout=20s")
		mk.restored = code == 0
		m.all = append(m.all, mk)
	}
	if code != 0 && !m.losing.Load() {
		m.err = fmt.Errorf("a marker at %s: exit status %d, %s", here.Name, code, out)
	}
	return code == 0 && m.err == nil
}

// stop ends the markers. It is to be called once.
func (m *marks) stop() {
	m.s.t.Helper()
	close(m.end)
	<-m.done
	if m.err != nil {
		m.s.t.Fatalf("%v", m.err)
	}
}

// lastRestored returns the newest marker that a takeover found restored by its answer, and with it all that the other side had said to have.
func (m *marks) lastRestored(answer string) (last marker, ok bool) {
	m.s.t.Helper()
	var upTo uint64
	for _, before := range []string{"everything up to sequence number ", "exchanged at sequence number "} {
		if _, number, found := strings.Cut(answer, before); found {
			fmt.Sscanf(number, "%d", &upTo)
		}
	}
	for _, mk := range m.all {
		switch {
		case mk.seq <= upTo:
			last, ok = mk, true
		case mk.restored:
			m.s.t.Fatalf("marker %s was restored at the other side, and the takeover says: %s", mk.name, answer)
		}
	}
	return last, ok
}

// spread is the median and the maximum of durations.
func spread(all []time.Duration) string {
	if len(all) == 0 {
		return "none"
	}
	all = slices.Sorted(slices.Values(all))
	return fmt.Sprintf("p50 %s ms, max %s ms, of %d", millis(all[len(all)/2]), millis(all[len(all)-1]), len(all))
}
