package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pairfs/quicwire"
)

// A takeover that waits for the primary keeps a vigil over it. QUIC takes ten seconds to find out that a peer is gone, and hosts wait as long; a
// request that nobody answers says nothing, for the primary may be busy. But whatever is sent to a process that lives is acknowledged by QUIC
// inside of that process, so a primary of which no packet comes for some probe timeouts, although it is asked all the time, has died, stands
// still or is cut off.
//
// That is decided of the network alone, so it can be wrong: a primary that stood still for a moment is alive behind it. Then it is as with a
// link that was cut for a moment. What it still answers meets the end of the exchange here: a fence ends by itself, a commit that comes late
// makes a second secondary, and it hears from the S-VOL, as soon as a mirror is open again, that that was taken over. If its hosts wrote
// meanwhile there are two histories, which is found and told. Nothing is lost by it but the exchange, which could have been a planned one.

// lostPrimary is errPeerLost with what was waited for.
type lostPrimary struct{ text string }

func (l *lostPrimary) Error() string { return l.text }

func (l *lostPrimary) Unwrap() error { return errPeerLost }

// silent returns why the vigil that ctx comes from has ended, nil if it has not.
func silent(ctx context.Context) *lostPrimary { return lostBy(context.Cause(ctx)) }

// lostBy returns what err says of how the primary was lost, nil if it does not.
func lostBy(err error) (why *lostPrimary) {
	errors.As(err, &why)
	return why
}

// silenceBound is how long a primary may be silent in a takeover that may take most. It is a pure function.
func silenceBound(probe, most time.Duration) time.Duration {
	return min(max(silenceMin, silenceProbes*probe), most/2)
}

// hush adds up for how long nothing came.
type hush struct {
	packets uint64
	looked  time.Time
	quiet   time.Duration
}

// look takes what has come by now. The time between two looks counts as step at most: if this side stood still it has not listened.
func (h *hush) look(now time.Time, packets uint64, step time.Duration) {
	h.quiet += min(now.Sub(h.looked), step)
	if packets != h.packets {
		h.packets, h.quiet = packets, 0
	}
	h.looked = now
}

// keepVigil gives a context that ends, with a *lostPrimary as its cause, when the primary was silent for too long. end ends the vigil, and must be
// called. What has to be done once the primary is lost must not be given this context.
func (g *group) keepVigil(ctx context.Context, most time.Duration) (watched context.Context, end func()) {
	watched, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{}, 2)
	go func() { g.listen(watched, cancel, most); ended <- struct{}{} }()
	go func() { g.keepAsking(watched, most); ended <- struct{}{} }()
	return watched, func() {
		cancel(nil)
		<-ended
		<-ended
	}
}

// listen ends the vigil when nothing comes for too long.
func (g *group) listen(ctx context.Context, cancel context.CancelCauseFunc, most time.Duration) {
	u, _ := g.site.endpoint.Pulse(g.peerName())
	h := hush{packets: u.Packets, looked: time.Now()}
	bound := silenceBound(u.Probe, most)
	for h.quiet < bound {
		step := bound / silenceLooks
		if pause(ctx, step) != nil {
			return
		}
		u, _ = g.site.endpoint.Pulse(g.peerName())
		h.look(time.Now(), u.Packets, 2*step)
		bound = silenceBound(u.Probe, most)
	}
	cancel(&lostPrimary{fmt.Sprintf("nothing was heard of %s for %v although it was asked all the time, so it counts as lost", g.peerName(), h.quiet.Round(time.Millisecond))})
}

// keepAsking sends something that has to be answered, again and again: an empty list of states. A request that is not answered in time is
// taken back, which has to be acknowledged too, so a primary that lives is heard even if it is too busy to serve any.
func (g *group) keepAsking(ctx context.Context, most time.Duration) {
	for {
		u, _ := g.site.endpoint.Pulse(g.peerName())
		bound := silenceBound(u.Probe, most)
		asked, stop := context.WithTimeout(ctx, bound/2)
		_, _ = g.site.endpoint.Request(asked, g.peerName(), &quicwire.PairStates{})
		stop()
		if pause(ctx, bound/4) != nil {
			return
		}
	}
}
