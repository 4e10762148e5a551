package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pairfs/e2e/wan"
)

// Times of one measurement of [TestLongPaths]: what is left out at its begin, in which the number of paths is found, and what counts.
const (
	wanSettle  = 22 * time.Second
	wanMeasure = 20 * time.Second
	wanWrites  = 1000 // of 4 KiB that a host makes a second, where the lag is measured
)

// TestLongPaths measures what a mirror carries over long links that lose packets, with one path, with eight, and with as many as it finds, beside
// what TCP carries over the same link: an initial copy, and updates of a host that is slowed to what the mirror takes. It asserts that all of it
// arrives and nothing about how fast: `make wan` prints the table. In its last line is the lag behind a host that writes at a steady rate.
func TestLongPaths(t *testing.T) {
	if os.Getenv("PAIRFS_WAN") == "" {
		t.Skip("PAIRFS_WAN is not set: it takes ten minutes")
	}
	if why := NoWire(); why != "" {
		t.Skip(why)
	}
	var table strings.Builder
	for _, rate := range []int64{100e6 / 8, 1e9 / 8} {
		line := wan.Line{Rate: rate, Delay: 50 * time.Millisecond, Loss: 0.001}
		t.Run(fmt.Sprintf("%d_Mbit", rate*8/1e6), func(t *testing.T) {
			fmt.Fprintf(&table, "%d Mbit/s, %v round trip, %.1f %% loss: MB/s\n", rate*8/1e6, 2*line.Delay, 100*line.Loss)
			s, w := TwoFarApart(t, line, Options{Limit: 20 * time.Minute})
			for _, control := range []string{"cubic", "bbr"} {
				if n, err := w.tcp(control); err != nil {
					t.Logf("TCP %s: %v", control, err)
				} else {
					fmt.Fprintf(&table, "  %-22s %8.2f\n", "TCP "+control, n/1e6)
				}
			}
			for _, paths := range []string{"1", "8", "auto"} {
				copied, n := s.measureCopy(t, paths)
				t.Logf("paths=%s: copy %.2f MB/s over %s", paths, copied/1e6, n)
				updates, m := s.measureUpdates(t, paths)
				t.Logf("paths=%s: updates %.2f MB/s over %s", paths, updates/1e6, m)
				fmt.Fprintf(&table, "  paths=%-16s %8.2f copy (%s paths) %8.2f updates (%s)\n", paths, copied/1e6, n, updates/1e6, m)
			}
			lags := s.measureLag(t)
			fmt.Fprintf(&table, "  %-22s %8.0f ms median, %.0f ms 99th percentile, %.0f ms at most\n", fmt.Sprintf("lag, %d writes/s", wanWrites),
				lags[len(lags)/2]*1e3, lags[len(lags)*99/100]*1e3, lags[len(lags)-1]*1e3)
			passed, lost, dropped := w.Relay.Counts()
			fmt.Fprintf(&table, "  %d packets passed, %d were lost, %d found a full queue\n", passed, lost, dropped)
		})
	}
	t.Logf("\n%s", table.String())
}

// measured is how many bytes of records the restore group takes a second when it has settled, and over how many paths. It is over sooner if the pair
// says PAIR.
func (s *Sites) measured(t *testing.T, group string, over func() bool) (float64, string) {
	t.Helper()
	file := "groups/" + group + "@tokyo"
	time.Sleep(wanSettle) // of a measurement, not of a test
	before, begun := s.B.Int(file, "received-bytes"), time.Now()
	for !over() && time.Since(begun) < wanMeasure {
		time.Sleep(100 * time.Millisecond)
	}
	return float64(s.B.Int(file, "received-bytes")-before) / time.Since(begun).Seconds(), s.B.Get(file)["paths"]
}

// measureCopy measures an initial copy and gives it up.
func (s *Sites) measureCopy(t *testing.T, paths string) (float64, string) {
	t.Helper()
	group, volume := "copy"+paths, "copy"+paths
	s.A.Do("groups/"+group, "create size=64MiB copy-pace=high paths="+paths)
	const size = 3 << 29
	s.A.MakeVolume(volume, size)
	fillRandom(t, s.A.Path(volume), size)
	s.CreatePair(volume, volume, "group="+group)
	Until(t, StatusLimit, "the copy has begun", func() bool { return s.B.Int("groups/"+group+"@tokyo", "received-bytes") > 0 })
	rate, n := s.measured(t, group, func() bool { return s.A.Get(volume)["status"] != "COPY" })
	s.A.Do(volume, "delete mode=force")
	return rate, n
}

// measureUpdates measures what hosts' writes come to, and expects all of them at the secondary in the end.
func (s *Sites) measureUpdates(t *testing.T, paths string) (float64, string) {
	t.Helper()
	group, volume := "upd"+paths, "upd"+paths
	s.A.Do("groups/"+group, "create size=32MiB inflow-control=yes overflow-watch=600s paths="+paths)
	const size = 64 << 20
	s.A.MakeVolume(volume, size)
	s.CreatePair(volume, volume, "group="+group) // holes
	s.WaitBoth(volume, "PAIR")
	var stop atomic.Bool
	done := make(chan error, 1)
	go func() { done <- hostWrites(s.A.Path(volume), size, &stop) }()
	rate, n := s.measured(t, group, func() bool { return false })
	stop.Store(true)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	s.A.AwaitDrained(volume)
	s.SameVolumes(volume)
	s.A.Do(volume, "delete")
	return rate, n
}

