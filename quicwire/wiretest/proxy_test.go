package wiretest

import (
	"bytes"
	"fmt"
	"math/bits"
	"net"
	"strings"
	"testing"
	"time"
)

// within bounds every wait; reaching it is a failure.
const within = 20 * time.Second

// echo answers each packet with the sender's address and the packet.
func echo(t *testing.T) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 2048)
		for {
			n, from, err := c.ReadFromUDP(b)
			if err != nil {
				return
			}
			c.WriteToUDP(append([]byte(from.String()+" "), b[:n]...), from)
		}
	}()
	return c
}

func proxy(t *testing.T) *Proxy {
	t.Helper()
	p, err := NewProxy("127.0.0.1:0", echo(t).LocalAddr().String(), 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func client(t *testing.T, p *Proxy) net.Conn {
	t.Helper()
	c, err := net.Dial("udp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// next gives the text of the next answer, and the address that the target saw.
func next(t *testing.T, c net.Conn) (from, text string) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(within))
	b := make([]byte, 2048)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	from, text, _ = strings.Cut(string(b[:n]), " ")
	return from, text
}

func TestProxyKeepsClientsApart(t *testing.T) {
	p := proxy(t)
	a, b := client(t, p), client(t, p)
	send(t, a, "from a")
	fromA, text := next(t, a)
	if text != "from a" {
		t.Errorf("a got %q", text)
	}
	send(t, b, "from b")
	fromB, text := next(t, b)
	if text != "from b" {
		t.Errorf("b got %q", text)
	}
	if fromA == fromB {
		t.Error("the target cannot tell the clients apart")
	}
	send(t, a, "again")
	if from, _ := next(t, a); from != fromA {
		t.Errorf("a client's address changed from %s to %s", fromA, from)
	}
}

func TestProxyLosesInOneDirection(t *testing.T) {
	p := proxy(t)
	c := client(t, p)
	for _, d := range []Direction{ToTarget, ToClient, Both} {
		before := p.Stats(Both).Lost
		p.Blackhole(d, true)
		send(t, c, "lost")
		for deadline := time.Now().Add(within); p.Stats(Both).Lost == before; {
			if time.Now().After(deadline) {
				t.Fatalf("direction %d: nothing is lost", d)
			}
			<-time.After(time.Millisecond)
		}
		p.Blackhole(d, false)
		send(t, c, "arrives")
		if _, text := next(t, c); text != "arrives" {
			t.Errorf("direction %d: got %q", d, text)
		}
	}
}

func TestProxyDuplicatesAndDamages(t *testing.T) {
	p := proxy(t)
	c := client(t, p)
	p.Duplicate(ToTarget, 1)
	send(t, c, "twice")
	for range 2 {
		if _, text := next(t, c); text != "twice" {
			t.Errorf("got %q", text)
		}
	}
	p.Heal()
	p.Corrupt(ToTarget, 1)
	send(t, c, "damaged")
	_, text := next(t, c)
	if n := differentBits(text, "damaged"); n != 1 {
		t.Errorf("got %q, %d bits differ", text, n)
	}
	if s := p.Stats(ToTarget); s.Damaged != 1 {
		t.Errorf("stats %+v", s)
	}
}

func differentBits(a, b string) int {
	n := 8 * max(len(a)-len(b), len(b)-len(a))
	for i := range min(len(a), len(b)) {
		n += bits.OnesCount8(a[i] ^ b[i])
	}
	return n
}

func TestProxyReorders(t *testing.T) {
	p := proxy(t)
	c := client(t, p)
	p.Reorder(ToTarget, 1, 200*time.Millisecond)
	send(t, c, "first")
	for deadline := time.Now().Add(within); p.Stats(ToTarget).Received == 0; {
		if time.Now().After(deadline) {
			t.Fatal("nothing received")
		}
		<-time.After(time.Millisecond)
	}
	p.Heal()
	send(t, c, "second")
	_, one := next(t, c)
	_, two := next(t, c)
	if one != "second" || two != "first" {
		t.Errorf("came as %q, %q", one, two)
	}
}

func TestProxyDelayKeepsOrder(t *testing.T) {
	p := proxy(t)
	c := client(t, p)
	p.Delay(Both, 5*time.Millisecond, 0)
	for i := range 100 {
		send(t, c, fmt.Sprint(i))
	}
	for i := range 100 {
		if _, text := next(t, c); text != fmt.Sprint(i) {
			t.Fatalf("packet %d is %q", i, text)
		}
	}
}

// The same seed decides the same, whichever other faults are on.
func TestFateRepeats(t *testing.T) {
	for _, chance := range []float64{0, 0.5} {
		one, two := newFaults(7, ToTarget), newFaults(7, ToTarget)
		one.drop, two.drop = 0.3, 0.3
		two.corrupt = chance
		for i := range 1000 {
			a, _ := one.fate(100)
			b, _ := two.fate(100)
			if len(a) != len(b) {
				t.Fatalf("packet %d: %d copies and %d", i, len(a), len(b))
			}
		}
	}
	f := newFaults(7, ToTarget)
	f.drop = 0.3
	lost := 0
	for range 10_000 {
		if copies, _ := f.fate(100); copies == nil {
			lost++
		}
	}
	if lost < 2800 || lost > 3200 {
		t.Errorf("%d of 10000 lost at a chance of 0.3", lost)
	}
}

func TestDelayedComesByTimeThenOrder(t *testing.T) {
	var d delayed
	at := time.Now()
	for i, after := range []time.Duration{3, 1, 2, 1, 3} {
		d.put(packet{due: at.Add(after), data: []byte{byte(i)}})
	}
	var got []byte
	for d.len() > 0 {
		got = append(got, d.take().data...)
	}
	if want := []byte{1, 3, 2, 0, 4}; !bytes.Equal(got, want) {
		t.Errorf("came as %v, want %v", got, want)
	}
}

func TestProxyNarrow(t *testing.T) {
	p := proxy(t)
	c := client(t, p)
	p.Narrow(ToTarget, 100)
	send(t, c, strings.Repeat("x", 101))
	send(t, c, strings.Repeat("y", 100))
	if _, text := next(t, c); text != strings.Repeat("y", 100) {
		t.Errorf("got %q", text)
	}
	p.Narrow(ToTarget, 0)
	send(t, c, strings.Repeat("x", 101))
	if _, text := next(t, c); text != strings.Repeat("x", 101) {
		t.Errorf("got %q", text)
	}
}

func TestProxyRebind(t *testing.T) {
	p := proxy(t)
	c := client(t, p)
	send(t, c, "before")
	before, _ := next(t, c)
	p.Rebind()
	send(t, c, "after")
	after, text := next(t, c)
	if text != "after" || before == after {
		t.Errorf("got %q, the target saw %s and then %s", text, before, after)
	}
}
