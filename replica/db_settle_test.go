package replica

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// newSettled makes a database of some commits, whose flush fails no more, and gives the number of the last one.
func newSettled(t *testing.T) (d *database, id int) {
	t.Helper()
	d, _, err := openDatabase(filepath.Join(t.TempDir(), "site.db"), "tokyo")
	must(t, err)
	t.Cleanup(func() { must(t, d.close()) })
	for range 3 {
		must(t, d.update(func(tx *bolt.Tx) error {
			id = tx.ID()
			return put(tx, bucketVolumes, "x", volumeRecord{ID: uint64(tx.ID())})
		}))
	}
	return d, id
}

// TestSettle: a commit whose flush failed is durable when its page was flushed again, and did not happen when its page is not there.
func TestSettle(t *testing.T) {
	t.Parallel()
	d, id := newSettled(t)
	told := 0
	d.settled, d.fatal = func(error) { told++ }, func(err error) { t.Errorf("it ends: %v", err) }
	cause := errors.New("input/output error")
	if err := d.settle(id, cause); err != nil || told != 1 {
		t.Errorf("flushed at the second try: %v, told %d times", err, told)
	}
	if err := d.settle(id+1, cause); !errors.Is(err, cause) || told != 1 {
		t.Errorf("a commit that did not come as far as its meta page: %v, told %d times", err, told)
	}
}

// TestSettleEnds: a commit whose page cannot be written a second time either ends the daemon, and nobody gets an answer about it.
func TestSettleEnds(t *testing.T) {
	t.Parallel()
	d, id := newSettled(t)
	fd := int(d.room.file.Fd())
	good, err := unix.Dup(fd) // keeps the lock
	must(t, err)
	bad, err := os.Open(d.path)
	must(t, err)
	must(t, unix.Dup3(int(bad.Fd()), fd, unix.O_CLOEXEC))
	cause, end := errors.New("input/output error"), error(nil)
	d.settled, d.fatal = func(error) { t.Error("it counts as settled") }, func(err error) { panic(err) }
	func() {
		defer func() { end, _ = recover().(error) }()
		t.Errorf("it is answered: %v", d.settle(id, cause))
	}()
	if !errors.Is(end, cause) || !errors.Is(end, unix.EBADF) {
		t.Errorf("the daemon ends with %v", end)
	}
	must(t, errors.Join(unix.Dup3(good, fd, unix.O_CLOEXEC), unix.Close(good), bad.Close()))
}

// TestFlushMetaThatIsGone: a meta page that the system dropped when its flush failed comes back from the disk as the one of an earlier commit, and a
// flush of that one proves nothing.
func TestFlushMetaThatIsGone(t *testing.T) {
	t.Parallel()
	d, id := newSettled(t)
	must(t, d.flushMeta(id))
	if err := d.flushMeta(id + 2); err == nil { // in the place of which the page of id still is
		t.Error("the page of an earlier commit was flushed in the place of one that is gone, and taken for it")
	}
}
