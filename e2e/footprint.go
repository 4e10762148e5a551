package e2e

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// Footprint is what a daemon took of its host over a time. It measures; what of it may be asserted is said by [Footprint.Within]. Safe for concurrent use.
type Footprint struct {
	site  *Site
	begun time.Time
	cpu   time.Duration
	stop  func()

	mu                  sync.Mutex
	resident, used      int64 // bytes, at most; resident is without the rings, which used has
	threads, limit      int64
	first, last, looked int64 // resident bytes, without the rings, at the first look and at the last one, and how many there were
}

// WatchFootprint begins to look at the daemon. It ends with Stop or with the test. The daemon must run all the time.
func (s *Site) WatchFootprint() *Footprint {
	s.t.Helper()
	f := &Footprint{site: s, begun: time.Now(), cpu: s.CPU()}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(200 * time.Millisecond)
		defer ticker.Stop()
		for {
			f.look()
			select {
			case <-ticker.C:
			case <-end:
				return
			}
		}
	}()
	f.stop = sync.OnceFunc(func() { close(end); <-ended })
	s.t.Cleanup(f.stop)
	return f
}

// look takes one look.
func (f *Footprint) look() {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", f.site.Pid()))
	if err != nil {
		return
	}
	var resident, threads, used, limit int64
	for line := range strings.Lines(string(status)) {
		fmt.Sscanf(line, "RssAnon: %d kB", &resident)
		fmt.Sscanf(line, "Threads: %d", &threads)
	}
	if text, err := f.site.Text("site"); err == nil {
		for line := range strings.Lines(text) {
			fmt.Sscanf(line, "memory-used: %d", &used)
			fmt.Sscanf(line, "memory-limit: %d", &limit)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	resident <<= 10
	if f.looked == 0 {
		f.first = resident
	}
	f.last, f.looked = resident, f.looked+1
	f.resident, f.threads, f.used, f.limit = max(f.resident, resident), max(f.threads, threads), max(f.used, used), max(f.limit, limit)
}

// Stop ends the looking and returns a line about it.
func (f *Footprint) Stop() string {
	f.stop()
	took, cpu := time.Since(f.begun), f.site.CPU()-f.cpu
	f.mu.Lock()
	defer f.mu.Unlock()
	return fmt.Sprintf("%s: %.2f s of processor in %.1f s, %.2f %%; resident %d MiB at first, %d in the end, %d at most; counts %d of %d MiB; %d threads at most", f.site.Name,
		cpu.Seconds(), took.Seconds(), 100*cpu.Seconds()/took.Seconds(), f.first/mib, f.last/mib, f.resident/mib, f.used/mib, f.limit/mib, f.threads)
}

// Within fails the test if the daemon says that it used more than its bound, or took more than a multiple of it that covers what is not counted: the
// runtime, buffers of requests, code. Its threads are those of the runtime, of the kernel's requests and of what waits for a disk.
func (f *Footprint) Within(t T) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.looked == 0 || f.limit == 0 {
		t.Fatalf("site %s could not be looked at", f.site.Name)
	}
	if f.used > f.limit {
		t.Errorf("site %s says that it uses %d of %d bytes", f.site.Name, f.used, f.limit)
	}
	if most := 3*f.limit + 128*mib; !raceEnabled && f.resident > most {
		t.Errorf("site %s has %d MiB resident, with a bound of %d MiB at most %d", f.site.Name, f.resident/mib, f.limit/mib, most/mib)
	}
	if f.threads > threadsMost {
		t.Errorf("site %s has %d threads", f.site.Name, f.threads)
	}
}

// threadsMost is how many threads a daemon has at most in a test: the runtime starts another whenever all others are in the kernel, one for each request of
// a host that waits for a disk.
const threadsMost = 96

// CPU returns how much of a processor the daemon has taken since it was started.
func (s *Site) CPU() time.Duration {
	s.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.Pid()))
	if err != nil {
		s.t.Fatalf("%v", err)
	}
	_, rest, _ := strings.Cut(string(b), ") ") // behind the name
	fields := strings.Fields(rest)
	var user, system int64
	if len(fields) > 12 {
		fmt.Sscan(fields[11], &user)
		fmt.Sscan(fields[12], &system)
	}
	return time.Duration(user+system) * time.Second / clockTicks
}

const mib = 1 << 20

// clockTicks is USER_HZ, in which Linux counts the time of processes.
const clockTicks = 100
