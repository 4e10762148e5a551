package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	switchJobs   = 4        // of fio, of each leg
	switchRegion = 64 * mib // that a job writes
	switchRate   = 500      // writes a second of a job: it takes half a minute for its region, a switchover comes before
	probeSize    = 4 * mib  // of the volume whose writes are timed
	probeBlock   = 4096     // of a write to it
	probeEvery   = time.Millisecond
)

// probe is a host with a path to either side: it writes block after block, and when one is refused it goes to the other side with it. It keeps how
// long its writes were without an acknowledgement.
type probe struct {
	h     *History
	sites [2]Target
	end   chan struct{}
	done  chan struct{}
	err   error

	mu     sync.Mutex
	at     int // the path that it uses
	acked  int // by that path
	gaps   []time.Duration
	failed []error // why it went to the other side
}

// startProbe begins to write to the first of the two paths.
func startProbe(t *testing.T, seed uint64, sites [2]Target) *probe {
	p := &probe{h: NewHistory(seed), sites: sites, end: make(chan struct{}), done: make(chan struct{})}
	go p.run(rand.New(rand.NewPCG(seed, 0)))
	t.Cleanup(func() { p.stop() })
	return p
}

// stop ends the host and returns why it ended, if it did by itself.
func (p *probe) stop() error {
	p.mu.Lock()
	select {
	case <-p.end:
	default:
		close(p.end)
	}
	p.mu.Unlock()
	<-p.done
	return p.err
}

func (p *probe) run(rng *rand.Rand) {
	defer close(p.done)
	f, err := p.open()
	if err != nil {
		p.err = err
		return
	}
	defer func() { f.Close() }()
	ticker := time.NewTicker(probeEvery)
	defer ticker.Stop()
	buf := AlignedBuffer(probeBlock)
	last := time.Now()
	for {
		off := rng.Int64N(probeSize/probeBlock) * probeBlock
		for {
			err := p.write(f, buf, off)
			if err == nil {
				break
			}
			f.Close()
			p.mu.Lock()
			p.at, p.acked, p.failed = 1-p.at, 0, append(p.failed, err)
			p.mu.Unlock()
			if f, p.err = p.open(); p.err != nil {
				return
			}
		}
		now := time.Now()
		p.mu.Lock()
		p.acked, p.gaps = p.acked+1, append(p.gaps, now.Sub(last))
		p.mu.Unlock()
		last = now
		select {
		case <-p.end:
			return
		case <-ticker.C:
		}
	}
}

// open opens the path in use for writing, or the other one: a volume that is secondary refuses.
func (p *probe) open() (*os.File, error) {
	ticker := time.NewTicker(probeEvery)
	defer ticker.Stop()
	for {
		f, err := os.OpenFile(p.sites[p.at].Path, os.O_RDWR|unix.O_DIRECT, 0)
		if err == nil {
			return f, nil
		}
		select {
		case <-p.end:
			return nil, fmt.Errorf("neither side may be written: %w", err)
		case <-ticker.C:
		}
		p.mu.Lock()
		p.at = 1 - p.at
		p.mu.Unlock()
	}
}

func (p *probe) write(f *os.File, buf []byte, off int64) error {
	tg := p.sites[p.at]
	c := p.h.Begin(Write{Volume: tg.Volume, Off: off, Len: int64(len(buf))})
	Fill(buf, Mark{Run: p.h.Run(), Counter: c, Volume: uint32(tg.Volume), Offset: off})
	if _, err := f.WriteAt(buf, off); err != nil {
		p.h.Fail(c)
		return err
	}
	p.h.Ack(c)
	return nil
}

// take returns the times between acknowledgements since the last call.
func (p *probe) take() (gaps []time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	gaps, p.gaps = p.gaps, nil
	return gaps
}

// moved reports whether the host writes by that path, and has been for some time.
func (p *probe) moved(at int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at == at && p.acked > 20
}

// fioLeg is what fio wrote between two switchovers: a part of the volume, and a state that says which blocks it was told to be written.
type fioLeg struct {
	number int
	seed   uint64
	aux    string
}

// args are the arguments of fio for a leg on a volume; extra ones are for all jobs.
func (l fioLeg) args(volume string, extra ...string) []string {
	args := append([]string{
		"--aux-path=" + l.aux, "--filename=" + volume, "--direct=1", "--ioengine=psync", "--rw=randwrite", "--bs=4k", fmt.Sprintf("--size=%d", switchRegion),
		"--verify=crc32c", fmt.Sprintf("--randseed=%d", l.seed%1e9),
	}, extra...)
	for job := range switchJobs {
		args = append(args, fmt.Sprintf("--name=leg%djob%d", l.number, job), fmt.Sprintf("--offset=%d", (l.number*switchJobs+job)*switchRegion))
	}
	return args
}

