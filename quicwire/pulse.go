package quicwire

import "time"

// Pulse is what tells a peer that is slow from one that is silent.
type Pulse struct {
	// Packets counts the packets that came from the peer, whole and genuine, since it was made known. Whatever is sent to a peer is answered by
	// one at least, from within its process, whether the request in it has to wait there or not.
	Packets uint64
	// Probe is QUIC's probe timeout on the connection that requests use now (RFC 9002, 6.2.1): after this time without an answer what was sent is
	// sent again, and then at doubling pauses. It grows with the round trip and how much that varies. 0 while there is no connection.
	Probe time.Duration
}

// Pulse gives the peer's. ok is false for a peer that was never set.
func (e *Endpoint) Pulse(name string) (u Pulse, ok bool) {
	p := e.peerByName(name)
	if p == nil {
		return u, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	u.Packets = p.packets
	for _, c := range p.paths {
		u.Packets += c.qc.ConnectionStats().PacketsReceived
	}
	for i, c := range p.conns {
		s := c.qc.ConnectionStats()
		u.Packets += s.PacketsReceived
		if i == 0 {
			u.Probe = s.SmoothedRTT + max(4*s.MeanDeviation, time.Millisecond) + ackDelay
		}
	}
	return u, true
}

// leave counts what came over connections that are not live any more. Requires mu.
func (p *peer) leave(conns ...*conn) {
	for _, c := range conns {
		p.packets += c.qc.ConnectionStats().PacketsReceived
	}
}
