package replica

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pairfs/journal"
	"pairfs/quicwire"
)

// A secondary that names numbers which were never given here has a journal of another history. Nothing that it says may free a record or
// end a copy.
func TestPeerAheadIsRefused(t *testing.T) {
	d := newDuo(t)
	d.a.group("g")
	d.a.volume("v")
	d.a.pair("g", "v")
	g := d.a.site.groupByName("g")
	last := g.journal.Marks().LastSeq
	f := &feedSession{g: g, peer: "osaka"}
	if _, err := f.begin(&quicwire.MirrorOpen{Group: "g", DurableSeq: uint64(last) + 1}); err == nil {
		t.Error("a mirror of another history was accepted")
	}
	g.mu.Lock()
	live := g.session
	g.mu.Unlock()
	live.request(&quicwire.ReadJournal{DurableSeq: 1 << 60, RestoredSeq: 1 << 60})
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.peerDurable > last || g.peerRestore > last {
		t.Errorf("the peer is believed to hold %d and %d of %d", g.peerDurable, g.peerRestore, last)
	}
}

// A restore group that a crash left without pairs goes at the next start, and one that is still there when the peer makes a pair makes
// room for a new one, whose numbers begin with those of the peer's group.
func TestRestoreGroupWithoutPairs(t *testing.T) {
	d := newDuo(t)
	d.a.group("g")
	d.a.volume("v")
	d.b.site.cmd.Lock()
	if _, err := d.b.site.addGroup("g@tokyo", groupRecord{Role: Secondary, Size: journalMin, Volumes: 1}); err != nil {
		t.Fatal(err)
	}
	d.b.site.groupByName("g@tokyo").lastSeq = 1000
	d.b.site.cmd.Unlock()
	d.a.pair("g", "v")
	d.wantEqual("v")
	d.b.site.cmd.Lock()
	if _, err := d.b.site.addGroup("h@tokyo", groupRecord{Role: Secondary, Size: journalMin, Volumes: 1}); err != nil {
		t.Fatal(err)
	}
	d.b.site.cmd.Unlock()
	d.b.reopen()
	d.wait("the group without pairs goes", func() bool { return d.b.site.groupByName("h@tokyo") == nil })
	d.b.await(PAIR, "v")
}

// A crash between the journal and its group leaves a journal that nobody knows; the next group of that name must not stumble over it.
func TestJournalWithoutGroup(t *testing.T) {
	d := newDuo(t)
	dir := filepath.Join(d.a.cfg.StateDir, "journals", "g")
	must(t, journal.Create(journal.Options{Dir: dir}, journalMin))
	d.a.group("g")
}

// The store of a removed volume is closed with the last handle, which gives its space back.
func TestRemovedVolumeIsClosed(t *testing.T) {
	d := newDuo(t)
	for _, open := range []bool{false, true} {
		v := d.a.volume("v")
		if open {
			v.Opened(true)
		}
		must(t, d.a.site.RemoveVolume("v"))
		if open {
			if _, err := v.store.size(); err != nil {
				t.Fatalf("closed under an open handle: %v", err)
			}
			v.Closed(true)
		}
		if _, err := v.store.size(); err == nil {
			t.Fatal("the store is still open")
		}
	}
	if _, err := os.Stat(d.a.site.storePath("v")); err == nil {
		t.Fatal("the store is still there")
	}
}

// A command on a group may wait for the peer for a long time. Who wants to remove the group waits for it, and holds nobody else's commands up.
func TestGroupRemovedBehindACommand(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	d.a.group("g")
	s := d.a.site
	g := s.groupByName("g")
	g.cmd.Lock() // as a command does that waits for the peer
	ctx, cancel := context.WithTimeout(t.Context(), 10*removeRetry)
	defer cancel()
	err := s.removeIdle(ctx, g)
	refused(t, err, KindBusy)
	done := make(chan struct{})
	go func() { defer close(done); s.dropGroup(g) }()
	d.a.volume("v") // needs the lock of commands that add and remove
	if s.groupByName("g") != g {
		t.Fatal("a group went under a command")
	}
	g.cmd.Unlock()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("the group stays when the command has ended")
	}
	if s.groupByName("g") != nil {
		t.Fatal("the group is still there")
	}
}