// start begins to write.
func (l fioLeg) start(t *testing.T, volume string) (cmd *exec.Cmd, out *strings.Builder) {
	t.Helper()
	cmd, out = exec.Command("fio", l.args(volume, "--do_verify=0", "--verify_state_save=1", fmt.Sprintf("--rate_iops=%d", switchRate))...), &strings.Builder{}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start fio: %v", err)
	}
	return cmd, out
}

// verify reads all that was acknowledged and returns how many blocks that is.
func (l fioLeg) verify(t *testing.T, volume string) (blocks int) {
	t.Helper()
	out := Run(t, "fio", l.args(volume, "--verify_only=1", "--verify_state_load=1", "--verify_state_save=0", "--verify_fatal=1")...)
	for _, m := range fioReads.FindAllStringSubmatch(out, -1) {
		n, _ := strconv.Atoi(m[1])
		blocks += n
	}
	if blocks == 0 {
		t.Fatalf("fio verified nothing of %s:\n%s", volume, out)
	}
	return blocks
}

// fioReads finds how many blocks a job of fio read.
var fioReads = regexp.MustCompile(`issued rwts: total=(\d+),`)

// TestAppSwitchover exchanges the roles ten times there and back while fio and a host with timed writes work on two volumes of a group. Both go on
// at the other side, where fio verifies what was acknowledged to it, and in the end nothing of it all is missing on either side. How long hosts
// were without an acknowledgement is measured and reported.
func TestAppSwitchover(t *testing.T) {
	needApps(t)
	const legs = 20
	s := startStandby(t, legs*switchJobs*switchRegion)
	s.A.MakeVolume("probe", probeSize)
	s.replicate()
	s.CreatePair("pair1", "probe", "")
	s.WaitBoth("pair1", "PAIR")
	rng := rand.New(rand.NewPCG(s.Seed, 2))
	p := startProbe(t, s.Seed, [2]Target{{Path: s.A.Path("probe"), Size: probeSize}, {Path: s.B.Path("probe"), Size: probeSize}})

	var all []fioLeg
	var pauses, usual, took []time.Duration
	blocks := 0
	for i := range legs {
		leg := fioLeg{i, rng.Uint64(), t.TempDir()}
		all = append(all, leg)
		before := s.primary.Int("groups/"+s.groupAt(s.primary), "appended")
		fio, out := leg.start(t, s.disk())
		Until(t, StatusLimit, "fio writes", func() bool {
			return s.primary.Int("groups/"+s.groupAt(s.primary), "appended") > before+switchRate
		})
		<-time.After(time.Duration(rng.Int64N(int64(time.Second))))
		usual = append(usual, p.take()...)
		answer, d := s.takeover("swap-takeover")
		if err := fio.Wait(); err == nil {
			t.Fatalf("fio came to its end before the switchover, or was not told of it:\n%s", out)
		}
		to := 1 - i%2
		Until(t, StatusLimit, "the host writes at the other side", func() bool { return p.moved(to) })
		pause := slices.Max(p.take())
		pauses, took = append(pauses, pause), append(took, d)
		n := leg.verify(t, s.disk())
		blocks += n
		t.Logf("switchover %d to %s: hosts paused for %s ms, %d blocks of fio are right; %s", i+1, s.primary.Name, millis(pause), n, answer)
	}
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	t.Logf("write pause of %d switchovers under fio: %s; between writes at other times: %s; the command took %s", legs, spread(pauses), spread(usual), spread(took))

	s.awaitPair()
	s.primary.AwaitDrained("pair0")
	again := 0
	for _, leg := range all {
		again += leg.verify(t, s.disk())
	}
	if again != blocks {
		t.Errorf("%d blocks of fio are right in the end, %d were after the switchovers", again, blocks)
	}
	s.SameVolumes("disk", "probe")
	for _, side := range []*Site{s.A, s.B} {
		side.CheckImages(p.h, []Target{{Path: side.Path("probe"), Size: probeSize}}, Always)
	}
	t.Logf("%d blocks that fio wrote and %d writes of the host are on both sides", again, p.h.Len())
}
