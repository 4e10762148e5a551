package replica

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pairfs/journal"
)

// What the disk of the journals does to them at rest.

// neededRecord finds a record of an update that a closed journal must hold.
func (n *node) neededRecord(group string) journal.DumpRecord {
	n.t.Helper()
	var found journal.DumpRecord
	var head journal.Position
	must(n.t, withChecker(n.cfg.StateDir, func(Finding) {}, func(c *checker) error {
		head = c.marks[group].Head.Position
		_, _, bad, err := c.records(group, func(r *journal.DumpRecord) {
			if found.Size == 0 && r.Kind == journal.KindUpdate {
				found = *r
			}
		})
		if bad != nil {
			return bad
		}
		return err
	}))
	if found.Size == 0 {
		n.t.Fatalf("the journal of group %s holds no update behind position %d", group, head)
	}
	return found
}

// journalWrecks are what may become of the only volume of a journal that holds what is needed. other is the file of another journal, before what it
// was some time ago.
var journalWrecks = []struct {
	name  string
	wreck func(file []byte, needed journal.DumpRecord, before, other []byte) []byte
	check []string // what check says
	back  bool     // the good one comes back, else the journal is given up
	long  bool     // for make disks alone
}{
	{"a flip in a payload", func(b []byte, r journal.DumpRecord, _, _ []byte) []byte {
		return flip(b, int(r.FileOffset)+journal.HeaderSize+100)
	},
		[]string{"BAD its journal is damaged", "in journal volume 1", " of volume "}, false, false},
	{"a flip in a header", func(b []byte, r journal.DumpRecord, _, _ []byte) []byte { return flip(b, int(r.FileOffset)+20) },
		[]string{"BAD its journal is damaged", "no record at position", "in journal volume 1 at offset"}, true, true},
	{"a flip in the header of the journal volume", func(b []byte, _ journal.DumpRecord, _, _ []byte) []byte { return flip(b, 33) },
		[]string{"BAD its journal cannot be read", "000001"}, true, true},
	{"its end is missing", func(b []byte, _ journal.DumpRecord, _, _ []byte) []byte { return b[:len(b)/2] }, []string{"BAD its journal cannot be read", "000001"}, false, true},
	{"it is gone", func(_ []byte, _ journal.DumpRecord, _, _ []byte) []byte { return nil }, []string{"BAD its journal cannot be read", "000001 is missing"}, true, false},
	{"an older one", func(_ []byte, _ journal.DumpRecord, before, _ []byte) []byte { return before }, []string{"BAD its journal is damaged", "was durable up to"}, false, true},
	{"of another group", func(_ []byte, _ journal.DumpRecord, _, other []byte) []byte { return other }, []string{"BAD its journal is damaged"}, true, false},
}

