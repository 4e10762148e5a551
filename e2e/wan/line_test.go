package wan

import (
	"testing"
	"time"
)

// TestCourse sends packets of 1000 bytes, some at a time, and looks at when they arrive.
func TestCourse(t *testing.T) {
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		line    Line
		at      []time.Duration // when each packet comes
		arrives []time.Duration // -1: never
	}{
		"nothing":          {Line{}, []time.Duration{0, 0, 5 * ms}, []time.Duration{0, 0, 5 * ms}},
		"delay":            {Line{Delay: 50 * ms}, []time.Duration{0, 5 * ms}, []time.Duration{50 * ms, 55 * ms}},
		"rate":             {Line{Rate: 1e6}, []time.Duration{0, 0, 0, 10 * ms}, []time.Duration{1 * ms, 2 * ms, 3 * ms, 11 * ms}},
		"rate and delay":   {Line{Rate: 1e6, Delay: 50 * ms}, []time.Duration{0, 0}, []time.Duration{51 * ms, 52 * ms}},
		"full queue":       {Line{Rate: 1e6, Queue: 2000}, []time.Duration{0, 0, 0, 1 * ms}, []time.Duration{1 * ms, 2 * ms, -1, 3 * ms}},
		"queue of nothing": {Line{Rate: 1e6, Queue: 1}, []time.Duration{0, 0, 1 * ms}, []time.Duration{1 * ms, -1, 2 * ms}},
		"all lost":         {Line{Loss: 1}, []time.Duration{0, 1 * ms}, []time.Duration{-1, -1}},
		"lost takes time":  {Line{Rate: 1e6, Loss: 1}, []time.Duration{0, 0}, []time.Duration{-1, -1}},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			course := newCourse(c.line, 1)
			for i, at := range c.at {
				got, ok := course.admit(start.Add(at), 1000)
				if want := c.arrives[i]; ok != (want >= 0) || ok && got.Sub(start) != want {
					t.Errorf("packet %d arrives after %v (%v), want %v", i, got.Sub(start), ok, want)
				}
			}
		})
	}
}

// TestCourseByChance looks at loss and jitter of many packets.
func TestCourseByChance(t *testing.T) {
	const n = 100000
	course := newCourse(Line{Loss: 0.01, Delay: 10 * time.Millisecond, Jitter: 5 * time.Millisecond}, 7)
	now, last, late := time.Now(), time.Time{}, 0
	for range n {
		at, ok := course.admit(now, 1000)
		if ok && at.Before(last) {
			t.Fatal("a packet overtook another")
		}
		if ok {
			last = at
		}
		if d := at.Sub(now); ok && (d < 10*time.Millisecond || d > 15*time.Millisecond) {
			t.Fatalf("a packet took %v", d)
		} else if ok && d > 12*time.Millisecond {
			late++
		}
		now = now.Add(10 * time.Millisecond)
	}
	lost, passed := course.lost.Load(), course.passed.Load()
	if lost < n/100*8/10 || lost > n/100*12/10 || passed != n-lost || late < n/3 {
		t.Errorf("%d lost, %d passed, %d of them later than 12 ms", lost, passed, late)
	}
}
