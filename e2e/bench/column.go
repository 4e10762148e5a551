package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"pairfs/e2e"
)

// column is one kind of file that the jobs run on.
type column struct {
	name   string
	path   string
	writes bool                // only the jobs that write are run on it
	most   int64               // bytes that one job may write, 0 for any number
	pids   func() []int        // the processes behind it
	settle func() (bad string) // after each job, before their processor time is taken: lets what the job began come to its end; bad says why the job does not count
	reset  func()              // after that, makes it fit for another job
}

// gone is the status of a pair that is not there.
const gone = "SMPL"

// columns of the first table, the first being what the others are compared with.
var columnNames = []string{"raw", "loopback", "SMPL", "PAIR", "cut"}

// fill writes all of a new file, so that no job pays for allocation.
func (b *benchmark) fill(path string, size int64) {
	if _, err := command(b.r.ctx, "fio", "--name=fill", "--filename="+path, "--rw=write", "--bs=1m", "--direct=1", "--end_fsync=1", fmt.Sprintf("--size=%d", size)); err != nil {
		b.r.Fatalf("fill %s: %v", path, err)
	}
}

// makeColumns makes the files and the pairs.
func (b *benchmark) makeColumns() {
	none := func() []int { return nil }
	raw := filepath.Join(b.r.dir, "raw")
	backing, mnt := filepath.Join(b.r.dir, "backing"), filepath.Join(b.r.dir, "loopback")
	for _, d := range []string{backing, mnt} {
		if err := os.Mkdir(d, 0o700); err != nil {
			b.r.Fatalf("%v", err)
		}
	}
	loop := startLoopback(b.r, backing, mnt)
	tokyo := b.tokyo
	b.columns = []column{
		{name: "raw", path: raw, pids: none},
		{name: "loopback", path: filepath.Join(mnt, "file"), pids: func() []int { return []int{loop.cmd.Process.Pid} }},
		{name: "SMPL", path: tokyo.Path("single"), pids: func() []int { return []int{tokyo.Pid()} }},
		{name: "PAIR", path: tokyo.Path("paired"), pids: func() []int { return []int{tokyo.Pid(), b.osaka.Pid()} }, settle: b.settle},
		{name: "cut", path: tokyo.Path("severed"), writes: true, most: b.plan.journal / 5 * 2, pids: func() []int { return []int{tokyo.Pid()} }, settle: b.stillPair, reset: b.makeRoom},
	}
	for _, c := range b.columns {
		b.fill(c.path, b.plan.size)
	}
	// Hosts are held to what the peer takes, or a row would measure a pair that was suspended by its full journal.
	tokyo.Do("groups/default", fmt.Sprintf("create size=%d inflow-control=yes overflow-watch=600s", b.plan.journal))
	tokyo.Do("pair0", "create volume=paired peer=osaka")
	tokyo.Wait("pair0", 5*time.Minute, "PAIR")
	b.settle()
	tokyo.Do("groups/severed", fmt.Sprintf("create size=%d path-watch=60d", b.plan.journal))
	b.join()
}

// settle waits until the secondary holds everything, and brings the pair back if it was suspended.
func (b *benchmark) settle() (bad string) {
	tokyo := b.tokyo
	if s := tokyo.Status("pair0"); s != "PAIR" && s != "PFUL" {
		bad = fmt.Sprintf("the pair became %s (%s)", s, tokyo.Get("pair0")["suspend-type"])
		tokyo.Do("pair0", "resync")
		tokyo.Wait("pair0", drainLimit, "PAIR")
	}
	e2e.Until(b.r, drainLimit, "the secondary holds everything", func() bool { return tokyo.Get("pair0")["lag-records"] == "0" })
	return bad
}

// quiet waits until both sites have checkpointed what was written: reads are measured beside nothing else.
func (b *benchmark) quiet() {
	e2e.Until(b.r, drainLimit, "both sites have checkpointed", func() bool {
		return b.tokyo.Int("groups/default", "used-bytes") == 0 && b.osaka.Int("groups/default@tokyo", "used-bytes") == 0
	})
}

// join pairs the volume of the cut link with one of kyoto, and ends kyoto: its peer is gone, and the pair stays PAIR.
func (b *benchmark) join() {
	if _, err := os.Stat(b.kyoto.Path("severed")); err != nil {
		f, err := os.Create(b.kyoto.Path("severed"))
		if err == nil {
			err = errors.Join(f.Truncate(b.plan.size), f.Close())
		}
		if err != nil {
			b.r.Fatalf("the volume at kyoto: %v", err)
		}
	}
	b.kyoto.Do("volumes/severed", "reserve peer=tokyo")
	b.tokyo.Do("severed", "create volume=severed peer=kyoto group=severed copy=none")
	b.tokyo.Wait("severed", drainLimit, "PAIR")
	b.kyoto.Wait("severed", drainLimit, "PAIR")
	b.kyoto.Kill9()
}

// stillPair says so if the journal got full.
func (b *benchmark) stillPair() (bad string) {
	if s := b.tokyo.Status("severed"); s != "PAIR" {
		return fmt.Sprintf("the pair without a link became %s (%s): its journal is too small for the job", s, b.tokyo.Get("severed")["suspend-type"])
	}
	return ""
}

// makeRoom makes the pair of the cut link anew when its journal has no room for another job, below its high-water mark.
func (b *benchmark) makeRoom() {
	if b.tokyo.Int("groups/severed", "used-bytes") > b.plan.journal/5*2 {
		b.rejoin()
	}
}

// rejoin empties the journal of the cut link.
func (b *benchmark) rejoin() {
	b.kyoto.Restart()
	e2e.Until(b.r, time.Minute, "the pair is deleted", func() bool {
		return b.tokyo.Ctl("severed", "delete") == nil // a connection of before kyoto ended counts for a moment yet
	})
	e2e.Until(b.r, drainLimit, "the pair is gone", func() bool {
		return b.tokyo.Status("severed") == gone && b.kyoto.Status("severed") == gone
	})
	b.join()
}

// processor returns the processor time that the processes have used.
func processor(pids []int) (sum time.Duration) {
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // it has ended
		}
		f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		for _, i := range []int{11, 12} { // utime and stime, in hundredths of a second
			n, _ := strconv.ParseInt(f[i], 10, 64)
			sum += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return sum
}

// footprint is what a daemon takes of its host.
type footprint struct {
	Resident   int64 `json:"resident_bytes"` // without what is mapped from files
	Goroutines int64 `json:"goroutines"`
}

// footprintOf looks at a daemon. Its metrics tell the goroutines.
func footprintOf(s *e2e.Site) (f footprint) {
	f.Resident, _ = s.RSS()
	text, err := s.Text("metrics")
	if err != nil {
		return f
	}
	for line := range strings.Lines(text) {
		fmt.Sscanf(line, "go_goroutines %d", &f.Goroutines)
	}
	return f
}
