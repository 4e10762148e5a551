package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"pairfs/e2e"
)

// growthSizes is what grows, from the least on.
var growthSizes = struct {
	pairs    []int
	volumes  []int64
	journals []int64
	started  []int
}{
	pairs:    []int{1, 10, 100},
	volumes:  []int64{1 << 30, 1 << 40},
	journals: []int64{64 << 20, 1 << 30, 64 << 30},
	started:  []int{100, 200},
}

const (
	growthLimit = 20 * time.Minute
	growthHosts = 32        // volumes that are written at a time at most: fio takes 4 KiB of names
	growthSet   = 256 << 20 // bytes that hosts write over, on however many volumes
	growthRoom  = 8 << 30   // of the disk that is left beside the largest journal
)

// growth measures what a write costs with more pairs, larger volumes and larger journals, and how long a site with more volumes takes to start.
func (b *benchmark) growth() error {
	for _, do := range []func() error{b.morePairs, b.largerVolumes, b.largerJournals, b.moreVolumes} {
		if err := do(); err != nil {
			return fmt.Errorf("growth: %w", err)
		}
	}
	return nil
}

// journalGroup makes a group whose hosts are held to what the peer takes.
func (b *benchmark) journalGroup(name string, size int64) {
	b.tokyo.Do("groups/"+name, fmt.Sprintf("create size=%d inflow-control=yes overflow-watch=600s", size))
}

// sparsePairs makes pairs in a group, of new volumes without data that are named like them, from number first up to below end.
func (b *benchmark) sparsePairs(group, name string, first, end int, size int64) {
	for i := first; i < end; i++ {
		v := fmt.Sprintf("%s%d", name, i)
		b.tokyo.MakeVolume(v, size)
		b.tokyo.Do(v, fmt.Sprintf("create volume=%s peer=osaka group=%s", v, group))
	}
	for i := first; i < end; i++ {
		b.tokyo.Wait(fmt.Sprintf("%s%d", name, i), 5*time.Minute, "PAIR")
	}
}

// morePairs measures with pairs in one group, hosts writing to all of them, or to growthHosts.
func (b *benchmark) morePairs() error {
	b.journalGroup("many", 1<<30)
	have := 0
	for _, n := range growthSizes.pairs {
		b.sparsePairs("many", "many", have, n, growthSet)
		have = n
		var pairs []string
		for i := range min(n, growthHosts) {
			pairs = append(pairs, fmt.Sprintf("many%d", i*n/min(n, growthHosts)))
		}
		name := fmt.Sprintf("%d pairs in a group", n)
		if err := b.costOf(name, "many", pairs, growthSet); err != nil {
			return err
		}
		b.restOf(name)
	}
	return nil
}

// largerVolumes measures with one volume, of which hosts write the first part, or all.
func (b *benchmark) largerVolumes() error {
	b.journalGroup("size", 1<<30)
	for i, size := range growthSizes.volumes {
		b.sparsePairs("size", "size", i, i+1, size)
		pair := fmt.Sprintf("size%d", i)
		name := fmt.Sprintf("a volume of %d GiB", size>>30)
		if err := b.costOf(name, "size", []string{pair}, growthSet); err != nil {
			return err
		}
		b.tokyo.Do(pair, "suspend")
		b.osaka.Wait(pair, drainLimit, "SSUS")
		b.tokyo.Wait(pair, drainLimit, "PSUS")
		const region = 64 << 10
		if _, err := dirtyRegions(b.tokyo.Path(pair), growthSet/region, 10, region); err != nil {
			return err
		}
		began := time.Now()
		b.tokyo.Do(pair, "resync")
		b.tokyo.Wait(pair, drainLimit, "PAIR")
		b.say(figure{Section: "growth", Name: name + ", resync of 25 MiB", Value: time.Since(began).Seconds() * 1e3, Unit: "ms"})
		if size > growthSet*4 {
			if err := b.costOf(name+", written all over", "size", []string{pair}, size); err != nil {
				return err
			}
		}
	}
	return nil
}

