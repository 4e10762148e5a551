package wiretest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/quic-go/quic-go/testutils/simnet"
)

// Network is a packet network in memory. Made inside a synctest bubble it runs in the bubble's time; every Host must be closed
// before the bubble ends. All methods may be called concurrently.
type Network struct {
	mu      sync.Mutex
	rng     *rand.Rand
	hosts   map[netip.AddrPort]simnet.PacketReceiver
	cut     map[[2]netip.AddrPort]bool // no packets from the first to the second
	dark    bool
	latency time.Duration
	far     map[netip.AddrPort]time.Duration
	loss    float64
	twice   float64
	reorder float64
	behind  time.Duration // how much later a reordered packet comes
	packets uint64        // that were sent
}

// NewNetwork makes a network without hosts, in which a packet takes the time latency from one host to another.
func NewNetwork(seed uint64, latency time.Duration) *Network {
	return &Network{
		rng:     rand.New(rand.NewPCG(seed, 0)),
		hosts:   make(map[netip.AddrPort]simnet.PacketReceiver),
		cut:     make(map[[2]netip.AddrPort]bool),
		far:     make(map[netip.AddrPort]time.Duration),
		latency: latency,
	}
}

// Host is a socket in a Network.
type Host struct {
	*simnet.SimConn
	link *simnet.SimulatedLink
	once sync.Once
}

// Host opens a socket at addr, IP:PORT. A socket opened later at the same address takes its place, as after a restart.
func (n *Network) Host(addr string) (*Host, error) {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, fmt.Errorf("open a simulated socket: %w", err)
	}
	link := &simnet.SimulatedLink{
		LatencyFunc:  n.delay,
		UploadPacket: router{n},
	}
	h := &Host{link: link, SimConn: simnet.NewBlockingSimConn(net.UDPAddrFromAddrPort(at), link)}
	link.Start() // before anybody can send to it
	n.mu.Lock()
	n.hosts[at] = link
	n.mu.Unlock()
	return h, nil
}

// Close closes the socket; packets on their way to it are lost.
func (h *Host) Close() error {
	h.once.Do(func() {
		h.SimConn.Close()
		h.link.Close()
	})
	return nil
}

// Blackhole loses every packet that is sent from now on, until it is switched off. Nobody is told.
func (n *Network) Blackhole(on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dark = on
}

// Cut loses every packet sent from one address to another, in this direction only, until it is switched off.
func (n *Network) Cut(from, to string, on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[[2]netip.AddrPort{netip.MustParseAddrPort(from), netip.MustParseAddrPort(to)}] = on
}

// Latency sets the time that a packet sent from now on takes.
func (n *Network) Latency(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.latency = d
}

// Far lets each packet from or to an address take so much longer, from now on.
func (n *Network) Far(addr string, d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.far[netip.MustParseAddrPort(addr)] = d
}

// Drop sets the chance of a packet to be lost, 0…1.
func (n *Network) Drop(chance float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.loss = chance
}

// Duplicate sets the chance of a packet, 0…1, to arrive twice. Each of the two takes its own time.
func (n *Network) Duplicate(chance float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.twice = chance
}

// Reorder sets the chance of a packet, 0…1, to arrive by the time behind later than it would, so that others overtake it.
func (n *Network) Reorder(chance float64, behind time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.reorder, n.behind = chance, behind
}

// Packets gives how many packets all hosts have sent so far, those that were lost too.
func (n *Network) Packets() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.packets
}

func (n *Network) delay(p simnet.Packet) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := n.latency
	if len(n.far) > 0 {
		from, _ := addrPort(p.From) // an address that is none is not far
		to, _ := addrPort(p.To)
		d += n.far[from] + n.far[to]
	}
	if n.reorder > 0 && n.rng.Float64() < n.reorder {
		d += n.behind
	}
	return d
}

// route gives the receiver of a packet, nil if it is lost, and says whether it comes twice.
func (n *Network) route(from, to netip.AddrPort) (receiver simnet.PacketReceiver, twice bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.packets++
	if n.dark || n.cut[[2]netip.AddrPort{from, to}] || (n.loss > 0 && n.rng.Float64() < n.loss) {
		return nil, false
	}
	return n.hosts[to], n.twice > 0 && n.rng.Float64() < n.twice
}

// router is the part of Network that simulated sockets see.
type router struct{ n *Network }

// SendPacket delivers or loses one packet. The sender never learns which.
func (r router) SendPacket(p simnet.Packet) error {
	from, err := addrPort(p.From)
	if err != nil {
		return err
	}
	to, err := addrPort(p.To)
	if err != nil {
		return err
	}
	receiver, twice := r.n.route(from, to)
	if receiver == nil {
		return nil
	}
	if twice {
		q := p
		q.Data = bytes.Clone(p.Data) // each is its receiver's own
		receiver.RecvPacket(q)
	}
	receiver.RecvPacket(p)
	return nil
}

// AddNode is part of simnet.Router. Hosts are known through Host.
func (router) AddNode(net.Addr, simnet.PacketReceiver) {}

// addrPort brings the forms in which one address can come to a single one.
func addrPort(addr net.Addr) (netip.AddrPort, error) {
	if u, ok := addr.(*net.UDPAddr); ok {
		a := u.AddrPort()
		return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), nil
	}
	return netip.ParseAddrPort(addr.String())
}
