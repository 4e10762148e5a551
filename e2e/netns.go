package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"pairfs/e2e/wan"
)

// Wire is a network of two hosts that are namespaces of their own, joined by a cable of a limited rate: a veth pair with a token bucket
// at each end. Other than a [Link] it is the kernel's: packets wait in the queue of an interface and are dropped when that is full.
//
//	┌── namespace A ──┐  queue, tbf ──────▶        ┌── namespace B ──┐
//	│    10.0.0.1     │ ═══════════ veth ═════════ │    10.0.0.2     │
//	└─────────────────┘        ◀────── tbf, queue  └─────────────────┘
//
// It is gone when the test ends, however it ends.
type Wire struct {
	t    T
	a, b string // namespaces

	keeper *exec.Cmd // takes the namespaces away when life is closed, by this process or with it
	life   io.Closer

	Relay *wan.Relay // of [NewLongWire]; nil for a cable
}

// Addresses of the two ends, the same in every Wire.
const (
	wireA, wireB = "10.0.0.1", "10.0.0.2"
	wireNew      = "10.0.0.3" // see [Wire.Renumber]
	wirePort     = ":7001"
	wireDev      = "wire"
	wirePrefix   = "pairfs-e2e-"
	netnsDir     = "/run/netns/"
)

var wires atomic.Int64

// NewWire makes a Wire that carries so many bytes per second in each direction. It ends with the test.
func NewWire(t T, rate int64) *Wire {
	t.Helper()
	w := newWire(t, func(w *Wire) {
		Run(t, "ip", "-n", w.a, "link", "add", wireDev, "type", "veth", "peer", "name", wireDev, "netns", w.b)
	})
	w.Rate(rate)
	return w
}

// newWire makes a Wire between whose two namespaces join puts the devices.
func newWire(t T, join func(*Wire)) *Wire {
	t.Helper()
	name := fmt.Sprintf("%s%d-%d-", wirePrefix, os.Getpid(), wires.Add(1))
	w := &Wire{t: t, a: name + "a", b: name + "b"}
	w.keep()
	t.Cleanup(w.remove)
	for _, ns := range []string{w.a, w.b} {
		Run(t, "ip", "netns", "add", ns)
		Run(t, "ip", "-n", ns, "link", "set", "lo", "up")
	}
	join(w)
	for ns, addr := range map[string]string{w.a: wireA, w.b: wireB} {
		Run(t, "ip", "-n", ns, "addr", "add", addr+"/24", "dev", wireDev)
		Run(t, "ip", "-n", ns, "link", "set", wireDev, "up")
	}
	return w
}

// Rate makes the cable carry so many bytes per second from now on. The queue before it holds a tenth of a second.
func (w *Wire) Rate(bytes int64) {
	w.t.Helper()
	for _, ns := range []string{w.a, w.b} {
		Run(w.t, "tc", "-n", ns, "qdisc", "replace", "dev", wireDev, "root", "tbf", "rate", fmt.Sprintf("%dbit", bytes*8), "burst", "64kb", "latency", "100ms")
	}
}

// Cut pulls the cable out at B, or plugs it in again.
func (w *Wire) Cut(on bool) {
	w.t.Helper()
	state := "up"
	if on {
		state = "down"
	}
	Run(w.t, "ip", "-n", w.b, "link", "set", wireDev, state)
}

// MTU sets the MTU of each end. What an end sends that is longer than its own the host there is told; what is longer than that of the other end alone
// is lost on the way and nobody is told. (An interface that may hand on several packets as one would not look at their length.)
func (w *Wire) MTU(a, b int) {
	w.t.Helper()
	for ns, mtu := range map[string]int{w.a: a, w.b: b} {
		Run(w.t, "ip", "-n", ns, "link", "set", wireDev, "mtu", fmt.Sprint(mtu), "gso_max_segs", "1")
	}
}

