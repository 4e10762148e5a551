package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

const (
	// maxRelayClients bounds the senders that one end of the relay serves; a site sends from one socket, or from a new one after a restart.
	maxRelayClients = 64
	// relayBuffer is the receive buffer of each socket: some milliseconds of a fast link.
	relayBuffer = 4 << 20
	// maxDatagram is the largest UDP datagram.
	maxDatagram = 64 << 10
)

// relayCmd is the link between the sites of the demo: a process that hands UDP datagrams on, and that can be cut. It prints the address of
// each end, then obeys lines on stdin ("cut", "restore", "keep"), answering each with "ok". SIGUSR1 cuts and SIGUSR2 restores. It ends with
// its stdin, unless "keep" was said.
type relayCmd struct {
	Targets []string `arg:"" name:"target" help:"Where each end leads to."`
}

// Run relays until told to end.
func (c *relayCmd) Run(a *app) error {
	var r relay
	ends := make([]string, len(c.Targets))
	for i, t := range c.Targets {
		end, err := r.open(t)
		if err != nil {
			return err
		}
		ends[i] = end
	}
	if _, err := fmt.Fprintln(a.stdout, strings.Join(ends, " ")); err != nil {
		return err
	}
	r.obeySignals()
	lines := bufio.NewScanner(os.Stdin)
	kept := false
	for lines.Scan() {
		switch lines.Text() {
		case "cut":
			r.cut.Store(true)
		case "restore":
			r.cut.Store(false)
		case "keep":
			kept = true
		}
		if _, err := fmt.Fprintln(a.stdout, "ok"); err != nil {
			return err
		}
	}
	if kept {
		<-a.ctx.Done()
	}
	return nil
}

// relay hands datagrams on while it is not cut. Everything that it starts ends with the process.
type relay struct {
	cut atomic.Bool
}

// obeySignals cuts on SIGUSR1 and restores on SIGUSR2.
func (r *relay) obeySignals() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGUSR2)
	go func() {
		for s := range signals {
			r.cut.Store(s == syscall.SIGUSR1)
		}
	}()
}

// open makes an end that leads to target and returns its address.
func (r *relay) open(target string) (string, error) {
	var dial net.Dialer
	here, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return "", fmt.Errorf("open the link: %w", err)
	}
	_ = here.SetReadBuffer(relayBuffer) // a smaller one only loses more
	e := &relayEnd{relay: r, here: here, target: target, dial: dial, clients: map[netip.AddrPort]net.Conn{}}
	go e.forward()
	return here.LocalAddr().String(), nil
}

// relayEnd is one end: it listens, and for each sender has a socket towards the target.
type relayEnd struct {
	relay   *relay
	here    *net.UDPConn
	target  string
	dial    net.Dialer
	mu      sync.Mutex
	clients map[netip.AddrPort]net.Conn // guarded by mu
}

// forward hands what arrives on to the target.
func (e *relayEnd) forward() {
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := e.here.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if e.relay.cut.Load() {
			continue
		}
		if out := e.client(from); out != nil {
			_, _ = out.Write(buf[:n]) // a datagram may be lost
		}
	}
}

// client returns the socket towards the target for a sender, nil if there is none to be had.
func (e *relayEnd) client(from netip.AddrPort) net.Conn {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.clients[from]; c != nil {
		return c
	}
	if len(e.clients) >= maxRelayClients {
		for addr, c := range e.clients { // any: an active sender gets a new socket with its next datagram
			c.Close()
			delete(e.clients, addr)
			break
		}
	}
	c, err := e.dial.DialContext(context.Background(), "udp", e.target)
	if err != nil {
		return nil
	}
	_ = c.(*net.UDPConn).SetReadBuffer(relayBuffer)
	e.clients[from] = c
	go e.back(from, c)
	return c
}

// back hands the answers of the target to the sender.
func (e *relayEnd) back(to netip.AddrPort, c net.Conn) {
	defer func() {
		e.mu.Lock()
		if e.clients[to] == c {
			delete(e.clients, to)
		}
		e.mu.Unlock()
		c.Close()
	}()
	buf := make([]byte, maxDatagram)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if !e.relay.cut.Load() {
			_, _ = e.here.WriteToUDPAddrPort(buf[:n], to)
		}
	}
}
