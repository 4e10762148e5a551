package replica

import (
	"errors"
	"fmt"
	"log/slog"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// A transaction of bbolt ends in two steps: the new pages are written and flushed, then the meta page that makes them stand, in the place of the
// older one of two. When the first step fails nothing has happened. When the flush of the meta page fails, that page is in the system's memory all
// the same: this process sees the transaction, so does one that is started after a kill, and whether a power cut leaves it nobody knows. What was
// answered as not done would come true later: a pair that was deleted, a role that was given up, while hosts write on.
//
// So such a commit is settled at once. Its meta page is written again, for the system takes a page whose flush failed for clean, and flushed again.
// If that is done the transaction is durable and nothing was wrong. If it fails too, the daemon ends as if it were killed behind the commit, the
// one state that is right whatever a start finds: it answers nothing more, what it acknowledged is in the journal, and the start replays that.

// settle is told of a transaction that failed: nil says that it is durable now. Requires database.writing.
func (d *database) settle(id int, cause error) error {
	there := false
	if err := d.db.View(func(tx *bolt.Tx) error { there = tx.ID() == id; return nil }); err != nil || !there {
		return cause
	}
	if err := d.flushMeta(id); err != nil {
		d.fatal(fmt.Errorf("write %s: a change was written and could not be flushed, nor the second time, so nobody can tell whether a power cut would leave it: pairfs ends here, as after a kill; mend the disk of the state directory, then start it again: what was acknowledged is in the journals (%w)", d.path, errors.Join(cause, err)))
	}
	d.settled(cause)
	return nil
}

// flushMeta writes the meta page of a transaction once more, and flushes it.
func (d *database) flushMeta(id int) error {
	page := make([]byte, d.db.Info().PageSize)
	at := int64(id%2) * int64(len(page)) // bbolt takes the first two pages in turn
	if _, err := d.room.file.ReadAt(page, at); err != nil {
		return err
	}
	// The system may have dropped a page that it takes for clean: what is read then is what the disk had, and no more than that would be flushed.
	meta, err := parseMeta(page)
	if err == nil && meta.committed != uint64(id) {
		err = fmt.Errorf("it is that of transaction %d", meta.committed)
	}
	if err != nil {
		return fmt.Errorf("the meta page of transaction %d is in memory no more: %w", id, err)
	}
	if _, err := d.room.file.WriteAt(page, at); err != nil {
		return err
	}
	return unix.Fdatasync(int(d.room.file.Fd()))
}

// dbSettled tells of a commit whose flush had to be done twice.
func (s *Site) dbSettled(cause error) {
	s.events.add(slog.LevelWarn, "site", "site.db: a flush failed (%v) and was done when it was tried again: nothing is lost, but look at the disk of %s", cause, s.cfg.StateDir)
}

// fatal ends the process through Config.Fatal, and with a panic where there is none or it returns.
func (s *Site) fatal(err error) {
	s.log.Error("the site ends as after a kill", "error", err)
	if s.cfg.Fatal != nil {
		s.cfg.Fatal(err)
	}
	panic(err)
}
