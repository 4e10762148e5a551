package wan

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// mtu is that of both devices, in bytes.
const mtu = 1500

// underWay bounds the packets of one direction that are kept. A line that would hold more drops them.
const underWay = 1 << 16

// Relay carries packets between two devices until it is closed.
type Relay struct {
	devices [2]*os.File
	courses [2]*course
	wg      sync.WaitGroup
	once    sync.Once
}

// packet is one that is under way.
type packet struct {
	arrives time.Time
	data    []byte
}

// buffers keeps memory of packets.
var buffers = sync.Pool{New: func() any { b := make([]byte, mtu); return &b }}

// NewRelay makes a device of that name in each of the network namespaces, which are named by their files, and carries packets between them; ab is what
// happens on the way from the first to the second. The devices have no address yet, and are gone when the relay is closed.
func NewRelay(device string, netnsA, netnsB string, ab, ba Line, seed uint64) (*Relay, error) {
	r := &Relay{}
	for i, ns := range []string{netnsA, netnsB} {
		f, err := openDevice(ns, device)
		if err != nil {
			r.Close()
			return nil, err
		}
		r.devices[i] = f
	}
	r.courses = [2]*course{newCourse(ab, seed), newCourse(ba, seed+1)}
	r.carry(r.devices[0], r.devices[1], r.courses[0])
	r.carry(r.devices[1], r.devices[0], r.courses[1])
	return r, nil
}

// Counts says what became of the packets of both directions together: passed on, lost by chance, dropped because a queue was full. It may be called at
// any time.
func (r *Relay) Counts() (passed, lost, dropped uint64) {
	for _, c := range r.courses {
		passed, lost, dropped = passed+c.passed.Load(), lost+c.lost.Load(), dropped+c.dropped.Load()
	}
	return passed, lost, dropped
}

// Close takes both devices away.
func (r *Relay) Close() {
	r.once.Do(func() {
		for _, f := range r.devices {
			if f != nil {
				f.Close()
			}
		}
		r.wg.Wait()
	})
}

// carry moves packets in one direction: one goroutine decides about each as it comes, another one waits for its time.
func (r *Relay) carry(from, to *os.File, c *course) {
	queue := make(chan packet, underWay)
	r.wg.Go(func() {
		defer close(queue)
		for {
			b := buffers.Get().(*[]byte)
			n, err := from.Read((*b)[:mtu])
			if err != nil {
				return // closed
			}
			at, ok := c.admit(time.Now(), n)
			if !ok {
				buffers.Put(b)
				continue
			}
			select {
			case queue <- packet{at, (*b)[:n]}:
			default:
				c.dropped.Add(1)
			}
		}
	})
	r.wg.Go(func() {
		for p := range queue {
			if d := time.Until(p.arrives); d > 0 {
				time.Sleep(d)
			}
			_, _ = to.Write(p.data) // a device that is down, or closed, takes nothing: the packet is lost
			b := p.data[:mtu]
			buffers.Put(&b)
		}
	})
}

// openDevice makes a TUN device in a namespace.
func openDevice(netns, name string) (*os.File, error) {
	type result struct {
		f   *os.File
		err error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine, and with it its namespace
		f, err := openHere(netns, name)
		done <- result{f, err}
	}()
	r := <-done
	return r.f, r.err
}

func openHere(netns, name string) (*os.File, error) {
	ns, err := os.Open(netns)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("enter %s: %w", netns, err)
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("make device %s in %s: %w", name, netns, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}
