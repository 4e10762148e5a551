package replica

import (
	"context"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// A play is one scenario: two sites, named a (primary) and b, and a script of small commands that is read from testdata/scenarios. Each
// file there is one table of states or failures, each row of it one play. A line of a script is a command of playCommands with words behind
// it; "& " before it runs it beside the others until "join". What a command prints, a refusal above all, has to be in the expected text, and
// nothing that varies from run to run is printed. What takes time is waited for by its condition.
type play struct {
	*duo
	t      *testing.T
	w      *writer // hosts of a; volumes in the order of their making
	s      *writer // hosts of b, where they may write S-VOLs
	faults map[*node]*playFaults
	next   map[string]int64 // volume: block of its next write
	codes  map[*node]uint64 // last event whose code was shown
	dark   bool             // the link is cut

	markers map[string]Marker
	out     strings.Builder

	beside sync.WaitGroup
	mu     sync.Mutex // guards besideOut
	said   []string   // by commands beside
}

// TestScenarios plays every row of every table, or with PAIRFS_SCENARIOS=N one in N of them, chosen by the seed.
func TestScenarios(t *testing.T) {
	t.Parallel()
	share, seed := uint64(1), testSeed(t)
	if n := os.Getenv("PAIRFS_SCENARIOS"); n != "" {
		var err error
		share, err = strconv.ParseUint(n, 10, 32)
		must(t, err)
	}
	files, err := filepath.Glob("testdata/scenarios/*.txt")
	must(t, err)
	if len(files) == 0 {
		t.Fatal("there are no scenarios")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string {
				if d.Cmd != "row" || len(d.CmdArgs) != 1 {
					t.Fatalf("%s: want row NAME", d.Pos)
				}
				h := fnv.New64a()
				fmt.Fprint(h, seed, file, d.CmdArgs[0].Key)
				if h.Sum64()%max(share, 1) != 0 {
					return d.Expected
				}
				out := ""
				t.Run(d.CmdArgs[0].Key, func(t *testing.T) { out = playRow(t, d.Input) })
				return out
			})
		})
	}
}

// playRow plays one script and returns what it printed.
func playRow(t *testing.T, script string) string {
	faults := map[string]*playFaults{"tokyo": newPlayFaults(), "osaka": newPlayFaults()}
	d := newDuo(t, func(name string, c *Config) { faults[name].use(c) })
	p := &play{
		duo: d, t: t, w: newWriter(d.a), s: newWriter(d.b), next: map[string]int64{}, codes: map[*node]uint64{}, markers: map[string]Marker{},
		faults: map[*node]*playFaults{d.a: faults["tokyo"], d.b: faults["osaka"]},
	}
	defer p.end()
	for _, line := range strings.Split(script, "\n") {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		t.Log("> " + line)
		if words[0] == "&" {
			p.beside.Go(func() { p.say(p.do(words[1:])) })
			continue
		}
		if text := p.do(words); text != "" {
			fmt.Fprintln(&p.out, text)
		}
	}
	return p.out.String()
}

// end lets go of what is held and closes the sites, so that the rows of a file do not stand beside each other.
func (p *play) end() {
	for _, n := range []*node{p.a, p.b} {
		p.faults[n].letGo()
	}
	p.beside.Wait()
	p.close(p.a)
	p.close(p.b)
}

// close closes a site; of one in which something was broken since it was opened what it says then is not looked at.
func (p *play) close(n *node) {
	if p.faults[n].forgive() && n.site != nil {
		n.discard()
		return
	}
	n.close()
}

func (p *play) say(text string) {
	if text != "" {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.said = append(p.said, text)
	}
}

// do runs one command and returns what it prints.
func (p *play) do(words []string) string {
	if words[0] == "hurry" && len(words) > 1 {
		ended := make(chan struct{})
		defer close(ended)
		p.beside.Go(func() {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
					(&playCall{p: p}).hurry()
				case <-ended:
					return
				}
			}
		})
		words = words[1:]
	}
	cmd := playCommands[words[0]]
	if cmd == nil {
		p.t.Fatalf("there is no command %q", words[0])
	}
	c := playCall{p: p, name: words[0], set: map[string]string{}, at: p.a}
	for _, w := range words[1:] {
		name, value, is := strings.Cut(w, "=")
		switch {
		case is:
			c.set[name] = value
		case w == "a" || w == "b":
			c.at, c.site = map[string]*node{"a": p.a, "b": p.b}[w], true
		default:
			c.words = append(c.words, w)
		}
	}
	return cmd(&c)
}

// playCall is one command with its words: a site if one is named, names, and options as NAME=VALUE.
type playCall struct {
	p     *play
	name  string
	at    *node // a if none is named
	site  bool  // one was named
	words []string
	set   map[string]string
}

// take removes an option and returns its value.
func (c *playCall) take(name string) string {
	v := c.set[name]
	delete(c.set, name)
	return v
}

// has reports whether the word is there, and removes it.
func (c *playCall) has(word string) bool {
	i := slices.Index(c.words, word)
	if i >= 0 {
		c.words = slices.Delete(c.words, i, i+1)
	}
	return i >= 0
}

// word is the one word that the command needs.
func (c *playCall) word() string {
	c.p.t.Helper()
	if len(c.words) != 1 {
		c.p.t.Fatalf("%s: want one name, have %q", c.name, c.words)
	}
	return c.words[0]
}

// groupHere is the name of the one group at the site of the call.
func (c *playCall) group() string { return c.p.groupAt(c.at) }

func (p *play) groupAt(n *node) string {
	if n == p.b {
		return "g@tokyo"
	}
	return "g"
}

// answer prints what became of a command of an operator: nothing if it was done.
func (c *playCall) answer(err error) string {
	if err == nil {
		return ""
	}
	text := strings.ReplaceAll(err.Error(), c.at.cfg.StateDir, "STATE")
	return fmt.Sprintf("%s: refused (%s): %s", c.name, KindOf(err), text)
}

// onPairs runs a command on the pair that is named, or on the group when none is.
func (c *playCall) onPairs(pair, group func(context.Context, string) error) string {
	if len(c.words) == 0 {
		return c.answer(group(context.Background(), c.group()))
	}
	return c.answer(pair(context.Background(), c.word()))
}
