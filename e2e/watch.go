package e2e

import (
	"bufio"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Passage is the sequence of states that a pair passes through at a site, taken from the site's events, which miss none: the status
// words of the pair, and PFUL and "below" when the journal of its group passes its high-water mark. Safe for concurrent use.
type Passage struct {
	site string

	mu    sync.Mutex
	words []string
	lines []string
}

// WatchPair begins to follow a pair and its group from the oldest event that the site remembers. It ends with the mount.
func (s *Site) WatchPair(pair, group string) *Passage {
	s.t.Helper()
	f, err := os.Open(s.ctlPath("events"))
	if err != nil {
		s.t.Fatalf("site %s: open events: %v", s.Name, err)
	}
	p := &Passage{site: s.Name}
	s.t.Cleanup(func() { s.logIfFailed(p) })
	go func() {
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			p.take(lines.Text(), "pair/"+pair, "group/"+group)
		}
	}()
	return p
}

func (s *Site) logIfFailed(p *Passage) {
	if s.t.Failed() {
		p.mu.Lock()
		defer p.mu.Unlock()
		s.t.Logf("events of the pair and its group at %s:\n%s", s.Name, strings.Join(p.lines, "\n"))
	}
}

var statusEvent = regexp.MustCompile(`^[PS]-VOL is (\w+)`)

// take reads one event: ID TIME LEVEL OBJECT [CODE]: text.
func (p *Passage) take(line, pair, group string) {
	head, text, _ := strings.Cut(line, ": ")
	words := strings.Fields(head)
	if len(words) < 4 || (words[3] != pair && words[3] != group) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = append(p.lines, line)
	switch m := statusEvent.FindStringSubmatch(text); {
	case m != nil:
		p.words = append(p.words, m[1])
	case strings.Contains(text, "(PFUL)"):
		p.words = append(p.words, "PFUL")
	case strings.Contains(text, "below its high-water mark"):
		p.words = append(p.words, "below")
	}
}

// Words returns the states so far, each as often as it was told.
func (p *Passage) Words() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.words)
}

// Forget begins anew: what was passed until now is not in Words any more.
func (p *Passage) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.words = nil
}

// Await waits until the pair has passed through the state since the last Forget.
func (p *Passage) Await(t T, word string) {
	t.Helper()
	Until(t, StatusLimit, "site "+p.site+" told of "+word, func() bool { return slices.Contains(p.Words(), word) })
}

// Expect fails the test unless what was passed fits the pattern: a regular expression over words that each end with a blank, repeats of
// one word taken as one.
func (p *Passage) Expect(t T, pattern string) {
	t.Helper()
	words := p.Words()
	once := strings.Join(slices.Compact(slices.Clone(words)), " ") + " "
	t.Logf("site %s passed through %s(%d events)", p.site, once, len(words))
	if !regexp.MustCompile("^(?:" + pattern + ")$").MatchString(once) {
		t.Errorf("site %s passed through %q, want %q", p.site, once, pattern)
	}
}
