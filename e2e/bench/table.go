package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// cell holds the samples of one job in one column.
type cell struct {
	samples []sample
	bad     string // why the last of them does not count for what the column says
}

// row holds the cells of one job, in the order of the columns.
type row struct {
	job   job
	cells []cell
	sites map[string]footprint // of each daemon, when the row was done
}

// median returns the middle of each figure.
func median(samples []sample) sample {
	middle := func(of func(sample) float64) float64 {
		all := make([]float64, len(samples))
		for i, s := range samples {
			all[i] = of(s)
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	if len(samples) == 0 {
		return sample{}
	}
	return sample{
		rate: middle(func(s sample) float64 { return s.rate }), bytes: middle(func(s sample) float64 { return s.bytes }),
		p50:  time.Duration(middle(func(s sample) float64 { return float64(s.p50) })),
		p99:  time.Duration(middle(func(s sample) float64 { return float64(s.p99) })),
		cpu:  time.Duration(middle(func(s sample) float64 { return float64(s.cpu) })),
		disk: traffic{writes: middle(func(s sample) float64 { return s.disk.writes }), bytes: middle(func(s sample) float64 { return s.disk.bytes })},
	}
}

// cpuPerGB is the processor time in seconds for each 10⁹ bytes of the host's.
func (s sample) cpuPerGB() float64 {
	if s.bytes == 0 {
		return 0
	}
	return s.cpu.Seconds() / s.bytes * 1e9
}

// print writes the table: for each column the rate, its ratio to the first, the 50th and 99th percentile of the latency, and
// processor seconds for each GB.
func print(w io.Writer, names []string, rows []row) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(tw, "JOB")
	for i, n := range names {
		fmt.Fprintf(tw, "\t%s", n)
		if i > 0 {
			fmt.Fprint(tw, "\tRATIO")
		}
		fmt.Fprint(tw, "\tP50/P99")
		if i > 0 {
			fmt.Fprint(tw, "\tCPU-S/GB")
		}
	}
	fmt.Fprintln(tw)
	for _, r := range rows {
		fmt.Fprint(tw, r.job.name)
		first := median(r.cells[0].samples)
		for i, c := range r.cells {
			m := median(c.samples)
			switch {
			case len(c.samples) == 0:
				fmt.Fprint(tw, "\t-\t-\t-\t-")
				continue
			case c.bad != "":
				fmt.Fprintf(tw, "\t%s!", r.job.format(m.rate))
			default:
				fmt.Fprintf(tw, "\t%s", r.job.format(m.rate))
			}
			if i > 0 {
				fmt.Fprintf(tw, "\t%.2f", m.rate/first.rate)
			}
			fmt.Fprintf(tw, "\t%s/%s", short(m.p50), short(m.p99))
			if i > 0 {
				fmt.Fprintf(tw, "\t%.2f", m.cpuPerGB())
			}
		}
		fmt.Fprintln(tw)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, r := range rows {
		for i, c := range r.cells {
			if c.bad != "" {
				fmt.Fprintf(w, "! %s, %s: %s\n", r.job.name, names[i], c.bad)
			}
		}
	}
	return nil
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
