package replica

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
)

// Remarks gathers what a command has to say although it succeeded. The zero value is ready; all methods may be called concurrently.
type Remarks struct {
	mu    sync.Mutex
	texts []string
}

// String returns the remarks as one line, "" if there are none.
func (r *Remarks) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.texts, "; ")
}

type remarksKey struct{}

// WithRemarks returns a context for a command that leaves its remarks in r.
func WithRemarks(ctx context.Context, r *Remarks) context.Context {
	return context.WithValue(ctx, remarksKey{}, r)
}

// remark tells who gave the command for ctx something about a pair, and makes it an event.
func (p *pair) remark(ctx context.Context, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	p.group.site.events.add(slog.LevelWarn, p.object(), "%s", text)
	Remark(ctx, "pair "+p.name+": "+text)
}

// Remark adds a sentence to the remarks of the command that ctx is for; one that gathers none drops it.
func Remark(ctx context.Context, text string) {
	if r, ok := ctx.Value(remarksKey{}).(*Remarks); ok {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.texts = append(r.texts, text)
	}
}

// incomplete returns those of the pairs whose S-VOL is no image of one moment, as far as this side knows.
func (g *group) incomplete(pairs []*pair) (some []*pair) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range pairs {
		st := p.rec.State
		there := st.Role == Primary && !p.gone && st.Suspend != DeletePairToRCU
		if !st.Consistent && (st.Role == Secondary || there) {
			some = append(some, p)
		}
	}
	return some
}

// noImage says why an S-VOL is not the image of one moment.
func (p *pair) noImage() string {
	p.group.mu.Lock()
	defer p.group.mu.Unlock()
	if p.rec.State.Role == Primary {
		return fmt.Sprintf("the S-VOL at %s is no image of one moment", p.rec.Peer)
	}
	if p.rec.State.Suspend == SVOLFailure {
		return fmt.Sprintf("records for it were lost here: volume %s is no image of one moment", p.att.vol.name)
	}
	return fmt.Sprintf("the copy was not complete: volume %s is no image of anything yet", p.att.vol.name)
}

// tellDeleted asks the peer, if it can be reached, to delete pairs that are deleted here whatever it says. What it does not do is remarked.
func (g *group) tellDeleted(ctx context.Context, pairs []*pair) {
	peer := g.rec.Peer
	told := slices.DeleteFunc(slices.Clone(pairs), (*pair).isGone)
	if len(told) == 0 {
		return
	}
	ask, cancel := context.WithTimeout(ctx, tellDeleted)
	defer cancel()
	if _, up := g.site.endpoint.Connected(peer); up && g.askDelete(ask, told) == nil {
		return
	}
	for _, p := range told {
		p.remark(ctx, "%s was not told and keeps its side: delete it there too", peer)
	}
}

// isGone reports whether the other side said that it has no such pair.
func (p *pair) isGone() bool {
	p.group.mu.Lock()
	defer p.group.mu.Unlock()
	return p.gone
}

// remarkLeft says what a delete at the secondary leaves at the primary.
func (p *pair) remarkLeft(ctx context.Context) {
	if p.isGone() {
		return
	}
	if _, up := p.group.site.endpoint.Connected(p.rec.Peer); up {
		p.remark(ctx, "%s keeps its side, suspended: delete it there too", p.rec.Peer)
		return
	}
	p.remark(ctx, "%s cannot be told now and keeps its side: delete it there too", p.rec.Peer)
}
