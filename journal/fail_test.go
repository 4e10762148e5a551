package journal_test

import (
	"errors"
	"testing"

	"pairfs/journal"
	"pairfs/journal/journaltest"
)

// TestFailNth fails the n-th operation of a session for every n: what Sync promised before is there after a power cut, errors name
// their cause, and nothing hangs.
func TestFailNth(t *testing.T) {
	for _, life := range []string{"power cut", "kill"} {
		t.Run(life, func(t *testing.T) {
			ring := ""
			if life == "kill" {
				ring = ringPath(t)
			}
			for n, failed := 0, true; failed; n++ {
				fsys := journaltest.NewFS()
				o := options(fsys, ring)
				create(t, o, 1)
				fsys.Inject(journaltest.FailNth(n))
				published, synced := session(t, o)
				failed = fsys.Injected()
				fsys.Inject(nil)
				need := synced
				if life == "kill" {
					fsys.Kill()
					need = published
				} else {
					fsys.Crash(uint64(n), 4096)
				}
				j, _, list := open(t, o, journal.Head{}, 0)
				checkUpdates(t, list, 1, journal.Seq(len(list)))
				if journal.Seq(len(list)) < need {
					t.Fatalf("operation %d failed: %d records came back, %d were promised", n, len(list), need)
				}
				closeOK(t, j)
			}
		})
	}
}

// session opens, appends, syncs, reads and closes until something fails, and gives the last published and synced numbers.
func session(t *testing.T, o journal.Options) (published, synced journal.Seq) {
	t.Helper()
	check := func(err error) bool {
		t.Helper()
		if err != nil && !errors.Is(err, journaltest.ErrInjected) {
			t.Fatalf("error does not name its cause: %v", err)
		}
		return err == nil
	}
	j, _, err := journal.Open(o, journal.Head{}, 0, nil)
	if !check(err) {
		return 0, 0
	}
	defer func() { check(j.Close()) }()
	for i := range 6 {
		r, err := j.Reserve(t.Context(), journal.Header{Kind: journal.KindUpdate, Length: uint64(i * 3000)})
		if !check(err) {
			return published, synced
		}
		journaltest.Fill(r.Seq, r.Payload)
		j.Publish(r, r.Checksum())
		published = r.Seq
		if i%2 == 1 && check(j.Sync(t.Context(), r.End)) {
			synced = r.Seq
		}
	}
	_, _, err = j.NewCursor(0).Read(make([]byte, 2*mib), mib)
	check(err)
	return published, synced
}

// TestReadFailure: a disk that cannot be read is not taken for the end of the journal.
func TestReadFailure(t *testing.T) {
	fsys, o, _, _ := three(t)
	for n, failed := 0, true; failed; n++ {
		fsys.Inject(journaltest.FailNth(n, journaltest.OpRead))
		j, rec, err := journal.Open(o, journal.Head{}, 0, nil)
		failed = fsys.Injected()
		fsys.Inject(nil)
		if failed {
			wantIs(t, err, journaltest.ErrInjected)
			continue
		}
		if err != nil || rec.LastSeq != 3 {
			t.Fatalf("%+v, %v", rec, err)
		}
		closeOK(t, j)
	}
}
