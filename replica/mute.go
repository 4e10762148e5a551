package replica

import (
	"fmt"
	"log/slog"
	"time"

	"pairfs/quicwire"
)

// A peer is mute when it is connected and takes no part in the mirror: its process stands before a disk that does not answer, it reads and never
// confirms, it does not read, or the path loses the large packets and lets the small ones pass, which keep the connection alive. A mirror that is up
// as far as QUIC knows carries nothing then, for ever.
//
// Either side owes a word in time. A secondary confirms each batch when it is durable there; a primary sends a record at least every keepAlive. When
// it is owed for activeWatch and nothing moved meanwhile, down to the bytes of a frame that a slow link takes minutes for, the mirror counts
// as down: status and events say so, a lag is not known any more, a full journal is dealt with as without a link, and path watch time runs. The
// connection is begun anew, once. A mirror that is opened again is no word; it counts as up when the peer says what it owes.

// heed looks whether the peer has owed a word for too long. It is called by watch; this side may have stood still since it was last.
func (g *group) heed() {
	g.mu.Lock()
	owed, moved := g.owedWord()
	if !owed {
		g.mutely.packets = moved + 1 // so that the next look is a first one
	}
	g.mutely.look(time.Now(), moved, heedMost)
	found := !g.mute && g.mutely.quiet >= activeWatch
	peer, what := g.rec.Peer, "has sent nothing"
	if found {
		if g.role == Primary {
			what = "has confirmed nothing of what it was sent"
		}
		g.mute = true
		g.setLinked(false)
	}
	g.mu.Unlock()
	if found {
		text := fmt.Sprintf("%s %s for %v although it is connected", peer, what, activeWatch)
		g.site.events.add(slog.LevelWarn, g.object(), "%s: the mirror counts as down, and path watch time runs; the connection is begun anew, look at %s's disks and at the MTU of the path", text, peer)
		g.site.endpoint.Renew(peer, text)
	}
}

// owedWord reports whether the peer owes a word, and what has moved of it so far. Of what a primary sends only the first batch on each path that is
// not confirmed and the one behind it count: a peer that confirms nothing would otherwise be heard in each write of a host. Requires mu.
func (g *group) owedWord() (owed bool, moved uint64) {
	switch {
	case !g.active():
	case g.role == Primary && g.session != nil:
		f := g.session
		ahead := f.begun.Load() - f.confirmed
		over, paths := f.paths.sent()
		if moved = f.confirmed; ahead <= uint64(2*max(paths, 1)) {
			moved += f.stream.Sent() + over
		}
		return ahead > 0, moved
	case g.role == Secondary && g.pulling != nil:
		return g.pulling.owed()
	}
	return false, 0
}

// spoke takes whatever came over a mirror session. Where nothing is replicated any more nothing is owed, and a peer that says anything at all is not
// mute: nothing else would end that before the next resync. Requires mu.
func (g *group) spoke() {
	if !g.active() {
		g.worded()
	}
}

// worded takes a word that was owed: the mirror is up, if it has a session. Requires mu.
func (g *group) worded() {
	if g.mute {
		g.mute = false
		g.setLinked(g.session != nil || g.pulling != nil)
	}
}

// opened records that a mirror session has begun. said is whether the peer said with it all that it owes. Requires mu.
func (g *group) opened(said bool) {
	g.mute = g.mute && g.active() && !said
	g.setLinked(!g.mute)
}

// wordOf reports whether a frame is one that a primary owes: a batch, or how far this side is behind.
func wordOf(f quicwire.Frame) bool {
	switch f.(type) {
	case *quicwire.Batch, *quicwire.MirrorLag:
		return true
	}
	return false
}
