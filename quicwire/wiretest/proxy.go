package wiretest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxClients  = 256      // client addresses at a time; the packets of further ones are dropped
	maxPacket   = 64 << 10 // the largest UDP packet
	maxInFlight = 1 << 14  // packets being delayed in one direction; further ones are dropped, as by a full router
	socketBytes = 4 << 20  // kernel buffer of a socket, so that the proxy itself loses little
)

// Proxy forwards UDP packets between any number of clients and one target, with faults in between. To the target each client
// appears as an address of its own; the target never learns the client's. All methods may be called concurrently.
// Two sites that dial each other need two proxies, one before each.
type Proxy struct {
	front  *net.UDPConn
	target netip.AddrPort
	lines  [2]*line // by Direction
	wg     sync.WaitGroup
	done   chan struct{}

	mu     sync.Mutex
	closed bool
	backs  map[netip.AddrPort]*net.UDPConn // by client
}

// Stats counts the packets of one direction.
type Stats struct{ Received, Lost, Sent, Damaged uint64 }

// line is one direction with its packets under way.
type line struct {
	mu     sync.Mutex
	faults faults
	queue  delayed
	woken  chan struct{}

	received, lost, sent, damaged atomic.Uint64
}

// NewProxy listens on listenAddr, HOST:PORT with port 0 for any, and forwards to targetAddr. Close must be called.
func NewProxy(listenAddr, targetAddr string, seed uint64) (*Proxy, error) {
	target, err := net.ResolveUDPAddr("udp", targetAddr)
	if err != nil {
		return nil, fmt.Errorf("proxy target: %w", err)
	}
	at, err := net.ResolveUDPAddr("udp", listenAddr)
	if err != nil {
		return nil, fmt.Errorf("proxy address: %w", err)
	}
	front, err := net.ListenUDP("udp", at)
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	widen(front)
	p := &Proxy{
		front:  front,
		target: unmap(target.AddrPort()),
		done:   make(chan struct{}),
		backs:  make(map[netip.AddrPort]*net.UDPConn),
	}
	for d := range p.lines {
		p.lines[d] = &line{woken: make(chan struct{}, 1), faults: newFaults(seed, Direction(d))}
		p.wg.Go(func() { p.deliver(p.lines[d]) })
	}
	p.wg.Go(p.fromClients)
	return p, nil
}

// Addr gives the address for clients to send to.
func (p *Proxy) Addr() string { return p.front.LocalAddr().String() }

// Close stops forwarding and closes all sockets; packets under way are lost.
func (p *Proxy) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	close(p.done)
	err := p.front.Close()
	for _, back := range p.backs {
		err = errors.Join(err, back.Close())
	}
	p.mu.Unlock()
	p.wg.Wait()
	return err
}

// Blackhole loses every packet from now on, those under way too, until it is switched off. Nobody is told.
func (p *Proxy) Blackhole(d Direction, on bool) {
	p.set(d, func(l *line) {
		l.faults.dark = on
		if on {
			l.lost.Add(uint64(l.queue.len()))
			l.queue.drop()
		}
	})
}

// Narrow loses every packet longer than so many bytes, headers of IP and UDP not counted, as a path does whose MTU is less than that of its ends
// and whose routers say nothing; 0 lets all pass.
func (p *Proxy) Narrow(d Direction, bytes int) { p.set(d, func(l *line) { l.faults.narrow = bytes }) }

// Rebind gives every client another address toward the target, as a router does that forgot its translations: the target sees the client move,
// and what it sends to the old address is lost.
func (p *Proxy) Rebind() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for client, back := range p.backs {
		back.Close()
		delete(p.backs, client)
	}
}

// Drop sets the chance of a packet to be lost, 0…1.
func (p *Proxy) Drop(d Direction, chance float64) { p.set(d, func(l *line) { l.faults.drop = chance }) }

// Duplicate sets the chance of a packet to arrive twice, 0…1.
func (p *Proxy) Duplicate(d Direction, chance float64) {
	p.set(d, func(l *line) { l.faults.duplicate = chance })
}

// Corrupt sets the chance of a packet to arrive with one bit turned over, 0…1.
func (p *Proxy) Corrupt(d Direction, chance float64) {
	p.set(d, func(l *line) { l.faults.corrupt = chance })
}