// Renumber gives A the address wireNew in the place of its own.
func (w *Wire) Renumber() {
	w.t.Helper()
	Run(w.t, "ip", "-n", w.a, "addr", "del", wireA+"/24", "dev", wireDev) // the first one goes with all others of its net
	Run(w.t, "ip", "-n", w.a, "addr", "add", wireNew+"/24", "dev", wireDev)
}

// Sent returns how many bytes the interface of A sent so far, with all headers.
func (w *Wire) Sent() int64 {
	w.t.Helper()
	var links []struct {
		Stats struct{ Tx struct{ Bytes int64 } } `json:"stats64"`
	}
	out := Run(w.t, "ip", "-n", w.a, "-s", "-j", "link", "show", "dev", wireDev)
	if err := json.Unmarshal([]byte(out), &links); err != nil || len(links) != 1 {
		w.t.Fatalf("counters of %s in %s: %v in %s", wireDev, w.a, err, out)
	}
	return links[0].Stats.Tx.Bytes
}

// keep starts the keeper. It waits for the end of its input, so a test that panics, hangs or is killed leaves no namespace behind.
func (w *Wire) keep() {
	w.t.Helper()
	w.keeper = exec.Command("sh", "-c", `cat >/dev/null; for ns; do ip netns del "$ns"; done`, "sh", w.a, w.b)
	w.keeper.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // an interrupt of the terminal is not for it
	in, err := w.keeper.StdinPipe()
	if err == nil {
		w.life, err = in, w.keeper.Start()
	}
	if err != nil {
		w.t.Fatalf("start the keeper of two namespaces: %v", err)
	}
}

// remove takes the namespaces away, and the cable with them. Processes in them must have ended.
func (w *Wire) remove() {
	w.life.Close()
	err := w.keeper.Wait()
	for _, ns := range []string{w.a, w.b} {
		if _, e := os.Stat(netnsDir + ns); e == nil {
			w.t.Errorf("namespace %s was not removed: %v", ns, err)
		}
	}
}

// NoWire says why a [Wire] cannot be made on this host, "" if it can.
var NoWire = sync.OnceValue(func() string {
	for _, tool := range []string{"ip", "tc", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil {
			return err.Error()
		}
	}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine, and the namespace with it
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			made <- fmt.Errorf("network namespaces cannot be made: %w", err)
			return
		}
		out, err := exec.Command("tc", "qdisc", "add", "dev", "lo", "root", "tbf", "rate", "1mbit", "burst", "64kb", "latency", "100ms").CombinedOutput()
		if err != nil {
			err = fmt.Errorf("the kernel has no tbf: %s", strings.TrimSpace(string(out)))
		}
		made <- err
	}()
	if err := <-made; err != nil {
		return err.Error()
	}
	return ""
})

// TwoApart is [Two] with each site in a namespace of its own and a [Wire] of the rate between them. Sites.Link is nil. A Listen of opts, with the port
// wirePort, is that of both.
func TwoApart(t T, rate int64, opts Options) (*Sites, *Wire) {
	t.Helper()
	w := NewWire(t, rate)
	return twoAt(t, w, Seed(t), opts), w
}

// twoAt starts the two sites at the ends of a wire.
func twoAt(t T, w *Wire, seed uint64, opts Options) *Sites {
	t.Helper()
	at := func(ns, host string) Options {
		o := opts
		o.Netns = ns
		if o.Listen == "" {
			o.Listen = host + wirePort
		}
		return o
	}
	s := &Sites{A: Start(t, "tokyo", at(w.a, wireA)), B: Start(t, "osaka", at(w.b, wireB)), Seed: seed, t: t}
	s.A.Do("peers/osaka", fmt.Sprintf("add address=%s key=%s create=2TiB", wireB+wirePort, s.B.Fingerprint()))
	s.B.Do("peers/tokyo", fmt.Sprintf("add address=%s key=%s create=2TiB", wireA+wirePort, s.A.Fingerprint()))
	s.AwaitLink()
	return s
}
