package quicwire

import (
	"errors"
	"testing"
)

// A dial to an address that was given up, or that ends when the peer has connected by itself, says nothing about the next outage.
func TestDialErrorIsOfTheAddressThatHolds(t *testing.T) {
	failed := errors.New("nobody is there")
	p := &peer{addr: "h:1", moved: make(chan struct{}, 1)}
	p.setDialErr("h:1", failed)
	if p.dialErr != failed {
		t.Fatalf("after a failed dial: %v", p.dialErr)
	}
	p.move("h:2")
	if p.dialErr != nil {
		t.Errorf("after a new address: %v", p.dialErr)
	}
	p.setDialErr("h:1", failed)
	if p.dialErr != nil {
		t.Errorf("after a dial to the old address ended: %v", p.dialErr)
	}
	p.conns = append(p.conns, nil)
	p.setDialErr("h:2", failed)
	if p.dialErr != nil {
		t.Errorf("after a dial ended with a connection up: %v", p.dialErr)
	}
}
