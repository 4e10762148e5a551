package replica

import (
	"os"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// killed gives a node whose daemon was killed while it wrote to a paired volume.
func killed(t *testing.T) (*node, *writer) {
	t.Helper()
	d := newDuo(t)
	d.a.group("g")
	d.a.volume("x")
	d.a.pair("g", "x")
	w := newWriter(d.a, "x")
	d.a.close()
	k := d.a.spawn(w, 2, testSeed(t))
	k.awaitAcks(200)
	k.kill()
	return d.a, w
}

// ringFolder makes a folder on tmpfs that goes when the node is closed.
func (n *node) ringFolder() string {
	t := n.t
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "pairfs-test-")
	must(t, err)
	t.Cleanup(func() { n.close(); os.RemoveAll(dir) })
	return dir
}

// A killed daemon's rings hold acknowledged writes: the site does not start with another folder, names the right one, and has them all when
// it is started with that. The word of an operator that the ring may be gone does not count while it is there.
func TestRingElsewhereRefused(t *testing.T) {
	n, w := killed(t)
	was, other := n.cfg.RingDir, n.ringFolder()
	n.cfg.RingDir = other
	for _, without := range []bool{false, true} {
		n.cfg.WithoutRing = without
		err := n.tryOpen()
		refused(t, err, KindInvalid)
		says(t, err, "site tokyo was killed and its staging rings are in "+was, "start with --ring-dir="+was)
	}
	if made, err := os.ReadDir(other); err != nil || len(made) != 0 {
		t.Errorf("a refused start made %v (%v)", made, err)
	}
	n.cfg.RingDir, n.cfg.WithoutRing = was, false
	n.open()
	w.check(n, everyAck)
	n.close()
	n.cfg.RingDir = other // it was stopped in good order
	n.open()
	w.check(n, everyAck)
}

// A ring that a killed daemon left and that is gone, or is not what it was, keeps the site from starting until the operator gives it up;
// then it is told what may be missing.
func TestRingGone(t *testing.T) {
	for _, empty := range []bool{false, true} {
		n, w := killed(t)
		ring := n.ringOf("g")
		if empty {
			must(t, os.Truncate(ring, 0))
		} else {
			must(t, os.Remove(ring))
		}
		for range 2 {
			err := n.tryOpen()
			refused(t, err, KindInternal)
			says(t, err, "the staging ring of group g", "is gone", "--without-ring")
		}
		n.cfg.WithoutRing = true
		n.open()
		if n.tells("group/g", "of volumes x the last writes") != 1 {
			t.Error("nothing is said of what may be missing")
		}
		w.check(n, whatever)
		n.reopen()
		if n.tells("group/g", "the last writes") != 0 {
			t.Error("a stop in good order is taken for a kill")
		}
	}
}

// ringOf gives the remembered path of a group's ring.
func (n *node) ringOf(group string) string {
	n.t.Helper()
	var path string
	n.withDatabase(func(tx *bolt.Tx) error {
		r, _, err := get[ringRecord](tx, bucketRings, group)
		path = r.Path
		return err
	})
	return path
}

// withDatabase runs a transaction on the database of a site that is not open.
func (n *node) withDatabase(do func(*bolt.Tx) error) {
	n.t.Helper()
	db, _, err := openDatabase(n.cfg.StateDir+"/site.db", n.cfg.Name)
	must(n.t, err)
	must(n.t, db.update(do))
	must(n.t, db.close())
}

// What the rings held before the machine was started anew went with its memory: nobody waits for it.
func TestRingOfEarlierBoot(t *testing.T) {
	n, w := killed(t)
	ring := n.ringOf("g")
	n.withDatabase(func(tx *bolt.Tx) error {
		return put(tx, bucketRings, "g", ringRecord{Path: ring, Boot: "an earlier one"})
	})
	must(t, os.Remove(ring))
	n.cfg.RingDir = n.ringFolder()
	n.open()
	w.check(n, whatever)
}

// A folder for rings that does not exist is made on tmpfs only: elsewhere it is a mistake.
func TestRingFolderMissing(t *testing.T) {
	n := newNode(t, "kyoto", nil)
	disk := "/nosuch-pairfs"
	n.cfg.RingDir = disk
	err := n.tryOpen()
	refused(t, err, KindInvalid)
	says(t, err, disk, "--ring-dir")
	if _, err := os.Stat(disk); !os.IsNotExist(err) {
		t.Errorf("it was made: %v", err)
	}
	n.cfg.RingDir = n.ringFolder() + "/rings"
	n.open()
	n.close()
}
