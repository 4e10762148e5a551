package replica

import (
	"math"
	"math/bits"
	"slices"
	"time"
)

// window holds the newest values of something that is sampled, and knows their order. The zero value holds none; it takes its memory with
// the first value and none after that. It is not safe for concurrent use.
type window struct {
	ring   []int64 // in the order they came, the oldest at next once it is full
	sorted []int64
	next   int
}

// add puts a value in, and the oldest out if there are size already.
func (w *window) add(v int64, size int) {
	if cap(w.ring) < size {
		w.ring, w.sorted = make([]int64, 0, size), make([]int64, 0, size)
	}
	if len(w.ring) < size {
		w.ring = append(w.ring, v)
	} else {
		i, _ := slices.BinarySearch(w.sorted, w.ring[w.next])
		w.sorted = slices.Delete(w.sorted, i, i+1)
		w.ring[w.next] = v
		w.next = (w.next + 1) % size
	}
	i, _ := slices.BinarySearch(w.sorted, v)
	w.sorted = slices.Insert(w.sorted, i, v)
}

// quantile returns the smallest value that at least the share q of all values does not exceed (nearest rank), 0 if there are none. q is
// more than 0 and at most 1; 1 gives the largest.
func (w *window) quantile(q float64) int64 {
	if len(w.sorted) == 0 {
		return 0
	}
	rank := int(math.Ceil(q * float64(len(w.sorted))))
	return w.sorted[min(max(rank, 1), len(w.sorted))-1]
}

// series holds what counters showed at the newest steps. The zero value holds nothing. It is not safe for concurrent use.
type series[T any] struct {
	at   [usageSteps]time.Time
	v    [usageSteps]T
	n    int
	next int // where the next goes; the oldest once it is full
}

// push adds what the counters show.
func (s *series[T]) push(at time.Time, v T) {
	s.at[s.next], s.v[s.next] = at, v
	s.next = (s.next + 1) % usageSteps
	s.n = min(s.n+1, usageSteps)
}

// oldest returns the step that is longest ago, ok is false if there is none.
func (s *series[T]) oldest() (at time.Time, v T, ok bool) {
	if s.n == 0 {
		return at, v, false
	}
	i := (s.next - s.n + usageSteps) % usageSteps
	return s.at[i], s.v[i], true
}

// newest returns the step that is shortest ago, ok is false if there is none.
func (s *series[T]) newest() (at time.Time, ok bool) {
	return s.at[(s.next-1+usageSteps)%usageSteps], s.n > 0
}

// perSecond returns how many a second there were between two values of a counter.
func perSecond(before, now uint64, d time.Duration) float64 {
	if d <= 0 || now < before {
		return 0
	}
	return float64(now-before) / d.Seconds()
}

// hostWrite is a host write of n bytes in a counter that has number and bytes of all: one addition counts both. Differences between two
// looks at the counter are right as long as there were fewer than 16 million writes and 1 TiB in between, which no second brings.
func hostWrite(n int) uint64 { return uint64(n)<<hostWriteBits | 1 }

const hostWriteBits = 24

// hostWrites takes a difference of such a counter apart.
func hostWrites(d uint64) (writes, bytes uint64) {
	return d & (1<<hostWriteBits - 1), d >> hostWriteBits
}

// lagWindow holds the newest lagSamples values of a lag, each to within 0.1 %: there may be 32,768 pairs, and most are in step. The zero value
// holds none; memory, 600 bytes, is taken while one of them is not 0. It is not safe for concurrent use.
type lagWindow struct {
	ring  []uint16 // nil while all are 0
	n     int
	next  int
	zeros int // how many of the newest are 0
}

// add puts a value in, and the oldest out if there are lagSamples already.
func (w *lagWindow) add(v int64) {
	c := lagCode(v)
	if w.zeros++; c != 0 {
		w.zeros = 0
	}
	switch {
	case w.zeros >= lagSamples:
		w.ring = nil
	case w.ring == nil && c != 0:
		w.ring = make([]uint16, lagSamples)
	}
	if w.ring != nil {
		w.ring[w.next] = c
	}
	w.next = (w.next + 1) % lagSamples
	w.n = min(w.n+1, lagSamples)
}

// quantiles returns the median, the 99th percentile and the largest of all values (nearest rank), 0 if there are none.
func (w *lagWindow) quantiles() (q [3]int64) {
	if w.ring == nil {
		return q
	}
	var sorted [lagSamples]uint16
	n := copy(sorted[:], w.ring[:w.n]) // until there are lagSamples the first n are in use
	slices.Sort(sorted[:n])
	for i, share := range [3]float64{0.5, 0.99, 1} {
		q[i] = lagValue(sorted[max(int(math.Ceil(share*float64(n))), 1)-1])
	}
	return q
}

// lagCode is a value in 16 bits, the leading 11 of its bits and how many follow; a larger one has no smaller code. Negative ones are 0.
func lagCode(v int64) uint16 {
	const leading = 11
	n := bits.Len64(uint64(max(v, 0)))
	if n < leading {
		return uint16(max(v, 0))
	}
	return uint16(n-leading+1)<<(leading-1) | uint16(v>>(n-leading))&(1<<(leading-1)-1)
}

// lagValue is the smallest value of a code.
func lagValue(c uint16) int64 {
	const leading = 11
	if c < 1<<(leading-1) {
		return int64(c)
	}
	return int64(c&(1<<(leading-1)-1)|1<<(leading-1)) << (c>>(leading-1) - 1)
}
