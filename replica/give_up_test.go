package replica

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// inLU runs a test in a world in which the pairs of group g are suspended each alone when its S-VOL fails.
func inLU(t *testing.T, run func(t *testing.T, w *world, g *simGroup, tokyo, osaka *simSite)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		for _, name := range w.groups[0].w.names {
			for _, s := range w.sites {
				must(t, s.site.SetPair(context.Background(), name, map[string]string{"error-level": "lu"}))
			}
		}
		run(t, w, w.groups[0], w.sites[0], w.sites[1])
	})
}

// TestI4GivenUpAndKilled: an S-VOL that was given up is no image of one moment, also for a daemon that is started behind a kill which came
// before its pair could be suspended.
func TestI4GivenUpAndKilled(t *testing.T) {
	inLU(t, func(t *testing.T, w *world, g *simGroup, tokyo, osaka *simSite) {
		own := g.at(osaka, g.restored())
		own.cmd.Lock() // a command is under way
		osaka.disks.change(func(d *simDisks) { d.stores = unix.EIO })
		for i := range int64(8) {
			must(t, g.w.write(context.Background(), 0, 200*i, 4, true))
		}
		w.until("it was given up", own.members[1].torn.Load)
		time.Sleep(time.Minute) // of virtual time: checkpoints are due. The journal lets go of what the store lacks only if it is stored that it was given up
		own.restoreMu.Lock()
		passed := own.checkpoint == own.journal.Marks().Durable
		own.restoreMu.Unlock()
		osaka.disks.change((*simDisks).well)
		osaka.die(own.cmd.Unlock)
		osaka.start()
		if passed && osaka.site.pairByName("x").rec.State.Consistent {
			t.Error("the S-VOL counts as an image of one moment")
		}
		w.look()
		if passed {
			w.until("the pair is suspended", func() bool { return osaka.status("x").Status == PSUE && tokyo.status("x").Status == PSUE })
		}
		if osaka.status("y").Status != PAIR {
			t.Error("the other pair was suspended too")
		}
		w.finish()
	})
}

// TestSplitIsNotGivenUp: what hosts wrote to a split S-VOL is not given up with a store that takes nothing for a while.
func TestSplitIsNotGivenUp(t *testing.T) {
	inLU(t, func(t *testing.T, w *world, g *simGroup, tokyo, osaka *simSite) {
		ctx := context.Background()
		must(t, tokyo.site.SuspendGroup(ctx, "g", SuspendOptions{SVOLWrite: true}))
		w.until("the pairs are split", func() bool { return tokyo.status("x").Status == PSUS && osaka.status("x").Status == PSUS })
		osaka.disks.change(func(d *simDisks) { d.stores = unix.EIO })
		own := &writer{t: t, node: osaka.node, names: []string{"x"}, h: newHistory()}
		must(t, own.write(ctx, 0, 7, 3, true))
		w.until("the store was tried", func() bool { return ailing(osaka.site) })
		time.Sleep(time.Minute)
		own.check(osaka.node, everyAck)
		osaka.disks.change((*simDisks).well)
		w.until("the stores take it", func() bool { return !ailing(osaka.site) })
		own.check(osaka.node, everyAck)
		osaka.die(nil)
		osaka.start()
		own.check(osaka.node, everyAck)
		g.dirty["x"], g.dirty["y"] = true, true
		w.finish()
	})
}

// TestGivenUpIsNotTakenOver: an S-VOL that was given up alone, and whose pair is in PAIR until that can be stepped, is not gone on with: it lacks what
// was marked instead.
func TestGivenUpIsNotTakenOver(t *testing.T) {
	inLU(t, func(t *testing.T, w *world, g *simGroup, tokyo, osaka *simSite) {
		ctx := context.Background()
		w.until("both say PAIR", func() bool { return osaka.status("x").PeerStatus == "PAIR" && osaka.status("y").PeerStatus == "PAIR" })
		own := g.at(osaka, g.restored())
		own.cmd.Lock() // no fact is obeyed
		goOn := sync.OnceFunc(own.cmd.Unlock)
		defer goOn()
		osaka.disks.change(func(d *simDisks) { d.stores = unix.EIO })
		must(t, g.w.write(ctx, 0, 7, 3, true))
		w.until("it was given up", own.members[1].torn.Load)
		for _, in := range []Input{CmdTakeover, EvSwapped} {
			_, _, err := own.stepAll(in, own.allPairs())
			refused(t, err, KindBusy)
			says(t, err, "no image of one moment")
		}
		refused(t, own.awaitSeq(ctx, 0, own.allPairs()), KindBusy)
		goOn()
		osaka.disks.change((*simDisks).well)
		w.until("the pair is suspended", func() bool { return osaka.status("x").Status == PSUE && tokyo.status("x").Status == PSUE })
		w.finish()
	})
}

// TestNotGivenUpAtATakeover: at the moment at which a group is taken over a store that takes nothing is no reason to give its S-VOL up alone: what it
// did not take stays in the journal.
func TestNotGivenUpAtATakeover(t *testing.T) {
	inLU(t, func(t *testing.T, w *world, g *simGroup, tokyo, osaka *simSite) {
		ctx := context.Background()
		own := g.at(osaka, g.restored())
		own.cmd.Lock()
		letGo := own.keepWhole()
		osaka.disks.change(func(d *simDisks) { d.stores = unix.EIO })
		must(t, g.w.write(ctx, 0, 7, 3, true))
		w.until("the store was tried", func() bool { return ailing(osaka.site) })
		for _, p := range own.allPairs() {
			if p.att.torn.Load() {
				t.Errorf("%s was given up", p.name)
			}
		}
		letGo()
		own.cmd.Unlock()
		osaka.disks.change((*simDisks).well)
		w.until("the stores take it", func() bool { return !ailing(osaka.site) })
		w.finish()
	})
}
