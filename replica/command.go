package replica

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"pairfs/quicwire"
)

// SuspendOptions says how to suspend.
type SuspendOptions struct {
	Purge     bool   // at once; what the peer has not restored is marked instead of sent
	SVOLWrite bool   // hosts may write the S-VOL afterwards; see checkWrites
	SVOLRead  bool   // it was said that they may not, which is refused where they may already
	Mark      bool   // the suspend record is a marker too; the command's remarks begin with it
	At        Marker // both sides stop at this marker, which was placed before; the zero value for none
}

// DeleteOptions says how to delete.
type DeleteOptions struct {
	Force bool // this side in any case, whatever the other says
}

// defaultGroup is the group of pairs that name none.
const defaultGroup = "default"

// reservedNames are the fixed names of the control files.
var reservedNames = map[string]bool{"site": true, "pairs": true, "events": true, "metrics": true, "history": true, "groups": true, "peers": true, "volumes": true}

// checkName refuses names that are no safe file names. what is the word for the thing. A group that was made on demand has an @ in it.
func checkName(what, name string) error {
	ok := name != "" && len(name) <= nameMax && name[0] != '.'
	for _, r := range name {
		ok = ok && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r) || what == "group" && r == '@')
	}
	if !ok {
		return refuse(KindInvalid, "%s name %q: 1 to %d letters, digits, '.', '_' or '-', not beginning with '.'", what, name, nameMax)
	}
	return nil
}

// pairOf gives the name of the pair that the volume of that name is in, "" if there is none.
func (s *Site) pairOf(volume string) string {
	v, err := s.Volume(volume)
	if err != nil {
		return ""
	}
	v.mode.RLock()
	defer v.mode.RUnlock()
	if v.att == nil {
		return ""
	}
	return v.att.pair.name
}

// ask makes a request whose answer is a plain result.
func (s *Site) ask(ctx context.Context, peer string, req quicwire.Frame, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	_, err := s.endpoint.Request(ctx, peer, req)
	return s.remoteError(peer, err)
}

// remoteError translates what a request to a peer came back with.
func (s *Site) remoteError(peer string, err error) error {
	var remote *quicwire.RemoteError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &remote):
		return refuse(kindOfResult(remote.Code), "%s refused: %s", peer, remote.Message)
	case errors.Is(err, quicwire.ErrUnreachable), errors.Is(err, quicwire.ErrConnectionLost):
		return fault(KindUnreachable, err, "peer %s cannot be reached; nothing was changed here", peer)
	case errors.Is(err, context.DeadlineExceeded):
		return fault(KindTimeout, err, "peer %s did not answer in time; nothing was changed here", peer)
	case errors.Is(err, context.Canceled):
		return err
	}
	return fault(KindInternal, err, "the request to peer %s failed; nothing was changed here", peer)
}

// SuspendPair splits one pair; [Site.SuspendGroup] splits all of a group at one sequence number.
func (s *Site) SuspendPair(ctx context.Context, name string, o SuspendOptions) error {
	return s.onServedPair(name, func(g *group, pairs []*pair) error { return g.suspend(ctx, name, pairs, o) })
}

// SuspendGroup splits all pairs of a group at one sequence number.
func (s *Site) SuspendGroup(ctx context.Context, name string, o SuspendOptions) error {
	return s.onGroup(name, func(g *group, pairs []*pair) error { return g.suspend(ctx, name, pairs, o) })
}

func (g *group) suspend(ctx context.Context, name string, pairs []*pair, o SuspendOptions) error {
	if o.Mark || o.At != (Marker{}) {
		return g.suspendAt(ctx, name, pairs, o)
	}
	in, opt := CmdSuspend, runOptions{typ: PVOLByOperator, writable: o.SVOLWrite}
	if o.Purge {
		in = CmdPurge
	}
	if g.role == Secondary {
		opt.typ = SVOLByOperator
	}
	if err := g.checkWrites(pairs, o); err != nil {
		return err
	}
	if err := g.run(ctx, in, pairs, opt); err != nil {
		return err
	}
	for _, p := range g.incomplete(pairs) {
		p.remark(ctx, "%s; resync from the primary", p.noImage())
	}
	return g.allowWrites(pairs, o)
}

// DeletePair ends a pair: on the primary both sides go back to SMPL, and nothing is done if the secondary cannot be asked; on the secondary
// this side does, and the primary is suspended when it hears of it. With Force a primary goes whatever the secondary does, which is told if it
// can be reached; a secondary gives the volume back although not everything that arrived could be restored.
func (s *Site) DeletePair(ctx context.Context, name string, o DeleteOptions) error {
	return s.onPairs(name, func(g *group, pairs []*pair) error { return g.deletePairs(ctx, pairs, o) })
}

