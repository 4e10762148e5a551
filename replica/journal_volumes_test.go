package replica

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// journalIs ends the test unless the group has journal volumes of just these numbers, and their capacity. One that joins is used from the next round on.
func (n *node) journalIs(when, group string, numbers ...int) {
	n.t.Helper()
	var st GroupStatus
	low, high := int64(len(numbers))*journalMin-int64(len(numbers))<<16, int64(len(numbers))*journalMin
	err := waitFor(func() bool { // a volume that leaves goes when nothing in it is needed
		st = n.groupStatus(group)
		var have []int
		for _, v := range st.JournalVolumes {
			if v.State != "leaving" {
				have = append(have, v.Number)
			}
		}
		n.site.groupByName(group).kickCheckpoint()
		return slices.Equal(have, numbers) && len(st.JournalVolumes) == len(numbers) && low <= st.Capacity && st.Capacity <= high // one that joins is being filled
	})
	if err != nil {
		n.t.Fatalf("%s: journal volumes %+v with a capacity of %d, want %v (%v)", when, st.JournalVolumes, st.Capacity, numbers, err)
	}
}

// TestJournalVolumesInUse adds and removes journal volumes while hosts write, on both sides; they survive a restart, a crash, and the
// failure of the journal, which is made anew with those that there were.
func TestJournalVolumesInUse(t *testing.T) {
	t.Parallel()
	disk := newWatchedFS()
	d, w, rng := differ(t, withJournal("tokyo", disk))
	ctx := context.Background()
	add := func(n *node, group string) { t.Helper(); must(t, n.site.AddJournalVolume(ctx, group, journalMin)) }
	ended := make(chan struct{})
	stop := make(chan struct{})
	end := sync.OnceFunc(func() { close(stop); <-ended })
	t.Cleanup(end) // before the sites are closed
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			default:
				if err := w.write(ctx, rng.IntN(2), int64(rng.IntN(900)), 16, false); err != nil {
					t.Error(err)
					return
				}
			}
		}
	}()
	d.a.journalIs("at first", "g", 1)
	add(d.a, "g")
	add(d.b, "g@tokyo")
	add(d.a, "g")
	end()                                                   // inflow control keeps the journal of a host that never rests so full that no journal volume can go
	d.wait("a journal volume can be removed", func() bool { // it cannot while the journal is nearly full
		err := d.a.site.RemoveJournalVolume(ctx, "g", 2)
		if err != nil {
			refused(t, err, KindBusy)
		}
		return err == nil
	})
	d.a.journalIs("added and removed", "g", 1, 3)
	d.b.journalIs("added at the peer", "g@tokyo", 1, 2)

	refused(t, d.a.site.RemoveJournalVolume(ctx, "g", 2), KindInvalid)
	for _, number := range []int{-1, 0, 99} {
		err := d.a.site.RemoveJournalVolume(ctx, "g", number)
		refused(t, err, KindInvalid)
		says(t, err, "group g has no journal volume "+strconv.Itoa(number)+": it has 1, 3")
	}
	refused(t, d.a.site.RemoveJournalVolume(ctx, "nix", 1), KindNotFound)
	refused(t, d.a.site.AddJournalVolume(ctx, "nix", journalMin), KindNotFound)
	refused(t, d.a.site.AddJournalVolume(ctx, "g", journalMin-1), KindInvalid)
	refused(t, d.a.site.AddJournalVolume(ctx, "g", volumeMax), KindNoSpace)

	for _, n := range []*node{d.a, d.b} {
		n.reopen()
	}
	d.a.journalIs("after a restart", "g", 1, 3)
	d.b.journalIs("after a restart", "g@tokyo", 1, 2)
	for _, n := range []*node{d.a, d.b} {
		n.crash(nil)
		n.open()
	}
	d.a.journalIs("after a crash", "g", 1, 3)
	d.b.journalIs("after a crash", "g@tokyo", 1, 2)
	d.a.awaitBoth(PAIR, "x", "y")
	w.check(d.a, everyAck)

	giveUp(disk, "write")
	w.some(rng, 5)
	d.a.awaitBoth(PSUE, "x", "y")
	disk.failWith(nil)
	d.a.discard()
	d.a.open()
	d.a.journalIs("made anew", "g", 1, 2)
	d.wait("the link is up", d.a.linked)
	d.mend()
	w.check(d.b, everyAck)
}

