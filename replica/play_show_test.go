package replica

import (
	"fmt"
	"slices"
	"strings"
)

// show prints both sides as they are when they agree about their pairs, as far as they can hear each other.
func (c *playCall) show() string {
	p := c.p
	p.wait("both sides agree", p.agree)
	if !p.holds() {
		p.wait("nothing is changing", p.rest)
	}
	var lines []string
	paths := c.has("paths")
	for _, n := range []*node{p.a, p.b} {
		if n.site != nil {
			lines = append(lines, p.picture(n, paths)...)
		}
	}
	return strings.Join(lines, "\n")
}

// agree reports whether each side has heard the state of the other. A side whose journal failed hears nothing, and that a pair is being
// deleted is told when it is.
func (p *play) agree() bool {
	if p.b.site != nil {
		for _, g := range p.b.site.Status().Groups {
			if len(g.Pairs) == 0 {
				return false // a restore group goes with its last pair
			}
		}
	}
	if p.dark || p.a.site == nil || p.b.site == nil || p.deaf() {
		return true
	}
	for _, n := range []*node{p.a, p.b} {
		for _, here := range n.site.Status().Pairs {
			there := n.other.status(here.Name)
			if there.Status == SMPL || there.Status == Deleting || here.Status == Deleting {
				continue
			}
			if now := shownStatus(there.Status); !here.Linked || now.On(there.Role) != here.PeerStatus {
				return false
			}
		}
	}
	return true
}

// deaf reports whether the journal of a side failed, so that the sides cannot hear each other.
func (p *play) deaf() bool {
	for _, n := range []*node{p.a, p.b} {
		if n.site != nil && n.groupStatus(p.groupAt(n)).Failed != "" {
			return true
		}
	}
	return false
}

// holds reports whether something is held up, so that a change may be under way for as long.
func (p *play) holds() bool {
	for _, f := range p.faults {
		f.mu.Lock()
		n := len(f.held)
		f.mu.Unlock()
		if n > 0 {
			return true
		}
	}
	return false
}

// rest reports whether no command and no fact is being obeyed: a status is seen before the event that tells it.
func (p *play) rest() bool {
	for _, n := range []*node{p.a, p.b} {
		if n.site == nil {
			continue
		}
		if g := n.site.groupByName(p.groupAt(n)); g != nil {
			if !g.cmd.TryLock() {
				return false
			}
			g.cmd.Unlock()
		}
	}
	return true
}

// shownStatus is the status that the peer is told.
func shownStatus(s Status) Status {
	if s == PFUL {
		return PAIR // the plays fill a journal in PAIR
	}
	return s
}

func (p *play) picture(n *node, paths bool) (lines []string) {
	site := map[*node]string{p.a: "a", p.b: "b"}[n]
	st := n.site.Status()
	for _, v := range st.Volumes {
		if v.Pair == "" && slices.Contains(p.w.names, v.Name) {
			lines = append(lines, fmt.Sprintf("%s %s SMPL", site, v.Name))
		}
	}
	for _, x := range st.Pairs {
		words := []string{fmt.Sprintf("%s %s %s %s", site, x.Name, x.Role, x.Status.On(x.Role))}
		if x.Suspend != NoSuspend {
			words[0] += fmt.Sprintf(" (%s)", x.Suspend)
		}
		going := x.Status == Deleting || n.other.site != nil && n.other.status(x.Name).Status == Deleting // told while it is, so agree does not wait for it
		if x.PeerStatus != "" && !p.deaf() && !going {
			words = append(words, "peer "+x.PeerStatus)
		}
		if x.Role == Secondary {
			words = append(words, map[bool]string{true: "consistent", false: "not consistent"}[x.Consistent])
			if n.vol(x.Volume).Writable() == nil {
				words = append(words, "hosts may write")
			}
		}
		lines = append(lines, strings.Join(words, ", "))
	}
	for _, g := range st.Groups {
		lines = append(lines, fmt.Sprintf("%s %s %s %s", site, g.Name, g.Mirror, g.Code))
	}
	var codes []string
	for _, e := range n.site.Events() {
		if e.ID > p.codes[n] && e.Code != "" && (paths || !strings.HasPrefix(e.Code, "218")) && !slices.Contains(codes, e.Code) {
			codes = append(codes, e.Code)
		}
		p.codes[n] = max(p.codes[n], e.ID)
	}
	if len(codes) > 0 {
		slices.Sort(codes)
		lines = append(lines, fmt.Sprintf("%s SIM %s", site, strings.Join(codes, " ")))
	}
	return lines
}