func (g *group) deletePairs(ctx context.Context, pairs []*pair, o DeleteOptions) error {
	if g.held.Load() != nil && o.Force && g.role == Secondary {
		return g.giveUpPairs(pairs)
	}
	if err := g.serves(); err != nil && len(pairs) > 0 {
		return err
	}
	in, secondary := CmdDelete, g.role == Secondary // the group has another role, or none, when its last pair is gone
	if o.Force {
		in = CmdForceDelete
	}
	if o.Force && secondary {
		g.force(pairs)
	}
	if o.Force && g.role == Primary {
		g.tellDeleted(ctx, pairs)
	}
	torn := g.incomplete(pairs)
	whys := make([]string, len(torn))
	for i, p := range torn {
		whys[i] = p.noImage()
	}
	if err := g.run(ctx, in, pairs, runOptions{ask: g.askDelete}); err != nil {
		return err
	}
	for i, p := range torn {
		p.remark(ctx, "%s", whys[i])
	}
	if secondary {
		for _, p := range pairs {
			p.remarkLeft(ctx)
		}
	}
	return nil
}

// force marks pairs whose volumes are given back although not everything can be restored.
func (g *group) force(pairs []*pair) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range pairs {
		p.forced = true
	}
}

// askDelete asks the peer to delete pairs, all at one sequence number. Those that it does not have are deleted there already.
func (g *group) askDelete(ctx context.Context, pairs []*pair) error {
	req := &quicwire.DeletePair{}
	g.mu.Lock()
	peer := g.rec.Peer
	for _, p := range pairs {
		req.Pairs = append(req.Pairs, quicwire.PairRef{Name: p.name, Generation: p.rec.Generation})
		p.asked = true
	}
	g.mu.Unlock()
	err := g.site.ask(ctx, peer, req, requestTimeout+time.Duration(len(pairs))*deletePace)
	if err == nil || KindOf(err) == KindNotFound {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range pairs {
		p.asked = false
	}
	return fmt.Errorf("%w; delete this side alone with --force (mode=force)", err)
}

// onPairs runs a command on the pair of that name, onGroup on all pairs of a group, with the group's command lock held.
func (s *Site) onPairs(name string, fn func(*group, []*pair) error) error {
	p := s.pairByName(name)
	if p != nil {
		p.group.cmd.Lock()
		defer p.group.cmd.Unlock()
	}
	if p == nil || s.pairByName(name) != p {
		return noPair(name)
	}
	return s.remember(p, fn(p.group, []*pair{p}))
}

// onServedPair is onPairs that refuses a pair whose group is held, as onGroup does.
func (s *Site) onServedPair(name string, fn func(*group, []*pair) error) error {
	return s.onPairs(name, func(g *group, pairs []*pair) error {
		if err := g.serves(); err != nil {
			return err
		}
		return fn(g, pairs)
	})
}

func (s *Site) onGroup(name string, fn func(*group, []*pair) error) error {
	return s.withGroup(name, func(g *group) error {
		pairs := g.allPairs()
		if len(pairs) == 0 {
			return refuse(KindBusy, "group %s has no pairs", name)
		}
		return fn(g, pairs)
	})
}

// withGroup runs a command on the group of that name, whether it has pairs or not, with its command lock held.
func (s *Site) withGroup(name string, fn func(*group) error) error {
	g := s.groupByName(name)
	if g != nil {
		g.cmd.Lock()
		defer g.cmd.Unlock()
	}
	if g == nil || s.groupByName(name) != g {
		return noGroup(name)
	}
	if err := g.serves(); err != nil {
		return err
	}
	return fn(g)
}

func noPair(name string) error {
	return refuse(KindNotFound, "there is no pair %s: `pairfs pair list` shows the pairs of this site", name)
}

func noGroup(name string) error {
	return refuse(KindNotFound, "there is no group %s: `pairfs group list` shows the groups of this site", name)
}

// remember keeps a refusal as the pair's last error, until a command is obeyed or the state changes; why a suspended pair is suspended stays
// beside it. Words that make no sense are the caller's error and not the pair's.
func (s *Site) remember(p *pair, err error) error {
	p.group.mu.Lock()
	defer p.group.mu.Unlock()
	switch {
	case err != nil && KindOf(err) == KindInvalid:
	case err != nil:
		p.trouble = err.Error()
	default:
		p.trouble = ""
		if !p.rec.State.Status.suspended() {
			p.rec.LastError = "" // what a suspended pair has says why it is
		}
	}
	return err
}
