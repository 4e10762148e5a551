package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

const (
	fsxShortOps    = 1000  // of each tester, in every run of the tests
	fsxShortRounds = 5     // each kind of pause once
	fsxRoundOps    = 20000 // between two pauses of a long run
)

// fsxOps returns how many operations each tester does, and between how many pauses.
func fsxOps(t *testing.T) (ops, rounds, testers int) {
	t.Helper()
	text := os.Getenv("PAIRFS_FSX")
	if text == "" {
		return fsxShortOps, fsxShortRounds, 2
	}
	ops, err := strconv.Atoi(text)
	if err != nil || ops < fsxShortRounds {
		t.Fatalf("PAIRFS_FSX=%q: a number of operations, from %d on", text, fsxShortRounds)
	}
	return ops, max(fsxShortRounds, ops/fsxRoundOps), 3
}

// TestFsx does random operations to volumes from some processes at once: each has one that is in no pair and grows and shrinks, and one that is a
// P-VOL. What they read, by read(2), O_DIRECT and mappings, is what their models hold, at every moment; so it is behind a restart and a kill -9 of
// either side, a split, a cut link and an exchange of the roles, and on the S-VOL. PAIRFS_FSX is how many operations each does, PAIRFS_SEED chooses
// the same ones again, PAIRFS_FSX_LOG is a folder for a list of them all.
func TestFsx(t *testing.T) {
	t.Parallel()
	ops, rounds, testers := fsxOps(t)
	r := startFsxRun(t, testers)
	defer func() {
		if t.Failed() {
			t.Logf("again: PAIRFS_FSX=%d and the PAIRFS_SEED above, go test -run '^TestFsx$' -count=1 -v ./e2e", ops)
		}
	}()
	begun := time.Now()
	for i := range rounds {
		r.each(func(p *fsxProcess) fsxOrder { return fsxOrder{Do: "run", Ops: ops*(i+1)/rounds - ops*i/rounds} })
		r.pause(i)
	}
	r.healLink()
	r.sync()
	r.same()
	total, unsure, lost := 0, 0, 0
	for _, p := range r.testers {
		total, unsure, lost = total+p.last.Number, unsure+p.last.Unsure, lost+p.last.Lost
	}
	t.Logf("%d operations in %d processes, %v; of %d pages that were written through a mapping and not synced when a daemon ended %d are lost; in between: %v",
		total, testers, time.Since(begun).Round(time.Millisecond), unsure, lost, r.done)
}

// fsxRun is the state of a [TestFsx].
type fsxRun struct {
	*Sites
	t         *testing.T
	rng       *rand.Rand
	primary   *Site
	secondary *Site
	testers   []*fsxProcess
	cut       bool
	done      map[string]int
}

// startFsxRun starts two sites and testers, each with two volumes at tokyo, of which one is paired.
func startFsxRun(t *testing.T, testers int) *fsxRun {
	t.Helper()
	s := Two(t, Options{Limit: 4 * time.Hour})
	r := &fsxRun{Sites: s, t: t, rng: rand.New(rand.NewPCG(s.Seed, 0)), primary: s.A, secondary: s.B, done: map[string]int{}}
	s.A.Do("groups/g", "create size=32MiB inflow-control=yes overflow-watch=600s")
	for i := range testers {
		smpl, paired := fsxSpec{Size: mib / 2, Limit: mib}, fsxSpec{Size: mib + r.rng.Int64N(mib), Fixed: true}
		paired.Limit = paired.Size
		if i == 0 { // one has whole pages
			paired.Size = 2 * mib
			paired.Limit = paired.Size
		}
		smpl.Path, paired.Path = s.A.Path(fmt.Sprint("free", i)), s.A.Path(r.paired(i))
		s.A.MakeVolume(fmt.Sprint("free", i), smpl.Size)
		s.A.MakeVolume(r.paired(i), paired.Size)
		s.CreatePair(r.paired(i), r.paired(i), "group=g")
		s.WaitBoth(r.paired(i), "PAIR")
		r.testers = append(r.testers, startFsx(t, fmt.Sprint(i), r.rng.Uint64(), []fsxSpec{smpl, paired}))
	}
	return r
}

// paired is the name of the paired volume of a tester, and of its pair.
func (r *fsxRun) paired(i int) string { return fmt.Sprint("pair", i) }

