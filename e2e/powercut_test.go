package e2e

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"pairfs/e2e/machine"
	"pairfs/e2e/prefix"
)

// powerSize is the size of each of the three volumes, powerJournal that of their journal: a checkpoint comes about once a second, and what hosts
// write in two rounds goes in even if a busy host lets the secondary take none of it.
const (
	powerSize    = 8 * mib
	powerJournal = "96MiB"
	powerDisk    = 1 << 30
)

// TestPowerCutOfAMachine cuts the power of a machine that is the primary of a group as often as PAIRFS_POWERCUT says, while hosts write to
// it; the secondary runs on this host. The machine is started again from what its disk may hold then, see package machine, and what was
// promised is looked for: all that a sync or a synchronous write covered is there, the three volumes are one prefix, the secondary holds
// nothing that the primary has not, and the pairs go on by themselves, without a copy, until both sides are equal. From the same run of the
// machine an image of an earlier moment is made and started too, without the secondary. PAIRFS_SEED chooses the same losses again; what the
// machine had written by then differs from run to run.
func TestPowerCutOfAMachine(t *testing.T) {
	cuts, _ := strconv.Atoi(os.Getenv("PAIRFS_POWERCUT"))
	if cuts <= 0 {
		t.Skip("PAIRFS_POWERCUT is not set to a number of power cuts: `make powercut` sets it")
	}
	if os.Getenv("PAIRFS_SEED") == "" {
		t.Setenv("PAIRFS_SEED", strconv.FormatInt(time.Now().UnixNano(), 10))
	}
	p := newPower(t)
	for p.n = 1; p.n <= cuts; p.n++ {
		p.round()
	}
	p.end()
}

// power is the state of a [TestPowerCutOfAMachine]: tokyo is the primary in the machine, osaka the secondary.
type power struct {
	t     *testing.T
	rng   *rand.Rand
	tokyo *guest
	osaka *Site
	n     int // of the round

	h     *History
	apart bool // the group is split while hosts write

	lost machine.Loss   // of all power cuts
	done map[string]int // what was done and checked, how often
}

// sight is a moment of a run: what must demands had been synced by then.
type sight struct {
	at   machine.Moment
	must prefix.Demand
}

// newPower starts both sites and brings the group to PAIR.
func newPower(t *testing.T) *power {
	seed := Seed(t)
	p := &power{t: t, rng: rand.New(rand.NewPCG(seed, 0)), done: map[string]int{}, h: NewHistory(seed)}
	p.osaka = Start(t, "osaka", Options{Limit: 6 * time.Hour})
	p.tokyo = newGuest(t, filepath.Join(t.TempDir(), "disk"))
	p.tokyo.boot(p.tokyo.first, false)
	p.tokyo.start()
	p.tokyo.introduce(p.osaka)
	p.tokyo.do("group", "create", "g", "--size="+powerJournal)
	for _, v := range three {
		p.tokyo.makeVolume(v, powerSize)
		p.tokyo.do("pair", "create", "p-"+v, "--volume="+v, "--peer=osaka", "--group=g")
	}
	p.awaitBoth("PAIR", "PAIR")
	return p
}

// round lets hosts write, cuts the power in the middle of it, and looks at what is left.
func (p *power) round() {
	p.t.Helper()
	p.t.Logf("round %d", p.n)
	early, last := p.load()
	cut := p.tokyo.machine
	p.look(cut, early)
	before := p.secondary()
	image := p.tokyo.image()
	p.lose(cut, last.at, image)
	cut.forget()
	if p.chance(3) {
		image = p.cutAgain(image)
	}
	p.tokyo.boot(image, false)
	p.tokyo.start()
	p.settle(prefix.Both(last.must, prefix.Before(before)))
}

// load writes until the power is cut, and returns a moment before that, and that one.
func (p *power) load() (early, last sight) {
	p.t.Helper()
	p.h = NewHistory(p.h.Run() + 1) // what is lost is not to be looked for in the next round
	p.wipe()
	if p.apart = p.chance(4); p.apart {
		p.tokyo.do("group", "suspend", "g")
		p.awaitBoth("PSUS", "SSUS")
	}
	w := StartWorkload(p.t, p.h, p.tokyo.targets(), Load{Seed: p.h.Run(), PerSecond: 4000, Writers: 12, MaxSize: 256 << 10})
	more(p.t, w, 100+p.rng.Int64N(600))
	from := p.tokyo.machine.Disk.Now()
	seen := observe(p.h, p.tokyo.machine.Disk)
	more(p.t, w, 100+p.rng.Int64N(1200))
	if p.chance(3) {
		last.at = p.tokyo.machine.Cut()
	} else {
		last.at = p.tokyo.machine.CutAtFlush(1+p.rng.IntN(20), 5*time.Second)
	}
	sights := seen()
	early = sights[p.rng.IntN(len(sights))]
	if !p.chance(4) {
		early = sight{at: p.tokyo.machine.Disk.Fullest(from), must: prefix.Nothing}
	}
	for _, s := range sights {
		if s.at <= early.at {
			early.must = s.must
		}
	}
	if err := w.Wait(); !machine.Gone(err) {
		p.t.Fatalf("the writers of a machine without power ended with: %v", err)
	}
	last.must = prefix.Synced
	p.did("writes", int(w.Acked()))
	return early, last
}

// observe notes again and again what has been synced, and the moment by which it is flushed, until the function that it returns is called.
func observe(h *History, d *machine.Disk) (end func() []sight) {
	sights := []sight{{must: h.SyncedSoFar(), at: d.Now()}}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		again := time.NewTicker(time.Millisecond)
		defer again.Stop()
		for {
			select {
			case <-again.C:
				must := h.SyncedSoFar() // first: what is synced by now is flushed before the moment that follows
				sights = append(sights, sight{must: must, at: d.Now()})
			case <-stop:
				return
			}
		}
	}()
	return func() []sight {
		close(stop)
		<-done
		return sights
	}
}

// wipe makes all volumes zeroes, on both sides.
func (p *power) wipe() {
	p.t.Helper()
	for _, target := range p.tokyo.targets() {
		f, err := target.open(os.O_RDWR)
		if err == nil {
			err = f.Punch(0, target.Size)
		}
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			p.t.Fatalf("discard %s: %v", target.Path, err)
		}
	}
	p.tokyo.awaitDrained()
}

// chance is true once in n times.
func (p *power) chance(n int) bool { return p.rng.IntN(n) == 0 }

// did counts what was done or checked.
func (p *power) did(what string, n int) { p.done[what] += n }

// end stops both sites in good order: nothing of that is lost however the disk is switched off.
func (p *power) end() {
	p.t.Helper()
	p.tokyo.stop()
	cut := p.tokyo.machine
	image := p.tokyo.image()
	p.lose(cut, cut.Cut(), image)
	cut.forget()
	p.osaka.Stop()
	if p.n > 10 && (p.lost.Lost == 0 || p.lost.Torn == 0) {
		p.t.Errorf("no write was lost, or none was torn, in %d power cuts: %v", p.n-1, p.lost)
	}
	p.t.Logf("%d rounds: %v; %v", p.n-1, p.done, p.lost)
}
