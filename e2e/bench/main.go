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
	"regexp"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"pairfs/e2e"
)

// plan is how long and how large a run is.
type plan struct {
	rounds  int
	length  time.Duration // of one job in one round
	size    int64         // bytes of each file of the first table
	journal int64         // bytes of each journal
	bulk    int64         // bytes of an initial copy; half of it is what a resync is measured on, a quarter what a restart finds in the journal
	limit   time.Duration // of the whole run
}

var (
	full  = plan{rounds: 3, length: 1250 * time.Millisecond, size: 1 << 30, journal: 2 << 30, bulk: 4 << 30, limit: 15 * time.Minute}
	quick = plan{rounds: 1, length: 700 * time.Millisecond, size: 256 << 20, journal: 512 << 20, bulk: 512 << 20, limit: 3 * time.Minute}
)

// drainLimit is how long the secondary may take to hold what one job wrote.
const drainLimit = 2 * time.Minute

func main() {
	serveLoopback()
	serveStream()
	dir := flag.String("dir", "", "directory on the disk to measure; a temporary one in it is used and removed")
	rows := flag.String("rows", "", "regular expression: only these jobs and sections")
	file := flag.String("json", "", "file into which all figures are written too")
	growth := flag.Bool("growth", false, "measure instead how a write's cost and a start grow with pairs, volumes and journals")
	flag.Parse()
	p := full
	if os.Getenv("QUICK") != "" {
		p = quick
	}
	if *growth {
		p.limit = growthLimit
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer cancel()
	ctx, cancel = context.WithTimeoutCause(ctx, p.limit, fmt.Errorf("the bench took longer than %v", p.limit))
	defer cancel()
	if err := bench(ctx, p, *dir, *rows, *file, *growth); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

// bench sets up, measures, prints, and leaves nothing behind.
func bench(ctx context.Context, p plan, dir, only, file string, growth bool) (err error) {
	for _, tool := range []string{"fio", "sqlite3", "losetup", "mkfs.ext4"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%w; install it (make tools does)", err)
		}
	}
	want, err := regexp.Compile(only)
	if err != nil {
		return fmt.Errorf("-rows: %w", err)
	}
	base, err := workDir(dir, 7*p.size+4*p.journal+6*p.bulk)
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
	b := startSites(r, p)
	head := fmt.Sprintf("%d rounds of %v on files of %d MiB in %s, %d processors, %s", p.rounds, p.length, p.size>>20, filepath.Dir(base), runtime.NumCPU(), time.Now().Format(time.DateTime))
	fmt.Println(head)
	if growth {
		if err := b.growth(); err != nil {
			return err
		}
		return b.report(file, head, nil)
	}
	b.makeColumns()
	rows, err := b.measure(ctx, want)
	if err != nil {
		return err
	}
	if len(rows) > 0 {
		if err := errors.Join(print(os.Stdout, columnNames, rows), printDisk(os.Stdout, columnNames, rows)); err != nil {
			return err
		}
	}
	if err := b.sections(want); err != nil {
		return err
	}
	return b.report(file, head, rows)
}

// report prints the figures and writes all to the file, if one is wanted.
func (b *benchmark) report(file, head string, rows []row) error {
	if err := printFigures(os.Stdout, b.figures); err != nil || file == "" {
		return err
	}
	return writeReport(file, head, rows, b.figures)
}

// workDir makes a directory on a real disk with enough room.
func workDir(dir string, need int64) (string, error) {
	if dir == "" {
		dir = os.TempDir()
		if inMemory(dir) {
			dir = "/var/tmp"
		}
	}
	free, err := roomIn(dir)
	if err != nil {
		return "", err
	}
	if inMemory(dir) {
		return "", fmt.Errorf("%s is in memory; name a directory on a disk with -dir", dir)
	}
	if free < need {
		return "", fmt.Errorf("%s has %d MiB free and %d are needed; name another directory with -dir", dir, free>>20, need>>20)
	}
	return os.MkdirTemp(dir, "pairfs-bench-")
}

// roomIn gives the bytes that are free on the disk of a directory.
func roomIn(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("look at %s: %w", dir, err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

func inMemory(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && (st.Type == unix.TMPFS_MAGIC || st.Type == unix.RAMFS_MAGIC)
}

// benchmark is three sites and the files of the columns.
type benchmark struct {
	r                   *runner
	plan                plan
	tokyo, osaka, kyoto *e2e.Site // hosts of tokyo write, osaka is the peer, kyoto a peer that is gone most of the time
	columns             []column
	figures             []figure
}

// startSites starts the sites and introduces them.
func startSites(r *runner, p plan) *benchmark {
	o := e2e.Options{Limit: p.limit + time.Minute}
	b := &benchmark{r: r, plan: p, tokyo: e2e.Start(r, "tokyo", o), osaka: e2e.Start(r, "osaka", o), kyoto: e2e.Start(r, "kyoto", o)}
	for _, s := range []*e2e.Site{b.osaka, b.kyoto} {
		b.tokyo.Do("peers/"+s.Name, fmt.Sprintf("add address=%s key=%s create=4TiB", s.Listen, s.Fingerprint()))
		s.Do("peers/tokyo", fmt.Sprintf("add address=%s key=%s create=4TiB", b.tokyo.Listen, b.tokyo.Fingerprint()))
		e2e.Until(r, time.Minute, "the sites are connected", func() bool { return b.tokyo.Get("peers/" + s.Name)["connected"] == "yes" })
	}
	return b
}

// measure runs every job that is wanted on every column in turns.
func (b *benchmark) measure(ctx context.Context, want *regexp.Regexp) (rows []row, err error) {
	if err := b.still(); err != nil { // the first copy of the pair
		return nil, err
	}
	for _, j := range jobs {
		if !want.MatchString(j.name) {
			continue
		}
		if j.read {
			b.quiet()
		}
		row := row{job: j, cells: make([]cell, len(b.columns)), sites: map[string]footprint{}}
		for round := range b.plan.rounds {
			j.seed = 1 + round
			for i, c := range b.columns {
				if c.writes && j.read {
					continue
				}
				if err := b.cell(ctx, j, c, &row.cells[i]); err != nil {
					return nil, fmt.Errorf("%s on %s: %w", j.name, c.name, err)
				}
			}
		}
		row.sites["tokyo"], row.sites["osaka"] = footprintOf(b.tokyo), footprintOf(b.osaka)
		rows = append(rows, row)
	}
	return rows, nil
}

// cell runs one job once.
func (b *benchmark) cell(ctx context.Context, j job, c column, into *cell) error {
	if j.most = c.most; j.inserts != "" {
		j.most = 0
	}
	before, disk := processor(c.pids()), b.written()
	s, err := j.run(ctx, b.r.dir, c.path, b.plan.size, b.plan.length)
	if err != nil {
		return err
	}
	if c.settle != nil {
		into.bad = c.settle()
	}
	if err := b.still(); err != nil {
		return err
	}
	s.cpu, s.disk = processor(c.pids())-before, b.written().since(disk)
	into.samples = append(into.samples, s)
	b.r.Logf("%-30s %-8s %12s  p50 %s  p99 %s  %s", j.name, c.name, j.format(s.rate), short(s.p50), short(s.p99), into.bad)
	if c.reset != nil {
		c.reset()
	}
	return nil
}