// largerJournals measures with one pair in groups of their own, and what making the journal costs. The largest is as large as the disk allows.
func (b *benchmark) largerJournals() error {
	for i, size := range growthSizes.journals {
		free, err := roomIn(b.r.dir)
		if err != nil {
			return err
		}
		for 2*size > free-growthRoom && size > 1<<30 { // both sites have one
			size /= 2
		}
		group := fmt.Sprintf("journal%d", i)
		began := time.Now()
		b.journalGroup(group, size)
		name := fmt.Sprintf("a journal of %d MiB", size>>20)
		b.say(figure{Section: "growth", Name: name + ", making it", Value: time.Since(began).Seconds(), Unit: "s"})
		b.sparsePairs(group, group+"-", 0, 1, growthSet)
		if err := b.costOf(name, group, []string{group + "-0"}, growthSet); err != nil {
			return err
		}
	}
	return nil
}

// moreVolumes measures how long a site takes from its start until hosts may write, behind an orderly end and behind kill -9.
func (b *benchmark) moreVolumes() error {
	have := growthSizes.pairs[len(growthSizes.pairs)-1]
	for _, n := range growthSizes.started {
		b.sparsePairs("many", "many", have, n, growthSet)
		have = n
		for _, end := range []struct {
			name string
			do   func()
		}{{"an orderly end", b.tokyo.Stop}, {"kill -9", b.tokyo.Kill9}} {
			end.do()
			began := time.Now()
			b.tokyo.Restart()
			name := fmt.Sprintf("start with %d pairs behind %s", n, end.name)
			b.say(figure{Section: "growth", Name: name, Value: time.Since(began).Seconds(), Unit: "s"})
			e2e.Until(b.r, drainLimit, "the mirror is up", func() bool { return b.tokyo.Get("groups/many")["linked"] == "yes" })
			b.say(figure{Section: "growth", Name: name + ", until its mirror is up", Value: time.Since(began).Seconds(), Unit: "s"})
		}
	}
	return nil
}

// costOf runs random writes of 4 KiB, 16 at a time, on the volumes of the pairs, within size bytes of them all, and says how many there were a
// second and what processor time each took both sites until the secondary had it.
func (b *benchmark) costOf(name, group string, pairs []string, size int64) error {
	var paths []string
	for _, p := range pairs {
		paths = append(paths, b.tokyo.Path(p))
	}
	pids := []int{b.tokyo.Pid(), b.osaka.Pid()}
	var rates, costs []float64
	for round := range b.plan.rounds {
		j := jobs[1]
		j.seed = 1 + round
		before := processor(pids)
		s, err := j.run(b.r.ctx, b.r.dir, strings.Join(paths, ":"), size, b.plan.length)
		if err != nil {
			return err
		}
		e2e.Until(b.r, drainLimit, "the secondary holds everything", func() bool { return b.tokyo.Get("groups/" + group)["lag-records"] == "0" })
		rates, costs = append(rates, s.rate), append(costs, (processor(pids)-before).Seconds()/(s.bytes/4096)*1e6)
	}
	slices.Sort(rates)
	slices.Sort(costs)
	b.say(figure{Section: "growth", Name: name, Value: rates[len(rates)/2], Unit: "writes/s"})
	b.say(figure{Section: "growth", Name: name + ", processor time", Value: costs[len(costs)/2], Unit: "µs a write"})
	return nil
}

// restOf says what the pairs cost when nobody writes, and the memory of both sites.
func (b *benchmark) restOf(name string) {
	e2e.Until(b.r, drainLimit, "both sites have checkpointed", func() bool {
		return b.tokyo.Int("groups/many", "used-bytes") == 0 && b.osaka.Int("groups/many@tokyo", "used-bytes") == 0
	})
	pids := []int{b.tokyo.Pid(), b.osaka.Pid()}
	before, began := processor(pids), time.Now()
	time.Sleep(5 * time.Second) // what is measured is time in which nothing happens
	b.say(figure{Section: "growth", Name: name + ", idle, both sites", Value: 100 * (processor(pids) - before).Seconds() / time.Since(began).Seconds(), Unit: "% of a core"})
	for _, s := range []*e2e.Site{b.tokyo, b.osaka} {
		b.say(figure{Section: "growth", Name: name + ", memory of " + s.Name, Value: float64(footprintOf(s).Resident) / (1 << 20), Unit: "MiB"})
	}
}
