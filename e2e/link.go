package e2e

import (
	"time"

	"pairfs/quicwire/wiretest"
)

// Link is the network between two sites: each knows the other only under the address of one of its two proxies, so that every packet
// passes one of them, whichever side dialled. Its verbs act on both proxies and on both directions of each. Safe for concurrent use.
type Link struct {
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
func (l *Link) AddrA() string { return l.toA.Addr() }

// AddrB is the address under which A knows B.
func (l *Link) AddrB() string { return l.toB.Addr() }

// Cut makes the link swallow everything, or lets it pass again.
func (l *Link) Cut(on bool) {
	l.each(func(p *wiretest.Proxy) { p.Blackhole(wiretest.Both, on) })
}

// Delay delays every packet by d, less or more by a tenth.
func (l *Link) Delay(d time.Duration) {
	l.each(func(p *wiretest.Proxy) { p.Delay(wiretest.Both, d, d/10) })
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

// Heal makes the link perfect again, but for a cut.
func (l *Link) Heal() { l.each((*wiretest.Proxy).Heal) }

func (l *Link) each(f func(*wiretest.Proxy)) {
	f(l.toA)
	f(l.toB)
}
