package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestJobsOnAFile runs every job for a second at once on a small plain file, which proves that fio takes the arguments and that its
// report is understood.
func TestJobsOnAFile(t *testing.T) {
	if _, err := exec.LookPath("fio"); err != nil {
		t.Fatalf("%v; install fio", err)
	}
	const size = 4 << 20
	for _, j := range jobs {
		t.Run(j.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "raw")
			if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := j.run(context.Background(), path, size, time.Second)
			if err != nil {
				t.Fatal(err)
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

func TestTable(t *testing.T) {
	us := time.Microsecond
	rows := []row{{job: jobs[0], samples: [3][]sample{
		{{20000, 80 * us}, {10000, 90 * us}, {30000, 85 * us}},
		{{10000, 80 * us}, {10000, 90 * us}, {30000, 85 * us}},
		{{5000, 1500 * us}, {5000, 2 * time.Second}, {1, us}},
	}}, {job: jobs[4], samples: [3][]sample{{{1 << 30, us}}, {{1 << 29, us}}, {{1 << 28, us}}}}}
	var b strings.Builder
	if err := print(&b, rows); err != nil {
		t.Fatal(err)
	}
	want := `JOB                           raw         P99   SMPL       RATIO  P99   PAIR       RATIO  P99
4k random write, depth 1      20.0 k/s    85µs  10.0 k/s   0.50   85µs  5000 /s    0.25   1.5ms
1M sequential write, depth 1  1024 MiB/s  1µs   512 MiB/s  0.50   1µs   256 MiB/s  0.25   1µs
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}
