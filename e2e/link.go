package e2e

import (
	"sync"
	"time"

	"pairfs/quicwire/wiretest"
)

// Link is the network between two sites: each knows the other only under the address of one of its two proxies, so that every packet
// passes one of them, whichever side dialled. Its verbs act on both proxies and on both directions of each. Safe for concurrent use.
type Link struct {
	mu       sync.Mutex
	toA, toB *wiretest.Proxy
}

// NewLink makes the proxies in front of two sites. They end with the test.
func NewLink(t T, a, b *Site, seed uint64) *Link {
	t.Helper()
	l := &Link{toA: newProxy(t, a.Listen, seed), toB: newProxy(t, b.Listen, seed+1)}
	return l
}

func newProxy(t T, target string, seed uint64) *wiretest.Proxy {
	p, err := wiretest.NewProxy("127.0.0.1:0", target, seed)
	if err != nil {
		t.Fatalf("put a proxy before %s: %v", target, err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// AddrA is the address under which B knows A.
func (l *Link) AddrA() string { a, _ := l.both(); return a.Addr() }

// AddrB is the address under which A knows B.
func (l *Link) AddrB() string { _, b := l.both(); return b.Addr() }

// MoveB gives B another address toward A; nobody is at the old one any more. The new way is perfect.
func (l *Link) MoveB(t T, b *Site, seed uint64) {
	t.Helper()
	p := newProxy(t, b.Listen, seed)
	l.mu.Lock()
	old := l.toB
	l.toB = p
	l.mu.Unlock()
	old.Close()
}

func (l *Link) both() (toA, toB *wiretest.Proxy) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.toA, l.toB
}

// Cut makes the link swallow everything, or lets it pass again.
func (l *Link) Cut(on bool) {
	l.each(func(p *wiretest.Proxy) { p.Blackhole(wiretest.Both, on) })
}

// Delay delays every packet by d, less or more by a tenth.
func (l *Link) Delay(d time.Duration) {
	l.each(func(p *wiretest.Proxy) { p.Delay(wiretest.Both, d, d/10) })
}

// Latency delays every packet by exactly d.
func (l *Link) Latency(d time.Duration) {
	l.each(func(p *wiretest.Proxy) { p.Delay(wiretest.Both, d, 0) })
}

// Drop loses each packet with the probability.
func (l *Link) Drop(probability float64) {
	l.each(func(p *wiretest.Proxy) { p.Drop(wiretest.Both, probability) })
}

// Mangle reorders, duplicates and corrupts packets, each with the probability.
func (l *Link) Mangle(probability float64) {
	l.each(func(p *wiretest.Proxy) {
		p.Reorder(wiretest.Both, probability, 10*time.Millisecond)
		p.Duplicate(wiretest.Both, probability)
		p.Corrupt(wiretest.Both, probability)
	})
}

// Reorder lets each packet, with the probability, arrive so much later that others overtake it.
func (l *Link) Reorder(probability float64) {
	l.each(func(p *wiretest.Proxy) { p.Reorder(wiretest.Both, probability, 20*time.Millisecond) })
}

// Duplicate lets each packet arrive twice with the probability.
func (l *Link) Duplicate(probability float64) {
	l.each(func(p *wiretest.Proxy) { p.Duplicate(wiretest.Both, probability) })
}

// Corrupt turns one bit of each packet over with the probability.
func (l *Link) Corrupt(probability float64) {
	l.each(func(p *wiretest.Proxy) { p.Corrupt(wiretest.Both, probability) })
}

// Narrow loses every packet that a path with this MTU does not carry, in IPv4, and tells nobody; 0 ends that.
func (l *Link) Narrow(mtu int) {
	const headers = 20 + 8 // of IPv4 and UDP
	l.each(func(p *wiretest.Proxy) { p.Narrow(wiretest.Both, max(mtu-headers, 0)) })
}

// CutToA swallows everything that goes to A, and lets pass what comes from there; CutToB the other way round.
func (l *Link) CutToA(on bool) { a, b := l.both(); oneWay(a, b, on) }

// CutToB is the other direction of CutToA.
func (l *Link) CutToB(on bool) { a, b := l.both(); oneWay(b, a, on) }

func oneWay(there, back *wiretest.Proxy, on bool) {
	there.Blackhole(wiretest.ToTarget, on)
	back.Blackhole(wiretest.ToClient, on)
}

// Rebind gives each site another address as far as the other sees, in the middle of what it sends.
func (l *Link) Rebind() { l.each((*wiretest.Proxy).Rebind) }

// Damaged gives how many packets had a bit turned over so far.
func (l *Link) Damaged() (n uint64) {
	l.each(func(p *wiretest.Proxy) { n += p.Stats(wiretest.Both).Damaged })
	return n
}

// Lost gives how many packets did not arrive so far.
func (l *Link) Lost() (n uint64) {
	l.each(func(p *wiretest.Proxy) { n += p.Stats(wiretest.Both).Lost })
	return n
}

// Doubled gives how many packets more arrived so far than were sent and not lost; those under way count as less.
func (l *Link) Doubled() (n int64) {
	l.each(func(p *wiretest.Proxy) {
		st := p.Stats(wiretest.Both)
		n += int64(st.Sent) + int64(st.Lost) - int64(st.Received)
	})
	return n
}

// Heal makes the link perfect again, but for a cut.
func (l *Link) Heal() { l.each((*wiretest.Proxy).Heal) }

func (l *Link) each(f func(*wiretest.Proxy)) {
	a, b := l.both()
	f(a)
	f(b)
}
