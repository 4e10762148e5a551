package e2e

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// figure is something that a site takes of its host and that must not grow for ever.
type figure struct {
	name  string
	unit  float64 // what one in a table is, in what is sampled
	slack float64 // of [Flat], for an hour, with its reason
}

// The figures, in the order of a sample.
const (
	figFiles = iota
	figThreads
	figGoroutines
	figAnon
	figHeap
	figUsed
	figState
	figures
)

// figureOf says what each is. The slacks are what a run of an hour without a leak wanders by, on a machine that others load too.
var figureOf = [figures]figure{
	figFiles:      {"files", 1, 6},                 // commands, listings and handles that are open at the moment of a sample
	figThreads:    {"threads", 1, 24},              // the runtime never ends one: each is the record of system calls at a time so far
	figGoroutines: {"goroutines", 1, 24},           // requests of the kernel and of the peer that are under way
	figAnon:       {"anon MiB", mebi, 64 * mebi},   // request buffers of the kernel's, whose pages stay once they were used
	figHeap:       {"heap MiB", mebi, 8 * mebi},    // what the last collection found
	figUsed:       {"used MiB", mebi, 20 * mebi},   // rings: one group comes and goes
	figState:      {"state MiB", mebi, 1.5 * mebi}, // audit and history: a full file is kept beside a new one
}

// Samples are the figures of a site over a time, one set each step. Its methods are for one goroutine.
type Samples struct {
	site  *Site
	at    []time.Duration // since begun
	begun time.Time
	rows  [][figures]float64
}

// NewSamples makes an empty series.
func NewSamples(s *Site) *Samples { return &Samples{site: s, begun: time.Now()} }

// Take takes one sample.
func (s *Samples) Take() error {
	var row [figures]float64
	proc := fmt.Sprintf("/proc/%d/", s.site.Pid())
	open, err := os.ReadDir(proc + "fd")
	if err != nil {
		return fmt.Errorf("site %s: %w", s.site.Name, err)
	}
	row[figFiles] = float64(len(open))
	status, err := os.ReadFile(proc + "status")
	if err != nil {
		return fmt.Errorf("site %s: %w", s.site.Name, err)
	}
	for line := range strings.Lines(string(status)) {
		var kib float64
		fmt.Sscanf(line, "Threads: %g", &row[figThreads])
		if n, _ := fmt.Sscanf(line, "RssAnon: %g kB", &kib); n == 1 {
			row[figAnon] = kib * 1024
		}
	}
	told, err := s.site.Metrics()
	if err != nil {
		return err
	}
	row[figGoroutines], row[figHeap], row[figUsed] = told["go_goroutines"], told["go_gc_heap_live_bytes"], told["pairfs_memory_used_bytes"]
	if row[figGoroutines] == 0 || told["process_open_fds"] == 0 {
		return fmt.Errorf("site %s tells of %g goroutines and %g open files", s.site.Name, row[figGoroutines], told["process_open_fds"])
	}
	row[figState] = float64(s.site.stateBytes())
	s.at, s.rows = append(s.at, time.Since(s.begun)), append(s.rows, row)
	return nil
}

// Check returns what grew.
func (s *Samples) Check() (grew []error) {
	for i, f := range figureOf {
		var values []float64
		for _, row := range s.rows {
			values = append(values, row[i])
		}
		if err := Flat(values, f.slack); err != nil {
			grew = append(grew, fmt.Errorf("%s of site %s: %w", f.name, s.site.Name, err))
		}
	}
	return grew
}

// Table returns a row for each stretch of time of that length, the sample that is the first in it, and the last sample.
func (s *Samples) Table(step time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-8s", s.site.Name)
	for _, f := range figureOf {
		fmt.Fprintf(&b, " %11s", f.name)
	}
	b.WriteByte('\n')
	next := time.Duration(0)
	for i, at := range s.at {
		if at < next && i < len(s.at)-1 {
			continue
		}
		next = at - at%step + step
		fmt.Fprintf(&b, "%-8s", at.Round(time.Second))
		for j, f := range figureOf {
			fmt.Fprintf(&b, " %11s", strconv.FormatFloat(s.rows[i][j]/f.unit, 'f', map[bool]int{true: 0, false: 2}[f.unit == 1], 64))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Metrics returns what .ctl/metrics has without labels.
func (s *Site) Metrics() (map[string]float64, error) {
	text, err := s.Text("metrics")
	if err != nil {
		return nil, fmt.Errorf("site %s: %w", s.Name, err)
	}
	m := map[string]float64{}
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			m[name] = v
		}
	}
	return m, nil
}

// stateBytes is what the state directory takes on its disk besides volumes and journals, which have their sizes: database, ledgers, kept sets.
func (s *Site) stateBytes() (n int64) {
	filepath.WalkDir(s.State, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // it is gone again
		}
		if d.IsDir() && (path == filepath.Join(s.State, "volumes") || path == filepath.Join(s.State, "journals")) {
			return fs.SkipDir
		}
		if fi, err := d.Info(); err == nil {
			n += fi.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return nil
	})
	return n
}

// sampling takes samples until stop is called, which waits for the last one and returns the first error.
func sampling(all []*Samples, every time.Duration) (stop func() error) {
	end, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			for _, s := range all {
				if err := s.Take(); err != nil {
					ended <- err
					return
				}
			}
			select {
			case <-ticker.C:
			case <-end:
				ended <- nil
				return
			}
		}
	}()
	return sync.OnceValue(func() error { close(end); return <-ended })
}
