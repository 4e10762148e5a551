package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// targets are the columns, the first being what the others are compared with.
var targets = [...]string{"raw", "SMPL", "PAIR"}

// row holds the samples of one job, one list for each target.
type row struct {
	job     job
	samples [len(targets)][]sample
}

// median returns the sample in the middle by rate, and the middle of the latencies.
func median(samples []sample) sample {
	rates := make([]float64, len(samples))
	p99s := make([]time.Duration, len(samples))
	for i, s := range samples {
		rates[i], p99s[i] = s.rate, s.p99
	}
	slices.Sort(rates)
	slices.Sort(p99s)
	return sample{rate: rates[len(rates)/2], p99: p99s[len(p99s)/2]}
}

// print writes the table: for each target the rate, its ratio to raw, and the 99th percentile of the latency.
func print(w io.Writer, rows []row) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(tw, "JOB")
	for i, t := range targets {
		fmt.Fprintf(tw, "\t%s", t)
		if i > 0 {
			fmt.Fprint(tw, "\tRATIO")
		}
		fmt.Fprint(tw, "\tP99")
	}
	fmt.Fprintln(tw)
	for _, r := range rows {
		fmt.Fprint(tw, r.job.name)
		raw := median(r.samples[0])
		for i := range targets {
			m := median(r.samples[i])
			fmt.Fprintf(tw, "\t%s", r.job.format(m.rate))
			if i > 0 {
				fmt.Fprintf(tw, "\t%.2f", m.rate/raw.rate)
			}
			fmt.Fprintf(tw, "\t%s", short(m.p99))
		}
		fmt.Fprintln(tw)
	}
	return tw.Flush()
}

// format writes a rate with its unit.
func (j job) format(rate float64) string {
	switch {
	case j.bytes:
		return fmt.Sprintf("%.0f MiB/s", rate/(1<<20))
	case rate >= 10000:
		return fmt.Sprintf("%.1f k/s", rate/1000)
	default:
		return fmt.Sprintf("%.0f /s", rate)
	}
}

// short writes a latency with three digits.
func short(d time.Duration) string {
	switch {
	case d >= 100*time.Millisecond:
		return d.Round(time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(100 * time.Nanosecond).String()
}