// TestLastJournalVolumeStays: a journal keeps one volume, and one that is needed now goes later.
func TestLastJournalVolumeStays(t *testing.T) {
	t.Parallel()
	d, w, _ := differ(t)
	ctx := context.Background()
	refused(t, d.a.site.RemoveJournalVolume(ctx, "g", 1), KindBusy)
	must(t, d.a.site.AddJournalVolume(ctx, "g", journalMin))
	d.cut() // what is written stays in the journal
	must(t, w.write(ctx, 0, 0, 256, true))
	must(t, d.a.site.RemoveJournalVolume(ctx, "g", 1))
	if v := d.a.groupStatus("g").JournalVolumes[0]; v.Number != 1 || v.State != "leaving" || v.Used < 1<<20 {
		t.Errorf("the volume holds what the peer has not got, and is %+v", v)
	}
	d.a.crash(nil)
	d.a.open()
	if v := d.a.groupStatus("g").JournalVolumes[0]; v.Number != 1 || v.State != "leaving" {
		t.Errorf("after a crash it is %+v", v)
	}
	w.check(d.a, everyAck)
	d.heal()
	d.wait("the peer has it all", func() bool {
		d.b.site.groupByName("g@tokyo").kickCheckpoint()
		return d.a.groupStatus("g").Unrestored == 0
	})
	must(t, w.write(ctx, 0, 300, 1, true))
	d.a.journalIs("nothing in it is needed", "g", 2)
	for _, reopen := range []func(){func() {}, d.a.reopen} {
		reopen()
		if v := d.a.groupStatus("g").JournalVolumes[0]; v.State != "active" {
			t.Errorf("the only journal volume is %+v", v)
		}
	}
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	w.check(d.b, everyAck)
}

// TestNoRoomForAJournal: a full disk is told as such, here and at the peer, and nothing is left of what found no room.
func TestNoRoomForAJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		ctx, tokyo, osaka := context.Background(), w.sites[0], w.sites[1]
		for _, s := range w.sites {
			s.disks.noRoom = true
		}
		refused(t, tokyo.site.CreateGroup(ctx, GroupSpec{Name: "full", Size: journalMin}), KindNoSpace)
		refused(t, tokyo.site.AddJournalVolume(ctx, "g", journalMin), KindNoSpace)
		refused(t, osaka.site.AddJournalVolume(ctx, "g@tokyo", journalMin), KindNoSpace)
		tokyo.disks.noRoom = false
		tokyo.group("full")
		v, err := tokyo.site.CreateVolume("v")
		must(t, err)
		must(t, v.Resize(ctx, simSize))
		refused(t, tokyo.site.CreatePair(ctx, PairSpec{Name: "v", Volume: "v", Peer: "osaka", Group: "full"}), KindNoSpace)
		if osaka.site.groupByName("full@tokyo") != nil || osaka.site.pairByName("v") != nil || tokyo.site.pairByName("v") != nil {
			t.Error("something is left of the refused pair")
		}
		osaka.disks.noRoom = false
		must(t, tokyo.site.AddJournalVolume(ctx, "g", journalMin))
		tokyo.pair("full", "v")
		w.finish()
	})
}

// TestJournalsTakeTheirTime: what has to write a large file first is not given up because a caller has a deadline for commands.
func TestJournalsTakeTheirTime(t *testing.T) {
	t.Parallel()
	here, there := newWatchedFS(), newWatchedFS()
	d := newDuo(t, withJournal("tokyo", here), withJournal("osaka", there))
	d.a.group("g")
	d.a.volume("x")
	slowly := func(what string, disk *watchedFS, do func(context.Context) error) {
		t.Helper()
		goOn := disk.holdUp()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- do(ctx) }()
		<-ctx.Done()
		goOn()
		if err := <-done; err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	slowly("add-volume", here, func(ctx context.Context) error { return d.a.site.AddJournalVolume(ctx, "g", journalMin) })
	slowly("create", there, func(ctx context.Context) error {
		return d.a.site.CreatePair(ctx, PairSpec{Name: "x", Volume: "x", Peer: "osaka", Group: "g"})
	})
	d.a.awaitBoth(PAIR, "x")
	d.a.journalIs("added", "g", 1, 2)
}

// TestMostJournalVolumes: a group has 64 journal volumes at most, however it came to them.
func TestMostJournalVolumes(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	ctx := context.Background()
	refused(t, d.a.site.CreateGroup(ctx, GroupSpec{Name: "g", Size: journalMin, Volumes: journalVolumesMax + 1}), KindInvalid)
	refused(t, d.a.site.CreateGroup(ctx, GroupSpec{Name: "g", Size: journalMin, Volumes: -1}), KindInvalid)
	must(t, d.a.site.CreateGroup(ctx, GroupSpec{Name: "g", Size: journalMin, Volumes: journalVolumesMax}))
	err := d.a.site.AddJournalVolume(ctx, "g", journalMin)
	if refused(t, err, KindBusy); !strings.Contains(err.Error(), "there are 64, more are not allowed; remove one first") {
		t.Errorf("%v", err)
	}
	must(t, d.a.site.RemoveJournalVolume(ctx, "g", 1))
	d.wait("there is room for another one", func() bool {
		d.a.site.groupByName("g").kickCheckpoint()
		return d.a.site.AddJournalVolume(ctx, "g", journalMin) == nil
	})
	for n := 2; n < journalVolumesMax+1; n++ {
		must(t, d.a.site.RemoveJournalVolume(ctx, "g", n))
	}
	refused(t, d.a.site.RemoveJournalVolume(ctx, "g", journalVolumesMax+1), KindBusy)
	d.a.journalIs("all but the last removed", "g", journalVolumesMax+1)
	d.a.crash(nil)
	d.a.open()
	d.a.journalIs("after a crash", "g", journalVolumesMax+1)
}
