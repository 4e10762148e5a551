package quicwire

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"time"
)

// nextDelay gives the pause before the dial that follows the given number of failures: doubling from minDelay to most, less up to
// a quarter by chance, 0 ≤ chance < 1, so that sites which lost each other together do not dial in step.
func nextDelay(failures int, chance float64, most time.Duration) time.Duration {
	d := minDelay
	for i := 1; i < failures && d < most; i++ {
		d *= 2
	}
	d = min(d, most)
	return max(d-time.Duration(chance*float64(d)/4), min(minDelay, most))
}

// keep dials the peer whenever it has no live connection, until it is removed.
func (p *peer) keep() {
	failures := 0
	for p.await() {
		if p.takeLived() >= steadyTime {
			failures = 0
		}
		if failures > 0 {
			if !p.pause(nextDelay(failures, rand.Float64(), p.e.timing.maxDelay)) {
				return
			}
			if c, _ := p.oldest(); c != nil {
				continue // the peer was faster
			}
		}
		addr := p.address()
		c, err := p.dial(addr, failures)
		p.setDialErr(addr, err)
		failures++
		if err != nil {
			p.e.cfg.Logger.Debug("dial failed", "peer", p.name, "failures", failures, "err", err)
		} else if !p.e.start(c.serve) {
			c.close(&ProtocolError{Code: CloseNormal})
			return
		}
	}
}

// await blocks until there is no live connection and an address to dial; false when the peer is removed.
func (p *peer) await() bool {
	for {
		p.mu.Lock()
		due := len(p.conns) == 0 && p.addr != ""
		p.mu.Unlock()
		if p.ctx.Err() != nil {
			return false
		}
		if due {
			return true
		}
		select {
		case <-p.ctx.Done():
			return false
		case <-p.lost:
		case <-p.moved:
		}
	}
}

// dial connects to the peer and exchanges Hello. Of several addresses of its host each failure takes the next.
func (p *peer) dial(addr string, failures int) (*conn, error) {
	ctx, cancel := context.WithTimeout(p.ctx, 2*p.e.timing.handshake)
	defer cancel()
	all, err := resolve(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	to := all[failures%len(all)]
	qc, err := p.e.tr.Dial(ctx, to, p.e.clientTLS(to, p.key, alpn), p.e.quicConfig())
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, p.describe(err))
	}
	c, err := p.greet(qc, true)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	return c, nil
}

// resolve gives the UDP addresses of HOST:PORT, at least one.
func resolve(ctx context.Context, addr string) ([]*net.UDPAddr, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("port %q is no number up to 65535", port)
	}
	ips, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil {
		return nil, err
	}
	var all []*net.UDPAddr
	for _, ip := range ips {
		all = append(all, &net.UDPAddr{IP: ip.IP, Zone: ip.Zone, Port: int(n)})
	}
	if len(all) == 0 {
		return nil, errors.New("the host has no address")
	}
	return all, nil
}

// pause waits for d, less if the address changes; false when the peer is removed.
func (p *peer) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.moved:
	case <-p.ctx.Done():
		return false
	}
	return true
}

// move changes the address; the next dial goes there.
func (p *peer) move(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.addr != addr {
		p.addr = addr
		p.dialErr = nil // it is about the old one
		wake(p.moved)
	}
}

// takeLived gives how long the peer was last connected without interruption, once for each time.
func (p *peer) takeLived() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.lived
	p.lived = 0
	return d
}

func (p *peer) address() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.addr
}

// setDialErr keeps why a dial failed, unless the peer came by itself or moved meanwhile: it would be told when the link is
// down again, of an address that has nothing to do with it.
func (p *peer) setDialErr(addr string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.addr != addr || len(p.conns) > 0 {
		err = nil
	}
	p.dialErr = err
}
