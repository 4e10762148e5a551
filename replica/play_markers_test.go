package replica

import (
	"context"
	"fmt"
	"regexp"
	"strings"
)

// playNumbers vary from run to run.
var playNumbers = regexp.MustCompile(`(sequence number|back to) [0-9]+`)

// mark places a marker of the pair that is named, or of the group, and keeps it under a label; with split the pairs are split at it, and with
// at=LABEL at one that was placed before.
func (c *playCall) mark() string {
	p, split, at := c.p, c.has("split"), c.take("at")
	label := c.words[0]
	c.words = c.words[1:]
	place := func(mark func(context.Context, string) (Marker, error), suspend func(context.Context, string, SuspendOptions) error) func(context.Context, string) error {
		return func(ctx context.Context, name string) error {
			if !split && at == "" {
				m, err := mark(ctx, name)
				p.markers[label] = m
				return err
			}
			var said Remarks
			err := suspend(WithRemarks(ctx, &said), name, SuspendOptions{Mark: split, At: p.markers[at]})
			if err == nil {
				p.markers[label], err = ParseMarker(strings.Fields(said.String())[1])
			}
			return err
		}
	}
	s := c.at.site
	text := c.onPairs(place(s.MarkPair, s.SuspendPair), place(s.MarkGroup, s.SuspendGroup))
	for name, m := range p.markers {
		if m != (Marker{}) {
			text = strings.ReplaceAll(text, m.String(), name)
		}
	}
	return playNumbers.ReplaceAllString(text, "$1 N")
}

// marker waits until a marker is in a state on one side, or on both.
func (c *playCall) marker() string {
	p := c.p
	label, want := c.words[0], c.words[1]
	sides := []*node{p.a, p.b}
	if c.site {
		sides = []*node{c.at}
	}
	for _, n := range sides {
		p.wait(fmt.Sprintf("marker %s is %s at %s", label, want, n.cfg.Name), func() bool {
			st, err := n.site.WaitMarker(now(), p.markers[label])
			return err == nil && st.State.String() == want
		})
	}
	return ""
}