// TestWreckedJournal: a primary whose journal, which holds what the peer lacks, is damaged at rest starts, serves everything else, and says what to
// do; check names the journal volume and the place. With the good file back the group goes on by itself; given up it needs a resync. Nothing
// that hosts wrote is lost either way.
func TestWreckedJournal(t *testing.T) {
	t.Parallel()
	for _, row := range journalWrecks {
		if row.long && !longSweep() {
			continue
		}
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			d, w, rng := differ(t)
			d.a.group("h")
			d.cut()
			dir := filepath.Join(d.a.cfg.StateDir, "journals", "g")
			file := filepath.Join(dir, "000001")
			before, err := os.ReadFile(file)
			must(t, err)
			w.some(rng, 20)
			must(t, w.sync(t.Context(), 0))
			d.a.close()
			good, err := os.ReadFile(file)
			must(t, err)
			other, err := os.ReadFile(filepath.Join(d.a.cfg.StateDir, "journals", "h", "000001"))
			must(t, err)
			must(t, os.WriteFile(file, row.wreck(good, d.a.neededRecord("g"), before, other), 0o600))
			if fi, err := os.Stat(file); err == nil && fi.Size() == 0 {
				must(t, os.Remove(file))
			}
			said := d.a.findings()["group/g"]
			for _, word := range row.check {
				if !strings.Contains(said, word) {
					t.Errorf("check says %q", said)
				}
			}
			d.a.open()
			if st := d.a.groupStatus("g"); st.Failed == "" || d.a.groupStatus("h").Failed != "" || d.a.tells("group/g", "move "+dir+" away and start again") != 1 {
				t.Errorf("what is wrong is not told: %+v, %v", st, d.a.site.Events())
			}
			if said := d.a.groupStatus("g").Failed; strings.Count(said, "take over at osaka first") != 1 || strings.Contains(said, "delete the group") || strings.Contains(said, "suspend the group") {
				t.Errorf("the way back is not told, or another one too: %s", said)
			}
			err = w.write(t.Context(), 0, 1, 1, false)
			refused(t, err, KindInternal)
			if errors.Is(err, fs.ErrNotExist) {
				t.Errorf("hosts are told that their volume is not there: %v", err)
			}
			if d.a.status("x").Status != PAIR {
				t.Errorf("the pair is %s, and nothing is known of it", d.a.status("x").Status)
			}
			if row.back {
				must(t, os.WriteFile(file, good, 0o600))
				d.wait("the group goes on by itself", func() bool { return d.a.groupStatus("g").Failed == "" })
				w.check(d.a, everyAck)
				d.heal()
				d.wait("the link is up", d.a.linked)
				d.a.awaitBoth(PAIR, "x", "y")
				d.a.suspend("g", SuspendOptions{}, "x", "y")
				d.wantEqual("x", "y")
				return
			}
			d.a.close()
			must(t, os.Rename(dir, filepath.Join(t.TempDir(), "g")))
			if said := d.a.findings()["group/g"]; !strings.HasPrefix(said, "BAD its journal is not there any more: the next start makes it anew") || !strings.Contains(said, "if tokyo was not stopped in good order") {
				t.Errorf("check says %q", said)
			}
			d.a.open()
			d.a.await(PSUE, "x", "y")
			if st := d.a.status("x"); st.Suspend != MCUInitialized || !strings.Contains(st.LastError, "resync from the primary") || !strings.Contains(st.LastError, "take over at osaka first") {
				t.Errorf("the pair is %+v", st)
			}
			w.check(d.a, everyAck)
			d.heal()
			d.wait("the link is up", d.a.linked)
			d.b.await(PSUE, "x", "y")
			d.mend()
			w.check(d.b, everyAck)
		})
	}
}

// TestWreckedRestoreJournal: the same at a secondary that was killed with records that its stores lack. It is no image then, so it cannot be taken over
// before a resync.
func TestWreckedRestoreJournal(t *testing.T) {
	t.Parallel()
	d, w, rng := differ(t)
	g := d.b.site.groupByName("g@tokyo")
	goOn := g.stopRestore()
	w.some(rng, 10)
	must(t, w.sync(t.Context(), 0))
	last := d.a.groupStatus("g").AppendedSeq
	d.wait("it is durable at the secondary", func() bool { return d.a.groupStatus("g").PeerDurable >= last })
	d.b.crash(goOn)
	dir := filepath.Join(d.b.cfg.StateDir, "journals", "g@tokyo")
	file := filepath.Join(dir, "000001")
	good, err := os.ReadFile(file)
	must(t, err)
	must(t, os.WriteFile(file, flip(good, int(d.b.neededRecord("g@tokyo").FileOffset)+journal.HeaderSize+100), 0o600))
	d.b.open()
	if d.b.tells("group/g@tokyo", "move "+dir+" away and start again") != 1 {
		t.Errorf("what is wrong is not told: %v", d.b.site.Events())
	}
	refused(t, d.b.site.TakeoverGroup(t.Context(), "g@tokyo", TakeoverOptions{}), KindBusy)
	must(t, w.write(t.Context(), 0, 3, 1, true)) // the primary's hosts notice nothing
	d.b.close()
	must(t, os.Rename(dir, filepath.Join(t.TempDir(), "g")))
	d.b.open()
	d.a.awaitBoth(PSUE, "x", "y")
	if st := d.b.status("x"); st.Consistent || !strings.Contains(st.LastError, "resync from the primary") {
		t.Errorf("the S-VOL is %+v", st)
	}
	d.mend()
	w.check(d.b, everyAck)
}
