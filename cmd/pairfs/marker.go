package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"pairfs/replica"
)

// markerRound is how long one question waits for a marker. A wait that is longer asks again, so that nothing is open for long.
const markerRound = 20 * time.Second

// markFlags are what a mark of a pair and of a group have in common.
type markFlags struct {
	jsonFlag
}

type pairMarkCmd struct {
	Name string `arg:"" name:"pair" help:"Name of the pair."`
	markFlags
}

// Run places a marker of the pair.
func (c *pairMarkCmd) Run(a *app) error { return a.mark("", c.Name, "mark", c.JSON) }

type groupMarkCmd struct {
	Name string `arg:"" help:"Name of the group."`
	markFlags
}

// Run places a marker of all pairs of the group.
func (c *groupMarkCmd) Run(a *app) error { return a.mark("groups", c.Name, "mark", c.JSON) }

// mark gives a command whose answer begins with a marker, and prints that alone, for it is what a script keeps.
func (a *app) mark(dir, name, line string, asJSON bool) error {
	s, err := a.siteFor(dir, name)
	if err != nil {
		return err
	}
	said, err := s.do(filepath.Join(dir, name), line, false)
	if err != nil {
		return err
	}
	words := strings.Fields(said)
	if len(words) < 2 || words[0] != "marker" {
		return fmt.Errorf("the answer has no marker: %q", said)
	}
	m, err := replica.ParseMarker(words[1])
	if err != nil {
		return err
	}
	if !asJSON {
		_, err = fmt.Fprintln(a.stdout, m)
		return err
	}
	var st state
	st.values = map[string]string{}
	st.set("marker", m.String())
	st.set("seq", fmt.Sprint(m.Seq))
	st.set("note", said)
	return printJSON(a.stdout, object{state: st, kinds: markerKinds})
}

// waitCmd waits for a marker.
type waitCmd struct {
	Marker  string        `required:"" placeholder:"M" help:"The marker, as \"pair mark\", \"group mark\" and \"suspend --mark\" print it, at this site or at its peer."`
	Timeout time.Duration `default:"60s" help:"How long to wait; 0 waits for ever. When it is over the exit status is 3."`
	Nowait  bool          `help:"Do not wait, show the state."`
	jsonFlag
}

// Run waits. The exit status is that of the state: done 0, waiting 3, broken 4, changed 5.
func (c *waitCmd) Run(a *app) error {
	if _, err := replica.ParseMarker(c.Marker); err != nil {
		return usagef("%v", err)
	}
	s, err := a.site()
	if err != nil {
		return err
	}
	st, err := c.wait(a.ctx, s)
	if err != nil {
		return err
	}
	if c.JSON {
		if err := printJSON(a.stdout, object{state: st, kinds: markerKinds}); err != nil {
			return err
		}
	}
	return c.verdict(a, st)
}

// wait asks until the marker is not waiting any more, or the time is over.
func (c *waitCmd) wait(ctx context.Context, s site) (state, error) {
	end := time.Now().Add(c.Timeout)
	for {
		round := markerRound
		switch left := time.Until(end); {
		case c.Nowait:
			round = 0
		case c.Timeout > 0:
			round = max(0, min(round, left))
		}
		began := time.Now()
		st, err := s.marker(ctx, c.Marker, round)
		over := c.Timeout > 0 && !time.Now().Before(end)
		if err != nil || st.get("state") != replica.MarkerWaiting.String() || c.Nowait || over {
			return st, err
		}
		if time.Since(began) >= round {
			continue
		}
		select { // the site answered early, for it is about to stop
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return st, errors.New("interrupted")
		}
	}
}

// marker asks a site what became of a marker. Nothing but the end of that time ends the question, so it is left alone when ctx ends.
func (s site) marker(ctx context.Context, m string, wait time.Duration) (state, error) {
	type answer struct {
		state
		error
	}
	c := make(chan answer, 1)
	go func() {
		in, err := s.ask("site", fmt.Sprintf("wait marker=%s timeout=%v", m, wait.Round(time.Millisecond)))
		if err != nil {
			c <- answer{error: err}
			return
		}
		defer in.Close()
		st, err := readMarker(in)
		c <- answer{st, err}
	}()
	select {
	case a := <-c:
		return a.state, a.error
	case <-ctx.Done():
		return state{}, errors.New("interrupted")
	}
}

// readMarker reads an answer: "ok", then the "key: value" lines of the marker.
func readMarker(in io.Reader) (state, error) {
	r := bufio.NewReader(io.LimitReader(in, maxText))
	first, err := r.ReadString('\n')
	if err == nil && first != "ok\n" {
		err = fmt.Errorf("it begins with %q", first)
	}
	var rest []byte
	if err == nil {
		rest, err = io.ReadAll(r)
	}
	st := parseState(string(rest))
	if err == nil && !st.has("state") {
		err = errors.New("it has no state")
	}
	if err != nil {
		return st, fmt.Errorf("the answer about the marker could not be read: %w", err)
	}
	return st, nil
}

// verdict prints the state where it was asked for, and makes an exit status of it.
func (c *waitCmd) verdict(a *app, st state) error {
	m, note := c.Marker, st.get("note")
	word := st.get("state")
	failed := func(code int, format string, args ...any) error {
		return &exitError{code: code, err: fmt.Errorf(format, args...)}
	}
	switch word {
	case replica.MarkerDone.String():
		if c.Nowait && !c.JSON {
			fmt.Fprintf(a.stdout, "done: %s\n", note)
		}
		return nil
	case replica.MarkerWaiting.String():
		if c.Nowait {
			return failed(exitTimeout, "marker %s is not restored yet: %s", m, note)
		}
		return failed(exitTimeout, "marker %s is not restored after %v: %s", m, c.Timeout, note)
	case replica.MarkerBroken.String():
		return failed(exitBroken, "marker %s is broken: %s", m, note)
	case replica.MarkerChanged.String():
		return failed(exitChanged, "marker %s is changed: %s", m, note)
	}
	return fmt.Errorf("marker %s is %q, which this command does not know: use the pairfs of the daemon", m, word)
}