// measureLag gives the lags, in seconds and in order of size, that the primary shows while a host makes wanWrites writes a second, when the mirror has
// settled.
func (s *Sites) measureLag(t *testing.T) (lags []float64) {
	t.Helper()
	s.A.Do("groups/lag", "create size=256MiB inflow-control=yes overflow-watch=600s")
	const size = 64 << 20
	s.A.MakeVolume("lag", size)
	s.CreatePair("lag", "lag", "group=lag")
	s.WaitBoth("lag", "PAIR")
	var stop atomic.Bool
	done := make(chan error, 1)
	go func() { done <- steadyWrites(s.A.Path("lag"), size, &stop) }()
	time.Sleep(wanSettle) // of a measurement, not of a test
	for begun := time.Now(); time.Since(begun) < wanMeasure; time.Sleep(50 * time.Millisecond) {
		if lag, err := strconv.ParseFloat(s.A.Get("lag")["lag-seconds"], 64); err == nil {
			lags = append(lags, lag)
		}
	}
	stop.Store(true)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if len(lags) == 0 {
		t.Fatal("the primary showed no lag")
	}
	s.A.AwaitDrained("lag")
	s.SameVolumes("lag")
	slices.Sort(lags)
	return lags
}

// steadyWrites writes 4 KiB here and there, wanWrites times a second, until stop.
func steadyWrites(path string, size int64, stop *atomic.Bool) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	rng, piece := rand.NewChaCha8([32]byte{2}), make([]byte, 4096)
	where := rand.New(rng)
	for begun, n := time.Now(), 0; !stop.Load(); n++ {
		time.Sleep(time.Until(begun.Add(time.Duration(n) * time.Second / wanWrites)))
		_, _ = rng.Read(piece)
		if _, err := f.WriteAt(piece, where.Int64N(size/4096)*4096); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return f.Close()
}

// fillRandom fills a file with bytes that nothing makes smaller.
func fillRandom(t *testing.T, path string, size int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rng, piece := rand.NewChaCha8([32]byte{}), make([]byte, 1<<20)
	for at := int64(0); at < size; at += int64(len(piece)) {
		_, _ = rng.Read(piece)
		if _, err := f.WriteAt(piece, at); err != nil {
			t.Fatal(err)
		}
	}
}

// hostWrites writes 64 KiB here and there until stop.
func hostWrites(path string, size int64, stop *atomic.Bool) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	rng, piece := rand.NewChaCha8([32]byte{1}), make([]byte, 64<<10)
	for at := int64(0); !stop.Load(); at = (at + int64(len(piece))) % size {
		_, _ = rng.Read(piece)
		if _, err := f.WriteAt(piece, at); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return f.Close()
}

// tcp is how many bytes a second one TCP connection carries from A to B, with that congestion control.
func (w *Wire) tcp(control string) (float64, error) {
	var ln net.Listener
	err := inNetns(w.b, func() (err error) { ln, err = net.Listen("tcp", wireB+":7070"); return err })
	if err != nil {
		return 0, err
	}
	defer ln.Close()
	var got atomic.Int64
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		for b := make([]byte, 1<<20); ; {
			n, err := c.Read(b)
			if got.Add(int64(n)); err != nil {
				return
			}
		}
	}()
	var c net.Conn
	if err := inNetns(w.a, func() (err error) { c, err = net.DialTimeout("tcp", wireB+":7070", 10*time.Second); return err }); err != nil {
		return 0, err
	}
	defer c.Close()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err == nil {
		e := raw.Control(func(fd uintptr) { err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, control) })
		err = errors.Join(e, err)
	}
	if err != nil {
		return 0, err
	}
	go func() {
		for b := make([]byte, 1<<20); ; {
			if _, err := c.Write(b); err != nil {
				return // closed
			}
		}
	}()
	time.Sleep(10 * time.Second)
	before, begun := got.Load(), time.Now()
	time.Sleep(wanMeasure)
	return float64(got.Load()-before) / time.Since(begun).Seconds(), nil
}

// inNetns calls f in a thread that is in a network namespace: the sockets that it makes stay there. The thread goes back: a daemon that it has
// started would be killed with it.
func inNetns(name string, f func() error) (err error) {
	runtime.LockOSThread()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer own.Close()
	ns, err := os.Open(netnsDir + name)
	if err == nil {
		err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		ns.Close()
	}
	if err == nil {
		err = f()
	}
	if e := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); e != nil {
		return errors.Join(err, e) // the thread stays locked, and nobody else gets it
	}
	runtime.UnlockOSThread()
	return err
}
