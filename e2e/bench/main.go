package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"pairfs/e2e"
)

// plan is how long and how large a run is.
type plan struct {
	rounds int
	length time.Duration // of one job in one round
	size   int64         // bytes of each target
	limit  time.Duration // of the whole run
}

var (
	full  = plan{rounds: 3, length: 4 * time.Second, size: 1 << 30, limit: 10 * time.Minute}
	quick = plan{rounds: 3, length: time.Second, size: 256 << 20, limit: 3 * time.Minute}
)

// drainLimit is how long the secondary may take to hold what one job wrote.
const drainLimit = time.Minute

func main() {
	dir := flag.String("dir", "", "directory on the disk to measure; a temporary one in it is used and removed")
	flag.Parse()
	p := full
	if os.Getenv("QUICK") != "" {
		p = quick
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer cancel()
	ctx, cancel = context.WithTimeoutCause(ctx, p.limit, fmt.Errorf("the bench took longer than %v", p.limit))
	defer cancel()
	if err := bench(ctx, p, *dir); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

// bench sets up, measures, prints, and leaves nothing behind.
func bench(ctx context.Context, p plan, dir string) (err error) {
	if _, err := exec.LookPath("fio"); err != nil {
		return fmt.Errorf("%w; install fio", err)
	}
	base, err := workDir(dir, 8*p.size)
	if err != nil {
		return err
	}
	defer os.RemoveAll(base)
	r := &runner{ctx: ctx, dir: base}
	defer func() {
		switch s := recover().(type) {
		case nil:
		case stop:
			err = errors.New(s.sentence)
		default:
			panic(s)
		}
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		r.clean()
	}()
	if err := e2e.Build(base); err != nil {
		return err
	}
	b := prepare(r, p)
	fmt.Printf("%d rounds of %v on files of %d MiB in %s, %d processors, %s\n", p.rounds, p.length, p.size>>20, base, runtime.NumCPU(), time.Now().Format(time.DateTime))
	rows, err := b.measure(ctx, p)
	if err != nil {
		return err
	}
	return print(os.Stdout, rows)
}

// workDir makes a directory on a real disk with enough room.
func workDir(dir string, need int64) (string, error) {
	if dir == "" {
		dir = os.TempDir()
		if inMemory(dir) {
			dir = "/var/tmp"
		}
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return "", fmt.Errorf("look at %s: %w", dir, err)
	}
	if inMemory(dir) {
		return "", fmt.Errorf("%s is in memory; name a directory on a disk with -dir", dir)
	}
	if free := int64(st.Bavail) * st.Bsize; free < need {
		return "", fmt.Errorf("%s has %d MiB free and %d are needed; name another directory with -dir", dir, free>>20, need>>20)
	}
	return os.MkdirTemp(dir, "pairfs-bench-")
}

func inMemory(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && (st.Type == unix.TMPFS_MAGIC || st.Type == unix.RAMFS_MAGIC)
}

// benchmark is two sites and three files of the same size.
type benchmark struct {
	r     *runner
	sites [2]*e2e.Site
	paths [len(targets)]string // in the order of targets
}

// prepare starts two sites, fills the three targets, and makes the pair.
func prepare(r *runner, p plan) *benchmark {
	b := &benchmark{r: r}
	tokyo, osaka := e2e.Start(r, "tokyo"), e2e.Start(r, "osaka")
	b.sites = [2]*e2e.Site{tokyo, osaka}
	tokyo.Do("peers/osaka", fmt.Sprintf("add address=%s key=%s", osaka.Listen, osaka.Fingerprint()))
	osaka.Do("peers/tokyo", fmt.Sprintf("add address=%s key=%s create=1TiB", tokyo.Listen, tokyo.Fingerprint()))
	e2e.Until(r, time.Minute, "the sites are connected", func() bool { return tokyo.Get("peers/osaka")["connected"] == "yes" })
	b.paths = [...]string{filepath.Join(b.r.dir, "raw"), tokyo.Path("single"), tokyo.Path("paired")}
	for _, path := range b.paths {
		b.fill(path, p.size)
	}
	// Hosts are held to what the peer takes, or a row would measure a pair that was suspended by its full journal.
	tokyo.Do("groups/default", "create inflow-control=yes overflow-watch=600s")
	tokyo.Do("pair0", "create volume=paired peer=osaka")
	tokyo.Wait("pair0", 2*time.Minute, "PAIR")
	b.settle()
	return b
}

// fill writes all of a new file, so that no job pays for allocation.
func (b *benchmark) fill(path string, size int64) {
	cmd := exec.CommandContext(b.r.ctx, "fio", "--name=fill", "--filename="+path, "--rw=write", "--bs=1m", "--direct=1", "--end_fsync=1",
		fmt.Sprintf("--size=%d", size))
	if out, err := cmd.CombinedOutput(); err != nil {
		b.r.Fatalf("fill %s: %v\n%s", path, err, out)
	}
}

// settle waits until the secondary holds everything, and brings the pair back if it was suspended.
func (b *benchmark) settle() {
	tokyo := b.sites[0]
	if s := tokyo.Status("pair0"); s != "PAIR" && s != "PFUL" {
		b.r.Logf("the pair became %s (%s); it is resynchronised", s, tokyo.Get("pair0")["suspend-type"])
		tokyo.Do("pair0", "resync")
		tokyo.Wait("pair0", drainLimit, "PAIR")
	}
	e2e.Until(b.r, drainLimit, "the secondary holds everything", func() bool {
		if b.r.ctx.Err() != nil {
			b.r.Fatalf("%v", context.Cause(b.r.ctx))
		}
		return tokyo.Get("pair0")["lag-records"] == "0"
	})
}

// measure runs every job on every target in turns.
func (b *benchmark) measure(ctx context.Context, p plan) ([]row, error) {
	rows := make([]row, len(jobs))
	for i, j := range jobs {
		rows[i].job = j
		for round := range p.rounds {
			j.seed = 1 + round
			for t := range targets {
				s, err := j.run(ctx, b.paths[t], p.size, p.length)
				if err != nil {
					return nil, fmt.Errorf("%s on %s: %w", j.name, targets[t], err)
				}
				rows[i].samples[t] = append(rows[i].samples[t], s)
				b.r.Logf("%-30s %-4s %12s  p99 %s", j.name, targets[t], j.format(s.rate), short(s.p99))
				if targets[t] == "PAIR" {
					b.settle()
				}
			}
		}
	}
	return rows, nil
}
