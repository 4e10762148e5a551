package replica

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// fillable makes a duo with volume x in group g, y in group h, and a volume z in no pair; while full is set, the store of x at the site takes
// nothing.
func fillable(t *testing.T, site string) (d *duo, w *writer, full *atomic.Bool) {
	t.Helper()
	full = &atomic.Bool{}
	d = newDuo(t, withStores(site, probe(func(volume, what string, _ []byte, _ int64) error {
		if volume == "x" && what != "sync" && full.Load() {
			return unix.ENOSPC
		}
		return nil
	})))
	d.a.group("g")
	d.a.group("h")
	for _, v := range []string{"x", "y", "z"} {
		d.a.volume(v)
	}
	d.a.pair("g", "x")
	d.a.pair("h", "y")
	return d, newWriter(d.a, "x", "y", "z"), full
}

// servesOthers ends the test unless the volumes of other groups and in no pair are served, and x is not.
func (w *writer) servesOthers(want Kind) {
	w.t.Helper()
	must(w.t, w.write(w.t.Context(), 1, 7, 1, true))
	must(w.t, w.write(w.t.Context(), 2, 7, 1, true))
	refused(w.t, w.write(w.t.Context(), 0, 7, 1, false), want)
	x := w.node.vol("x")
	_, err := x.ReadAt(make([]byte, blockSize), 0)
	refused(w.t, err, KindInternal)
	refused(w.t, x.Sync(w.t.Context()), KindInternal)
	refused(w.t, x.Discard(w.t.Context(), 0, blockSize), want)
	refused(w.t, w.node.site.SuspendGroup(w.t.Context(), "g", SuspendOptions{}), KindBusy)
	refused(w.t, w.node.site.DeletePair(w.t.Context(), "x", DeleteOptions{Force: true}), KindBusy)
}

// A store that is full when a killed site starts keeps its own group from being served and nothing else; the group goes on by itself.
func TestFullStoreHoldsItsGroup(t *testing.T) {
	d, w, full := fillable(t, "tokyo")
	goOn := d.a.site.groupByName("g").stopRestore()
	must(t, w.write(t.Context(), 0, 1, 4, false))
	full.Store(true)
	goOn()
	d.a.crash(nil)
	d.a.open()
	w.servesOthers(KindNoSpace)
	if d.a.tells("group/g", "make room; it goes on by itself") != 1 || d.a.groupStatus("g").Failed == "" || d.a.groupStatus("h").Failed != "" {
		t.Errorf("what is wrong is not told: %+v", d.a.groupStatus("g"))
	}
	d.a.reopen() // a stop in between is in good order
	full.Store(false)
	d.wait("the group goes on by itself", func() bool { return d.a.groupStatus("g").Failed == "" })
	w.check(d.a, everyAck)
	must(t, w.write(t.Context(), 0, 9, 1, false))
	d.a.awaitBoth(PAIR, "x", "y")
	d.a.suspend("g", SuspendOptions{}, "x")
	d.wantEqual("x")
}

// A journal volume that is gone or empty keeps its group from being served and nothing else; the sentence says how to give the journal up.
func TestDamagedJournalHoldsItsGroup(t *testing.T) {
	for _, empty := range []bool{false, true} {
		d, w, _ := fillable(t, "")
		d.a.close()
		dir := filepath.Join(d.a.cfg.StateDir, "journals", "g")
		file := filepath.Join(dir, "000001")
		if empty {
			must(t, os.Truncate(file, 0))
		} else {
			must(t, os.Rename(file, filepath.Join(d.a.cfg.StateDir, "away")))
		}
		d.a.open()
		w.servesOthers(KindInternal)
		if d.a.tells("group/g", "move "+dir+" away and start again") != 1 {
			t.Error("it is not told how to go on")
		}
		for what, err := range map[string]error{
			"suspend": d.a.site.SuspendGroup(t.Context(), "g", SuspendOptions{}), "set": d.a.site.SetGroup(t.Context(), "g", map[string]string{"copy-pace": "high"}),
			"add-volume": d.a.site.AddJournalVolume(t.Context(), "g", journalMin), "remove-volume": d.a.site.RemoveJournalVolume(t.Context(), "g", 1),
		} {
			if KindOf(err) != KindBusy {
				t.Errorf("%s of a group that is held: %v", what, err)
			}
		}
		if !empty {
			must(t, os.Rename(filepath.Join(d.a.cfg.StateDir, "away"), file))
			d.wait("the group goes on by itself", func() bool { return d.a.groupStatus("g").Failed == "" })
			d.a.awaitBoth(PAIR, "x", "y")
			continue
		}
		d.a.close()
		must(t, os.RemoveAll(dir))
		d.a.open()
		d.a.awaitBoth(PSUE, "x")
		d.a.resync("g", "x")
	}
}

// A secondary whose store is full is freed by a forced delete, while it runs and when it could not be opened.
func TestForcedDeleteOfFullSecondary(t *testing.T) {
	for _, restart := range []bool{false, true} {
		d, w, full := fillable(t, "osaka")
		full.Store(true)
		must(t, w.write(t.Context(), 0, 1, 4, false))
		d.b.await(PSUE, "x")
		if said := d.b.groupStatus("g@tokyo").StoreError; !strings.Contains(said, "make room or mend the disk") {
			t.Errorf("of the store it says %q", said)
		}
		said := "what could not be restored to volume x is given up"
		if restart {
			d.b.crash(nil)
			d.b.open()
			d.wait("the group is held", func() bool { return d.b.groupStatus("g@tokyo").Failed != "" })
			said = "still held for it was given up"
		}
		must(t, d.b.site.DeletePair(t.Context(), "x", DeleteOptions{Force: true}))
		d.b.await(SMPL, "x")
		d.wait("the group goes", func() bool { return d.b.site.groupByName("g@tokyo") == nil })
		if d.b.tells("pair/x", said) != 1 {
			t.Error("it is not told that something was given up")
		}
		full.Store(false)
		must(t, d.b.site.RemoveVolume("x"))
	}
}

// What a group that is held says is over when it goes on, also what it answered to commands, and why its pair is suspended was not lost meanwhile.
func TestHeldGroupLeavesNoSentence(t *testing.T) {
	d, w, _ := fillable(t, "")
	d.cut()
	must(t, w.write(t.Context(), 0, 1, 1, false))
	must(t, d.a.site.SuspendPair(t.Context(), "x", SuspendOptions{}))
	d.a.await(PSUS, "x")
	why := d.a.status("x").Why
	d.a.close()
	file, away := filepath.Join(d.a.cfg.StateDir, "journals", "g", "000001"), filepath.Join(d.a.cfg.StateDir, "away")
	must(t, os.Rename(file, away))
	d.a.open()
	for range 2 {
		if st := d.a.status("x"); why == "" || st.Why != why || !strings.Contains(st.LastError, "is not served") {
			t.Errorf("while the group is held it says %q, and was suspended because %q, then %q", st.LastError, why, st.Why)
		}
		refused(t, d.a.site.ResyncPair(t.Context(), "x"), KindBusy)
	}
	must(t, os.Rename(away, file))
	d.wait("the group goes on by itself", func() bool { return d.a.groupStatus("g").Failed == "" })
	if st := d.a.status("x"); st.LastError != why || st.Why != why {
		t.Errorf("behind that it says %q, and was suspended because %q, then %q", st.LastError, why, st.Why)
	}
}
