package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"
)

// figure is one result of a section.
type figure struct {
	Section string  `json:"section"`
	Name    string  `json:"name"`
	Value   float64 `json:"value"`
	Unit    string  `json:"unit"`
	Ratio   float64 `json:"ratio,omitempty"` // to what Against names
	Against string  `json:"against,omitempty"`
}

// say keeps a figure.
func (b *benchmark) say(f figure) {
	b.figures = append(b.figures, f)
	b.r.Logf("%-12s %-40s %10.4g %s", f.Section, f.Name, f.Value, f.Unit)
}

// printFigures writes the second table.
func printFigures(w io.Writer, figures []figure) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	section := ""
	for _, f := range figures {
		if f.Section != section {
			section = f.Section
			fmt.Fprintf(tw, "\n%s\t\t\t\n", section)
		}
		against := ""
		if f.Against != "" {
			against = fmt.Sprintf("%.2f × %s", f.Ratio, f.Against)
		}
		fmt.Fprintf(tw, "  %s\t%.4g\t%s\t%s\n", f.Name, f.Value, f.Unit, against)
	}
	return tw.Flush()
}

// reported is a cell in the report.
type reported struct {
	Rate     float64 `json:"rate"`
	Ratio    float64 `json:"ratio"` // to the first column
	P50      float64 `json:"p50_microseconds"`
	P99      float64 `json:"p99_microseconds"`
	CPUPerGB float64 `json:"cpu_seconds_per_gb"`
	Disk     float64 `json:"disk_bytes_per_byte,omitempty"`
	Writes   float64 `json:"disk_writes_per_4k,omitempty"`
	Bad      string  `json:"does_not_count,omitempty"`
}

// reportedRow is a row in the report.
type reportedRow struct {
	Job   string               `json:"job"`
	Unit  string               `json:"unit"`
	Cells map[string]reported  `json:"columns"`
	Sites map[string]footprint `json:"sites"`
}

// writeReport writes all figures as JSON.
func writeReport(file, head string, rows []row, figures []figure) error {
	report := struct {
		Head    string        `json:"head"`
		Time    time.Time     `json:"time"`
		Rows    []reportedRow `json:"rows"`
		Figures []figure      `json:"figures"`
	}{Head: head, Time: time.Now().UTC(), Figures: figures}
	for _, r := range rows {
		out := reportedRow{Job: r.job.name, Unit: "operations a second", Cells: map[string]reported{}, Sites: r.sites}
		if r.job.bytes {
			out.Unit = "bytes a second"
		}
		first := median(r.cells[0].samples)
		for i, c := range r.cells {
			if m := median(c.samples); len(c.samples) > 0 {
				out.Cells[columnNames[i]] = reported{
					Rate: m.rate, Ratio: m.rate / first.rate, P50: m.p50.Seconds() * 1e6, P99: m.p99.Seconds() * 1e6, CPUPerGB: m.cpuPerGB(),
					Disk: m.diskBytes(), Writes: m.diskWrites(), Bad: c.bad,
				}
			}
		}
		report.Rows = append(report.Rows, out)
	}
	b, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}
