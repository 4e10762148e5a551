package replica

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"pairfs/journal"
)

// slowFS is a disk on which the journals of one group take as long to be made as the test wants.
type slowFS struct {
	journal.FS
	group   string
	begun   atomic.Bool
	passing atomic.Bool // journal volumes are made as ever
	release chan struct{}
}

func newSlowFS(t *testing.T, group string) (f *slowFS, goOn func()) {
	f = &slowFS{FS: journal.OS, group: group, release: make(chan struct{})}
	var once atomic.Bool
	goOn = func() {
		if once.CompareAndSwap(false, true) {
			close(f.release)
		}
	}
	t.Cleanup(goOn)
	return f, goOn
}

func (f *slowFS) Create(name string) (journal.File, error) {
	if filepath.Base(filepath.Dir(name)) == f.group && !f.passing.Load() {
		f.begun.Store(true)
		<-f.release
	}
	return f.FS.Create(name)
}

// unhindered fails the test where a command waits for what it has nothing to do with.
func unhindered(t *testing.T, what string, command func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- command() }()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	case <-time.After(time.Minute):
		t.Fatalf("%s waits for a journal that is being made", what)
	}
}

// TestMakingHoldsNobody: while a journal is written other commands go on, and only who means the same group waits.
func TestMakingHoldsNobody(t *testing.T) {
	t.Parallel()
	fs, goOn := newSlowFS(t, "big")
	d := newDuo(t, withJournal("tokyo", fs))
	s, ctx := d.a.site, context.Background()
	first, second := make(chan error, 1), make(chan error, 1)
	create := func(done chan error) {
		done <- s.CreateGroup(ctx, GroupSpec{Name: "big", Size: journalMin})
	}
	go create(first)
	d.wait("the journal is being made", fs.begun.Load)
	memory := s.Status().MemoryUsed
	if memory == 0 {
		t.Error("the memory of a group that is being made counts as free")
	}
	unhindered(t, "a new volume", func() error { _, err := s.CreateVolume("v"); return err })
	unhindered(t, "another group", func() error { return s.CreateGroup(ctx, GroupSpec{Name: "small", Size: journalMin}) })
	unhindered(t, "an option", func() error { return s.SetSite(ctx, map[string]string{"copies": "3"}) })
	go create(second)
	if len(s.Status().Groups) != 1 {
		t.Errorf("%d groups are shown", len(s.Status().Groups))
	}
	goOn()
	must(t, <-first)
	refused(t, <-second, KindExists)
	if got := len(s.Status().Groups); got != 2 {
		t.Errorf("%d groups are there", got)
	}
}

// TestAddingIsShown: while a journal volume is being written the group says so, and its commands go on.
func TestAddingIsShown(t *testing.T) {
	t.Parallel()
	fs, goOn := newSlowFS(t, "g")
	fs.passing.Store(true)
	d := newDuo(t, withJournal("tokyo", fs))
	d.a.group("g")
	fs.passing.Store(false)
	done := make(chan error, 1)
	go func() { done <- d.a.site.AddJournalVolume(context.Background(), "g", journalMin) }()
	d.wait("the journal volume is being made", fs.begun.Load)
	if g := d.a.groupStatus("g"); g.Adding != journalMin || len(g.JournalVolumes) != 1 {
		t.Errorf("%d bytes are shown as being added to %d journal volumes", g.Adding, len(g.JournalVolumes))
	}
	unhindered(t, "an option", func() error {
		return d.a.site.SetGroup(context.Background(), "g", map[string]string{"copy-pace": "high"})
	})
	goOn()
	must(t, <-done)
	if g := d.a.groupStatus("g"); g.Adding != 0 || len(g.JournalVolumes) != 2 {
		t.Errorf("%d bytes are shown as being added to %d journal volumes when it is done", g.Adding, len(g.JournalVolumes))
	}
}

// TestMakingTheRestoreJournal: the same at the secondary's side of a create, whose volume nobody can take away meanwhile.
func TestMakingTheRestoreJournal(t *testing.T) {
	t.Parallel()
	fs, goOn := newSlowFS(t, "g@tokyo")
	d := newDuo(t, withJournal("osaka", fs))
	d.a.group("g")
	d.a.volume("x")
	done := make(chan error, 1)
	go func() {
		done <- d.a.site.CreatePair(context.Background(), PairSpec{Name: "x", Volume: "x", Peer: "osaka", Group: "g"})
	}()
	d.wait("the restore journal is being made", fs.begun.Load)
	unhindered(t, "a new volume", func() error { _, err := d.b.site.CreateVolume("v"); return err })
	refused(t, d.b.site.RemoveVolume("x"), KindBusy)
	refused(t, d.b.site.RenameVolume("x", "z"), KindBusy)
	goOn()
	must(t, <-done)
	d.a.awaitBoth(PAIR, "x")
	must(t, d.a.site.DeletePair(context.Background(), "x", DeleteOptions{}))
	d.b.await(SMPL, "x")
	unhindered(t, "the volume", func() error { return d.b.site.RemoveVolume("x") })
}

// TestCloseWaitsForMaking: a site that closes leaves no half made group behind.
func TestCloseWaitsForMaking(t *testing.T) {
	t.Parallel()
	fs, goOn := newSlowFS(t, "big")
	d := newDuo(t, withJournal("tokyo", fs))
	s := d.a.site
	made := make(chan error, 1)
	go func() { made <- s.CreateGroup(context.Background(), GroupSpec{Name: "big", Size: journalMin}) }()
	d.wait("the journal is being made", fs.begun.Load)
	closed := make(chan struct{})
	go func() { d.a.close(); close(closed) }()
	d.wait("the site is closing", func() bool {
		if !s.cmd.TryLock() {
			return false
		}
		defer s.cmd.Unlock()
		return s.closing
	})
	goOn()
	refused(t, <-made, KindBusy)
	<-closed
	d.a.open()
	if n := len(d.a.site.Status().Groups); n != 0 {
		t.Errorf("%d groups are there", n)
	}
	must(t, d.a.site.CreateGroup(context.Background(), GroupSpec{Name: "big", Size: journalMin}))
}
