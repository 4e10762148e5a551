package e2e

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Meter records how long the writes of a workload took, and how full a journal was meanwhile. It measures and asserts nothing. Safe for
// concurrent use.
type Meter struct {
	begun time.Time

	mu     sync.Mutex
	writes []timedWrite // by the time of their end
	uses   []timedUse
	phases []phase
}

type timedWrite struct {
	at, took time.Duration // since begun, of the acknowledgement
	bytes    int
}

type timedUse struct {
	at   time.Duration
	used int64
}

type phase struct {
	at   time.Duration
	name string
}

// NewMeter makes a Meter whose time begins now.
func NewMeter() *Meter { return &Meter{begun: time.Now()} }

// Wrote records a write of n bytes that was issued at begun and acknowledged now. It is made for [Load].
func (m *Meter) Wrote(begun time.Time, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.writes = append(m.writes, timedWrite{now.Sub(m.begun), now.Sub(begun), n})
}

// Phase gives what follows a name in [Meter.Phases].
func (m *Meter) Phase(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.phases = append(m.phases, phase{time.Since(m.begun), name})
}

// WatchJournal records how full the journal of a group is until stop is called, which may be done again.
func (m *Meter) WatchJournal(s *Site, group string) (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(tick)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
			case <-end:
				return
			}
			text, err := s.Text("groups/" + group)
			if err != nil {
				continue
			}
			used, _ := strconv.ParseInt(parseState(text)["used-bytes"], 10, 64)
			m.mu.Lock()
			m.uses = append(m.uses, timedUse{time.Since(m.begun), used})
			m.mu.Unlock()
		}
	}()
	stop = sync.OnceFunc(func() { close(end); <-ended })
	s.t.Cleanup(stop)
	return stop
}

// MostUsed returns how full the journal was at most when it was looked at.
func (m *Meter) MostUsed() (most int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, u := range m.uses {
		most = max(most, u.used)
	}
	return most
}

const meterHead = "%-22s %6s %8s %9s %9s %9s %9s  %s\n"

// Phases returns a table with a row for each phase.
func (m *Meter) Phases() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	text := m.head("phase")
	for i, p := range m.phases {
		to := time.Since(m.begun)
		if i+1 < len(m.phases) {
			to = m.phases[i+1].at
		}
		text += m.row(p.name, p.at, to)
	}
	return text
}

// Windows returns a table with a row for each stretch of time of that length, from the first phase to the last write.
func (m *Meter) Windows(length time.Duration) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	text := m.head("seconds")
	if len(m.writes) == 0 {
		return text
	}
	at, next := time.Duration(0), 0
	for last := m.writes[len(m.writes)-1].at; at < last; at += length {
		name := fmt.Sprintf("%.1f", at.Seconds())
		for ; next < len(m.phases) && m.phases[next].at < at+length; next++ {
			name += " " + m.phases[next].name
		}
		text += m.row(name, at, at+length)
	}
	return text
}

func (m *Meter) head(first string) string {
	return fmt.Sprintf(meterHead, first, "writes", "MB/s", "p50 ms", "p99 ms", "max ms", "pause ms", "journal MiB")
}

// row says what happened in a stretch of time; pause is the longest time without an acknowledgement. Requires mu.
func (m *Meter) row(name string, from, to time.Duration) string {
	var took []time.Duration
	bytes, before, pause := 0, from, time.Duration(0)
	for _, w := range m.writes {
		if w.at < from || w.at >= to {
			continue
		}
		took, bytes = append(took, w.took), bytes+w.bytes
		pause, before = max(pause, w.at-before), w.at
	}
	if len(took) > 0 {
		pause = max(pause, to-before)
	}
	var used []int64
	for _, u := range m.uses {
		if u.at >= from && u.at < to {
			used = append(used, u.used)
		}
	}
	journal := "-"
	if len(used) > 0 {
		journal = fmt.Sprintf("%.1f–%.1f", float64(slices.Min(used))/mebi, float64(slices.Max(used))/mebi)
	}
	slices.Sort(took)
	rate := fmt.Sprintf("%.2f", float64(bytes)/1e6/max((to-from).Seconds(), 0.001))
	return fmt.Sprintf(meterHead, name, fmt.Sprint(len(took)), rate, part(took, 0.5), part(took, 0.99), part(took, 1), millis(pause), journal)
}

const mebi = 1 << 20

// part returns the duration below which that part of sorted ones is, in milliseconds.
func part(sorted []time.Duration, p float64) string {
	if len(sorted) == 0 {
		return "-"
	}
	return millis(sorted[min(int(p*float64(len(sorted))), len(sorted)-1)])
}

func millis(d time.Duration) string {
	return strings.TrimSuffix(fmt.Sprintf("%.2f", float64(d)/float64(time.Millisecond)), ".00")
}
