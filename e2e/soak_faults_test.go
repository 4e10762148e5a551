package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// host is a site under the faults of a soak.
type host struct {
	*Site
	paused bool // by SIGSTOP
	kills  int
}

// up reports whether the site answers.
func (h *host) up() bool { return h.Running() && !h.paused }

// kill kills the daemon, whether it is paused or not.
func (h *host) kill() {
	h.kills++
	h.paused = false
	h.cmd.Process.Kill() // one that is to die at a crash point may be dead already
	<-h.exited
}

// pauseLimit ends a pause by itself: whoever closes a file in the mount of a paused daemon waits for it, and so do all who look at him.
const pauseLimit = 30 * time.Second

// pause stops the daemon with all its threads where they are.
func (h *host) pause() {
	h.paused = true
	process := h.cmd.Process
	process.Signal(unix.SIGSTOP)
	time.AfterFunc(pauseLimit, func() { process.Signal(unix.SIGCONT) })
}

// proceed ends a pause.
func (h *host) proceed() {
	if h.paused && h.Running() {
		h.cmd.Process.Signal(unix.SIGCONT)
	}
	h.paused = false
}

// weather chooses what the link is like in a cycle.
func (s *soak) weather() {
	s.Link.Heal()
	switch s.rng.IntN(4) {
	case 0:
		s.Link.Delay(time.Duration(1+s.rng.IntN(15)) * time.Millisecond)
	case 1:
		s.Link.Delay(time.Millisecond)
		s.Link.Drop(0.01)
		s.Link.Mangle(0.005)
	}
}

// act does one thing to the sites, the link or the pairs.
func (s *soak) act() {
	h := s.hosts[s.rng.IntN(len(s.hosts))]
	f := s.flows[s.rng.IntN(len(s.flows))]
	switch s.rng.IntN(14) {
	case 0, 1:
		s.kill(h)
	case 2:
		for _, h := range s.hosts {
			s.kill(h)
		}
	case 3:
		if h.up() {
			s.note("pause", h.Name)
			h.pause()
		} else {
			s.raise(h)
		}
	case 4:
		s.cut(!s.cutOff)
	case 5:
		for _, h := range s.hosts {
			s.raise(h)
		}
	case 6:
		s.killInCopy(f, h)
	case 10:
		f.disaster()
	case 11:
		f.exchange()
	case 12, 13:
		f.decide()
	default:
		f.command()
	}
}

// note logs what is done and counts it.
func (s *soak) note(what, where string) {
	word, _, _ := strings.Cut(what, " volume=")
	s.did(word, 1)
	s.t.Logf("cycle %d: %s %s", s.n, what, where)
}

func (s *soak) kill(h *host) {
	if h.Running() {
		s.note("kill", h.Name)
		h.kill()
	}
}

func (s *soak) cut(on bool) {
	s.note(map[bool]string{true: "cut", false: "join"}[on], "the link")
	s.cutOff = on
	s.Link.Cut(on)
}

// killInCopy asks for a copy and kills a site once it is under way, if it ever is.
func (s *soak) killInCopy(f *flow, h *host) {
	if f.turning || !f.from.up() || !f.to.up() {
		return
	}
	if f.all("PAIR", "PFUL") {
		f.try(f.from, "suspend", f.masterGroup())
		eventually(2*time.Second, func() bool { return !f.from.up() || f.all("PSUS", "PSUE", "PFUS") })
	}
	f.inStep = false
	f.try(f.from, "resync", f.masterGroup())
	if eventually(2*time.Second, func() bool { return f.all("COPY") }) {
		s.did("copy met", 1)
		s.moment(60 * time.Millisecond)
	}
	s.kill(h)
}

// raise brings a site back. Now and then it is killed again while it starts. All pauses end: a process that is started closes what it
// inherits of files that are open in a mount, which a paused daemon does not answer.
func (s *soak) raise(h *host) {
	for _, h := range s.hosts {
		h.proceed()
	}
	if h.Running() {
		return
	}
	for s.chance(5) {
		s.note("kill at the start", h.Name)
		if _, err := h.launch(); err != nil {
			s.t.Fatalf("%v", err)
		}
		s.moment(150 * time.Millisecond)
		h.kill()
	}
	s.note("start", h.Name)
	h.Restart()
	for _, f := range s.flows {
		for _, st := range f.streams() {
			if st.at == h {
				st.halt()
				if !f.settling {
					st.check()
				}
			}
		}
		f.write()
	}
}

// heal mends everything. Before the link is back the S-VOLs are looked at.
func (s *soak) heal() {
	if !s.cutOff && s.chance(2) {
		s.cut(true)
	}
	for _, i := range s.rng.Perm(len(s.hosts)) {
		s.raise(s.hosts[i])
	}
	if s.cutOff {
		for _, f := range s.flows {
			f.look()
		}
		if s.chance(8) {
			eventually(LinkLimit, func() bool {
				return s.A.Get("peers/osaka")["connected"] == "no" && s.B.Get("peers/tokyo")["connected"] == "no"
			})
		}
	}
	if s.chance(2) {
		s.Link.Heal()
	}
	s.cut(false)
	s.AwaitLink()
	Until(s.t, StatusLimit, "all commands have ended", s.tries.ended)
	for _, f := range s.flows {
		f.findRoles()
	}
}

// soakT is a test that first says what the sites are doing when it fails.
type soakT struct {
	*testing.T
	failing func()
	failed  bool
}

// Fatalf fails the test.
func (t *soakT) Fatalf(format string, args ...any) {
	t.Helper()
	if !t.failed {
		t.failed = true
		t.failing()
	}
	t.T.Fatalf(format, args...)
}

// report logs the state of both sites, makes them print their goroutines, and keeps what they have on disk as artifacts of the test.
func (s *soak) report() {
	s.t.Helper()
	s.t.Logf("cycle %d failed, of the seed above; done: %v; refused: %v", s.n, s.done, s.tries.counts())
	if s.hosts == nil {
		return
	}
	for _, h := range s.hosts {
		h.proceed()
	}
	for _, h := range s.hosts {
		if !h.Running() {
			continue
		}
		out := make(chan string, 1)
		go func() {
			text, _ := h.CLI("status", "--json")
			out <- text
		}()
		select {
		case text := <-out:
			s.t.Logf("status of site %s:\n%s", h.Name, text)
		case <-time.After(dumpLimit):
			s.t.Logf("site %s does not answer", h.Name)
		}
		h.giveUp()
	}
	for _, h := range s.hosts {
		to := filepath.Join(s.t.ArtifactDir(), h.Name)
		os.Mkdir(to, 0o700)
		out, err := exec.Command("cp", "-a", "--sparse=always", h.State, h.Ring, h.log, to).CombinedOutput()
		s.t.Logf("state and log of site %s, with its goroutines, are in %s (go test -artifacts keeps them) %v %s", h.Name, to, err, out)
	}
}
