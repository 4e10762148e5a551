package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestJobsOnAFile runs every job for a moment at once on a small plain file, which proves that fio takes the arguments and that its
// report is understood.
func TestJobsOnAFile(t *testing.T) {
	if _, err := exec.LookPath("fio"); err != nil {
		t.Fatalf("%v; install fio", err)
	}
	const size = 4 << 20
	for _, j := range jobs {
		if j.inserts != "" {
			continue // it needs a loop device and sqlite3: make bench
		}
		t.Run(j.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "raw")
			if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := j.run(context.Background(), t.TempDir(), path, size, 300*time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			if s.p50 <= 0 || s.bytes <= 0 {
				t.Errorf("%+v", s)
			}
			t.Logf("%s, p99 %s", j.format(s.rate), short(s.p99))
		})
	}
}

func TestParseRefusesNothing(t *testing.T) {
	for _, out := range []string{"", "fio: no such engine", "{", `{"jobs":[]}`, `{"jobs":[{"error":5}]}`, `{"jobs":[{}]}`} {
		if s, err := jobs[0].parse([]byte(out)); err == nil {
			t.Errorf("%q was taken as %+v", out, s)
		}
	}
}

func samplesOf(s ...sample) cell { return cell{samples: s} }

var tableRows = func() []row {
	us := time.Microsecond
	return []row{{job: jobs[0], cells: []cell{
		samplesOf(sample{20000, 70 * us, 80 * us, 1e9, 0, traffic{}}, sample{10000, 75 * us, 90 * us, 1e9, 0, traffic{}}, sample{30000, 60 * us, 85 * us, 1e9, 0, traffic{}}),
		samplesOf(sample{10000, 70 * us, 80 * us, 1e9, time.Second, traffic{}}, sample{10000, 70 * us, 90 * us, 1e9, 3 * time.Second, traffic{}}, sample{30000, 70 * us, 85 * us, 1e9, 2 * time.Second, traffic{}}),
		{samples: []sample{{5000, 70 * us, 1500 * us, 5e8, time.Second, traffic{}}}, bad: "the pair became PFUS"},
	}}, {job: jobs[8], cells: []cell{samplesOf(sample{1 << 10, us, us, 1, 0, traffic{}}), samplesOf(sample{1 << 9, us, us, 1, 0, traffic{}}), {}}}}
}()

func TestTable(t *testing.T) {
	var b strings.Builder
	if err := print(&b, []string{"raw", "PAIR", "cut"}, tableRows); err != nil {
		t.Fatal(err)
	}
	want := `JOB                       raw       P50/P99    PAIR      RATIO  P50/P99    CPU-S/GB  cut      RATIO  P50/P99     CPU-S/GB
4k random write, depth 1  20.0 k/s  70µs/85µs  10.0 k/s  0.50   70µs/85µs  2.00      5000 /s! 0.25   70µs/1.5ms  2.00
4k random read, depth 1   1024 /s   1µs/1µs    512 /s    0.50   1µs/1µs    0.00      -        -      -           -
! 4k random write, depth 1, cut: the pair became PFUS
`
	if strings.Join(strings.Fields(b.String()), " ") != strings.Join(strings.Fields(want), " ") {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestDisk(t *testing.T) {
	// The line of a block device, as the kernel's documentation of block statistics has it.
	if got, want := parseTraffic(" 11 12 13 14 15 16 17 18 19 20 21"), (traffic{writes: 15, bytes: 17 * 512}); got != want {
		t.Errorf("parsed %+v, want %+v", got, want)
	}
	if got := parseTraffic("11 12 13"); got != (traffic{}) {
		t.Errorf("parsed %+v from a line that is cut short", got)
	}
	s := sample{bytes: 8192, disk: traffic{writes: 2, bytes: 100}.since(traffic{bytes: 100}), rate: 1, p50: 1}
	s.disk.bytes = 24576
	rows := []row{{job: job{name: "write"}, cells: []cell{{samples: []sample{s}}, {}}}, {job: job{name: "read", read: true}, cells: make([]cell, 2)}}
	var b strings.Builder
	if err := printDisk(&b, []string{"raw", "PAIR"}, rows); err != nil {
		t.Fatal(err)
	}
	want := "DISK, REQUESTS FOR EACH 4 KiB / BYTES FOR EACH BYTE raw PAIR write 1.00/3.0 0.00/0.0"
	if got := strings.Join(strings.Fields(b.String()), " "); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	b.Reset()
	if err := printDisk(&b, []string{"raw"}, []row{{job: job{name: "write"}, cells: make([]cell, 1)}}); err != nil || b.Len() > 0 {
		t.Errorf("printed %q, %v where the kernel does not count", b.String(), err)
	}
}

func TestReport(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bench.json")
	if err := writeReport(file, "head", tableRows, []figure{{Section: "copy", Name: "initial", Value: 300, Unit: "MiB/s", Ratio: 0.8, Against: "quic-go"}}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Rows    []reportedRow
		Figures []figure
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Rows) != 2 || got.Rows[0].Cells["loopback"].Ratio != 0.5 || got.Rows[0].Cells["SMPL"].Bad == "" || len(got.Rows[1].Cells) != 2 || got.Figures[0].Ratio != 0.8 {
		t.Errorf("the report holds %+v", got)
	}
}