// Reorder sets the chance of a packet, 0…1, to arrive by the time behind later than it would, so that others overtake it.
func (p *Proxy) Reorder(d Direction, chance float64, behind time.Duration) {
	p.set(d, func(l *line) { l.faults.reorder, l.faults.behind = chance, behind })
}

// Delay sets the time that a packet takes, and a further random time of at most jitter, which also reorders packets.
func (p *Proxy) Delay(d Direction, delay, jitter time.Duration) {
	p.set(d, func(l *line) { l.faults.delay, l.faults.jitter = delay, jitter })
}

// Heal makes the wire perfect again. Packets under way keep their delay.
func (p *Proxy) Heal() { p.set(Both, func(l *line) { l.faults = faults{rng: l.faults.rng} }) }

// Stats gives the packets of one direction so far. Both is the sum.
func (p *Proxy) Stats(d Direction) Stats {
	var s Stats
	for _, one := range d.each() {
		l := p.lines[one]
		s.Received += l.received.Load()
		s.Lost += l.lost.Load()
		s.Sent += l.sent.Load()
		s.Damaged += l.damaged.Load()
	}
	return s
}

func (p *Proxy) set(d Direction, change func(*line)) {
	for _, one := range d.each() {
		l := p.lines[one]
		l.mu.Lock()
		change(l)
		l.mu.Unlock()
	}
}

// fromClients takes what clients send.
func (p *Proxy) fromClients() {
	b := make([]byte, maxPacket)
	for {
		n, client, err := p.front.ReadFromUDPAddrPort(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error of an earlier packet
		}
		if back := p.back(unmap(client)); back != nil {
			p.lines[ToTarget].put(b[:n], func(b []byte) { back.Write(b) })
		}
	}
}

// back gives the socket that stands for a client toward the target, nil if there can be none.
func (p *Proxy) back(client netip.AddrPort) *net.UDPConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if back := p.backs[client]; back != nil || p.closed || len(p.backs) >= maxClients {
		return back
	}
	back, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(p.target))
	if err != nil {
		return nil
	}
	widen(back)
	p.backs[client] = back
	p.wg.Go(func() { p.fromTarget(back, client) })
	return back
}

// fromTarget takes what the target sends to one client.
func (p *Proxy) fromTarget(back *net.UDPConn, client netip.AddrPort) {
	b := make([]byte, maxPacket)
	for {
		n, err := back.Read(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // the target's port is closed for the moment
		}
		p.lines[ToClient].put(b[:n], func(b []byte) { p.front.WriteToUDPAddrPort(b, client) })
	}
}

// put decides about a packet and sends it at once or leaves it to deliver. It copies what it keeps.
func (l *line) put(b []byte, send func([]byte)) {
	l.received.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	copies, bit := l.faults.fate(len(b))
	if len(copies) == 0 {
		l.lost.Add(1)
	}
	if bit >= 0 {
		l.damaged.Add(1)
		b = bytes.Clone(b)
		b[bit/8] ^= 1 << (bit % 8)
	}
	for _, after := range copies {
		switch {
		case after == 0:
			l.sent.Add(1)
			send(b)
		case l.queue.len() >= maxInFlight:
			l.lost.Add(1)
		default:
			l.queue.put(packet{due: time.Now().Add(after), data: bytes.Clone(b), send: send})
			select {
			case l.woken <- struct{}{}:
			default:
			}
		}
	}
}

// deliver sends delayed packets when they are due.
func (p *Proxy) deliver(l *line) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(l.flush())
		select {
		case <-p.done:
			return
		case <-l.woken:
		case <-timer.C:
		}
	}
}

// flush sends what is due and gives the time until the next.
func (l *line) flush() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.queue.len() > 0 {
		if wait := time.Until(l.queue.first().due); wait > 0 {
			return wait
		}
		pkt := l.queue.take()
		l.sent.Add(1)
		pkt.send(pkt.data)
	}
	return time.Hour
}

func widen(c *net.UDPConn) {
	// Best effort: the kernel may allow less, which only means that the proxy loses packets under load.
	_ = c.SetReadBuffer(socketBytes)
	_ = c.SetWriteBuffer(socketBytes)
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }
