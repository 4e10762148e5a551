package fs

import (
	"bytes"
	"os"
	"runtime"
	gometrics "runtime/metrics"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// processFigures is what the daemon takes of its host. A figure that the host does not tell is below 0, and is not given.
type processFigures struct {
	cpu                 time.Duration // of all threads, in user and kernel mode
	files, filesMax     int64         // open files, and how many there may be
	resident            int64         // bytes of memory, with the pages of rings and journals that are mapped
	goroutines, threads int64
	heap                int64 // bytes that the last garbage collection found in use
}

// lookAtProcess takes the figures of this process. Nothing of it touches a mount.
func lookAtProcess() processFigures {
	p := processFigures{cpu: -1, files: -1, filesMax: -1, resident: -1, goroutines: int64(runtime.NumGoroutine()), threads: -1, heap: -1}
	var use unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &use) == nil {
		p.cpu = time.Duration(use.Utime.Nano() + use.Stime.Nano())
	}
	if open, err := os.ReadDir("/proc/self/fd"); err == nil {
		p.files = int64(len(open)) - 1 // less the one that looked
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		p.filesMax = int64(min(limit.Cur, 1<<62))
	}
	if b, err := os.ReadFile("/proc/self/status"); err == nil {
		p.threads = statusField(b, "Threads:")
		if kib := statusField(b, "VmRSS:"); kib >= 0 {
			p.resident = kib << 10
		}
	}
	heap := []gometrics.Sample{{Name: "/gc/heap/live:bytes"}}
	if gometrics.Read(heap); heap[0].Value.Kind() == gometrics.KindUint64 {
		p.heap = int64(heap[0].Value.Uint64())
	}
	return p
}

// statusField returns the number behind a key of /proc/PID/status, -1 if it is not there.
func statusField(status []byte, key string) int64 {
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte(key)); ok {
			if f := bytes.Fields(rest); len(f) > 0 {
				if n, err := strconv.ParseInt(string(f[0]), 10, 64); err == nil {
					return n
				}
			}
		}
	}
	return -1
}

// process appends what the daemon takes of its host, under the names that the clients of Prometheus give it.
func (m *metrics) process(p processFigures) {
	for _, f := range []struct {
		name, kind, help string
		value            float64
	}{
		{"process_cpu_seconds_total", "counter", "Processor time of the daemon, user and system.", p.cpu.Seconds()},
		{"process_open_fds", "gauge", "Open files of the daemon.", float64(p.files)},
		{"process_max_fds", "gauge", "How many files the daemon may have open.", float64(p.filesMax)},
		{"process_resident_memory_bytes", "gauge", "Resident memory of the daemon, with the rings.", float64(p.resident)},
		{"go_goroutines", "gauge", "Goroutines of the daemon.", float64(p.goroutines)},
		{"go_threads", "gauge", "Threads of the daemon.", float64(p.threads)},
		{"go_gc_heap_live_bytes", "gauge", "Bytes of the heap that the last garbage collection found in use.", float64(p.heap)},
	} {
		if f.value >= 0 { // below is what is not known
			m.family(f.name, f.kind, f.help)
			m.sample(f.name, f.value)
		}
	}
}