// each gives every tester an order, all at once, and waits for them.
func (r *fsxRun) each(order func(*fsxProcess) fsxOrder) {
	r.t.Helper()
	var all sync.WaitGroup
	errs := make([]error, len(r.testers))
	for i, p := range r.testers {
		all.Go(func() { errs[i] = p.ask(order(p)) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			r.t.Error(err)
		}
	}
	if r.t.Failed() {
		r.t.FailNow()
	}
}

func (r *fsxRun) sync()  { r.each(func(*fsxProcess) fsxOrder { return fsxOrder{Do: "sync"} }) }
func (r *fsxRun) close() { r.each(func(*fsxProcess) fsxOrder { return fsxOrder{Do: "close"} }) }

// open lets the testers go on, with the paired volumes where hosts write them now.
func (r *fsxRun) open() {
	for i, p := range r.testers {
		p.specs[1].Path = r.primary.Path(r.paired(i))
	}
	r.each(func(p *fsxProcess) fsxOrder { return fsxOrder{Do: "open", Files: p.specs} })
}

// pause is what happens between two rounds: each kind once, then by chance. In a half of the pauses everything is synced, and then the S-VOLs hold
// what the models do.
func (r *fsxRun) pause(round int) {
	r.t.Helper()
	r.healLink()
	kinds := []func(){r.kill, r.takeover, r.split, r.restart, r.kill, r.cutLink, r.killSecondary}
	if round >= len(kinds) {
		round = r.rng.IntN(len(kinds))
	}
	if r.rng.IntN(2) == 0 {
		r.sync()
		r.same()
	}
	kinds[round]()
}

// same compares the S-VOLs with the models; everything is synced.
func (r *fsxRun) same() {
	r.t.Helper()
	r.done["compared"]++
	for i, p := range r.testers {
		r.primary.AwaitDrained(r.paired(i))
		p.do(fsxOrder{Do: "compare", File: 1, Path: r.secondary.Path(r.paired(i))})
	}
}

// kill kills the daemon with which the testers work, while their files are open, and starts it again.
func (r *fsxRun) kill() {
	at := []*Site{r.A, r.primary}[r.rng.IntN(2)]
	r.done["kill -9"]++
	at.Kill9()
	r.each(func(*fsxProcess) fsxOrder { return fsxOrder{Do: "drop"} })
	at.Restart()
	r.AwaitLink()
	r.open()
}

// killSecondary kills the other one, of which they notice nothing.
func (r *fsxRun) killSecondary() {
	r.done["kill -9 of the secondary"]++
	if r.secondary == r.A { // the volumes in no pair are there
		r.kill()
		return
	}
	r.secondary.Kill9()
	r.secondary.Restart()
	r.AwaitLink()
}

// restart stops and starts both sites in good order.
func (r *fsxRun) restart() {
	r.done["restart"]++
	r.close()
	for _, at := range []*Site{r.A, r.B} {
		at.Restart0(r.t)
	}
	r.AwaitLink()
	r.open()
	for i := range r.testers {
		r.primary.Wait(r.paired(i), StatusLimit, "PAIR")
		r.secondary.Wait(r.paired(i), StatusLimit, "PAIR")
	}
}

// split splits the pairs, lets the testers work, and resyncs.
func (r *fsxRun) split() {
	r.done["split"]++
	r.primary.Do("groups/"+r.group(r.primary), "suspend")
	for i := range r.testers {
		r.primary.Wait(r.paired(i), StatusLimit, "PSUS")
	}
	r.each(func(*fsxProcess) fsxOrder { return fsxOrder{Do: "run", Ops: 100} })
	r.primary.Do("groups/"+r.group(r.primary), "resync")
	for i := range r.testers {
		r.primary.Wait(r.paired(i), StatusLimit, "PAIR")
		r.secondary.Wait(r.paired(i), StatusLimit, "PAIR")
	}
}

// cutLink cuts the link until the next pause.
func (r *fsxRun) cutLink() {
	r.done["link cut"]++
	r.Link.Cut(true)
	r.cut = true
}

// healLink ends that.
func (r *fsxRun) healLink() {
	if r.cut {
		r.Link.Cut(false)
		r.AwaitLink()
		r.cut = false
	}
}

// takeover exchanges the roles.
func (r *fsxRun) takeover() {
	r.t.Helper()
	r.done["takeover"]++
	r.close()
	for i := range r.testers {
		r.primary.AwaitDrained(r.paired(i))
	}
	if out, code := r.secondary.CLI("group", "takeover", r.group(r.secondary)); code != 0 {
		r.t.Fatalf("takeover at %s: exit status %d, %s", r.secondary.Name, code, out)
	}
	r.primary, r.secondary = r.secondary, r.primary
	r.open()
	for i := range r.testers {
		r.primary.Wait(r.paired(i), StatusLimit, "PAIR")
		r.secondary.Wait(r.paired(i), StatusLimit, "PAIR")
	}
}

// group is the name of the group at a site.
func (r *fsxRun) group(at *Site) string {
	if at == r.A {
		return "g"
	}
	return "g@tokyo"
}

// TestFsxRepeats proves that a seed chooses the same operations again.
func TestFsxRepeats(t *testing.T) {
	t.Parallel()
	seed := Seed(t)
	var logs [2]string
	for i := range logs {
		f, log := localFsx(t, seed, nil)
		if err := f.run(500); err != nil {
			t.Fatal(err)
		}
		logs[i] = log.String()
	}
	if logs[0] != logs[1] {
		t.Error("the same seed chose other operations")
	}
	seen := map[fsxKind]bool{}
	plan := fsxPlan{rng: rand.New(rand.NewPCG(seed, 0)), models: []*fsxModel{newFsxModel(false, mib, mib)}}
	for range 2000 {
		seen[plan.next().Kind] = true
	}
	if len(seen) != int(fsxKinds) {
		t.Errorf("2000 operations were of the kinds %v only", slices.Sorted(maps.Keys(seen)))
	}
}
