package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

const (
	// progressEvery is how often progress is looked at; nothing tells of it.
	progressEvery = 250 * time.Millisecond
	// lookEvery is how often the state is read although no event came: a site drops the oldest events of a reader that is too slow.
	lookEvery = 2 * time.Second
)

// stateWords are the words that "pair wait" knows: those of the column STATUS.
var stateWords = []string{"SMPL", "COPY", "PAIR", "PFUL", "PFUS", "PSUS", "SSUS", "PSUE", "SSWS", "Suspending", "Deleting"}

// pairWaitCmd waits for a state.
type pairWaitCmd struct {
	Name     string        `arg:"" name:"pair" help:"Name of the pair."`
	States   []string      `arg:"" name:"state" help:"States to wait for; SMPL also means that there is no such pair."`
	Timeout  time.Duration `default:"60s" help:"How long to wait; 0 waits for ever. When it is over the exit status is 3."`
	Progress bool          `help:"Show how the copy gets on, on stderr."`
	jsonFlag
}

// Run waits. It looks when an event comes, not in a loop.
func (c *pairWaitCmd) Run(a *app) error {
	for i, w := range c.States {
		at := slices.IndexFunc(stateWords, func(s string) bool { return strings.EqualFold(s, w) })
		if at < 0 {
			return usagef("%q is not a state; the states are %s", w, strings.Join(stateWords, ", "))
		}
		c.States[i] = stateWords[at]
	}
	if err := checkPair(c.Name); err != nil {
		return err
	}
	s, err := a.site()
	if err != nil {
		return err
	}
	ctx := a.ctx
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.Timeout)
		defer cancel()
	}
	last, err := c.wait(ctx, s, newProgress(a.stderr, c.Progress), a.stderr)
	if err != nil || !c.JSON {
		return err
	}
	return printJSON(a.stdout, object{state: last, kinds: pairKinds})
}

// wait returns the state that was waited for. A pair that is not there is waited for, as a script at the S-VOL's site does before the pair is
// made; who mistyped its name is told so at once.
func (c *pairWaitCmd) wait(ctx context.Context, s site, show *progress, stderr io.Writer) (state, error) {
	defer show.end()
	toldMissing := false
	news, err := s.news()
	if err != nil {
		return state{}, err
	}
	every := lookEvery
	if c.Progress {
		every = progressEvery
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		p, err := s.pairState(c.Name)
		if err != nil {
			return p, err
		}
		show.update(p)
		if c.wanted(p.get("status")) {
			return p, nil
		}
		if p.get("status") == "SMPL" && !toldMissing {
			toldMissing = true
			fmt.Fprintf(stderr, "pairfs: no pair %s at the site of %s%s: waiting for one to come\n", c.Name, s.mnt, s.others(c.Name))
		}
		select {
		case <-ctx.Done():
			one := []state{p}
			s.addPeers(one)
			return p, c.late(ctx, one[0])
		case _, alive := <-news:
			if !alive {
				news = nil // the site stopped, or tried to; the next tick tells which
			}
		case <-tick.C:
			if news == nil {
				if news, err = s.news(); err != nil {
					return p, err
				}
			}
		}
	}
}

// pairState reads a pair; one that does not exist is SMPL, as long as the site itself is there.
func (s site) pairState(name string) (state, error) {
	p, err := s.read(name)
	if !errors.Is(err, os.ErrNotExist) {
		return p, err
	}
	_, mounted, merr := mountAt(s.mnt)
	switch {
	case merr != nil:
		return p, merr
	case !mounted:
		return p, fmt.Errorf("the site of %s was stopped meanwhile", s.mnt)
	}
	return parseState("name: " + name + "\nstatus: SMPL\n"), nil
}

// wanted reports whether the status is one of those waited for. PSUS and SSUS are the two sides of one state.
func (c *pairWaitCmd) wanted(status string) bool {
	other := map[string]string{"PSUS": "SSUS", "SSUS": "PSUS"}[status]
	return slices.Contains(c.States, status) || other != "" && slices.Contains(c.States, other)
}

// late says what the pair was in when the time was over, and why if that is known.
func (c *pairWaitCmd) late(ctx context.Context, p state) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return errors.New("interrupted")
	}
	if p.get("status") == "SMPL" {
		return &exitError{code: exitTimeout, err: fmt.Errorf("there is no pair %s after %v", c.Name, c.Timeout)}
	}
	said := fmt.Errorf("pair %s is in %s after %v, not in %s%s", c.Name, p.get("status"), c.Timeout, strings.Join(c.States, " or "), reasons(p))
	return &exitError{code: exitTimeout, err: said}
}

// reasons joins the notes of a pair for the end of a sentence.
func reasons(p state) string {
	n := notes(p)
	if len(n) == 0 {
		return ""
	}
	return ": " + strings.Join(n, "; ")
}

// progress shows how a copy gets on: over one line on a terminal, in a new line whenever it got further elsewhere.
type progress struct {
	w    io.Writer // nil: shows nothing
	over bool      // w is a terminal
	last string    // state and percentage shown last
}

// newProgress shows on w if asked to.
func newProgress(w io.Writer, on bool) *progress {
	if !on {
		return &progress{}
	}
	return &progress{w: w, over: isTerminal(w)}
}

// update shows the state if it is news.
func (p *progress) update(st state) {
	if p.w == nil {
		return
	}
	line := st.get("name") + " " + st.get("status")
	if st.get("status") == "COPY" {
		line += fmt.Sprintf(" %s copied, %s to go, %s/s, ETA %s", percentText(st.get("copied-percent")), sizeText(st.get("copy-left-bytes")),
			sizeText(wholeText(st.get("copy-rate"))), secondsText(st.get("eta-seconds")))
	}
	step := st.get("status") + st.get("copied-percent")
	if !p.over && step == p.last {
		return
	}
	p.last = step
	if p.over {
		fmt.Fprintf(p.w, "\r\x1b[K%s", line)
		return
	}
	fmt.Fprintln(p.w, line)
}

// end leaves the line.
func (p *progress) end() {
	if p.over && p.last != "" {
		fmt.Fprintln(p.w)
	}
}

// wholeText cuts the decimals of a number.
func wholeText(v string) string {
	whole, _, _ := strings.Cut(v, ".")
	return whole
}
