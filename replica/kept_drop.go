package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"
)

// DropKept removes a kept set. It says in a remark how much that frees.
func (s *Site) DropKept(ctx context.Context, name string) error {
	d, err := openKeptDir(s.cfg.StateDir, true)
	if err != nil {
		return err
	}
	defer d.close()
	return s.drop(ctx, d, name)
}

// drop removes a set and tells so.
func (s *Site) drop(ctx context.Context, d *keptDir, name string) error {
	info, _ := d.info(name)
	freed, err := d.drop(name, s.keptStep)
	s.lookKept()
	if err != nil {
		return err
	}
	object := "site"
	if info.Pair != "" {
		object = "pair/" + info.Pair
	}
	s.events.add(slog.LevelWarn, object, "the kept set %s was dropped by %s: %s are free again", name, callerOf(ctx), iec(freed))
	Remark(ctx, fmt.Sprintf("%s dropped, %s freed", name, iec(freed)))
	return nil
}

// DropKeptOlder removes the kept sets that are older than an age like 30d. One that cannot be read stays: it has no age.
func (s *Site) DropKeptOlder(ctx context.Context, age string) error {
	old, err := ParseAge(age)
	if err != nil {
		return err
	}
	d, err := openKeptDir(s.cfg.StateDir, true)
	if err != nil {
		return err
	}
	defer d.close()
	names, err := d.older(old, time.Now())
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := s.drop(ctx, d, name); err != nil && KindOf(err) != KindNotFound { // somebody else dropped it
			return err
		}
	}
	if len(names) == 0 {
		Remark(ctx, "no kept set is older than "+timeWords(old))
	}
	return nil
}

// ParseAge reads an age: a number of seconds, or one with s, m, h or d.
func ParseAge(age string) (time.Duration, error) {
	d, ok := parseTime(age)
	if !ok {
		return 0, refuse(KindInvalid, "%q is no age: give a number with s, m, h or d, as in 30d", age)
	}
	return d, nil
}

// DropKeptSets removes kept sets from the state directory of a site that is not running: those named, or where none is those that are
// older than an age. It calls done for each with what that frees.
func DropKeptSets(stateDir string, names []string, older time.Duration, done func(name string, freed int64)) error {
	db, err := bolt.Open(filepath.Join(stateDir, "site.db"), 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	if errors.Is(err, berrors.ErrTimeout) {
		return refuse(KindBusy, "the site of %s is running: drop without --state, or stop it first (pairfs umount)", stateDir)
	}
	if err != nil {
		return fmt.Errorf("%s is no state directory of a site: %w", stateDir, err)
	}
	defer db.Close()
	d, err := openKeptDir(stateDir, true)
	if err != nil {
		return err
	}
	defer d.close()
	if len(names) == 0 {
		if names, err = d.older(older, time.Now()); err != nil {
			return err
		}
	}
	for _, name := range names { // all or none
		if _, err := d.allocated(name); err != nil {
			return err
		}
	}
	for _, name := range names {
		freed, err := d.drop(name, func(string) error { return nil })
		if err != nil {
			return err
		}
		done(name, freed)
	}
	return nil
}

// older returns the names of sets that were kept longer ago than that.
func (d *keptDir) older(age time.Duration, now time.Time) (names []string, err error) {
	all, err := d.sets()
	for _, k := range all {
		if k.Bad == "" && k.Time.Before(now.Add(-age)) {
			names = append(names, k.Name)
		}
	}
	return names, err
}

// allocated returns the bytes that a set takes on its file system, whatever is in it.
func (d *keptDir) allocated(name string) (n int64, err error) {
	if err := checkKeptName(name); err != nil {
		return 0, err
	}
	sub, err := d.sub(name)
	if KindOf(err) == KindNotFound {
		return 0, noSuchSet(name)
	}
	if err != nil {
		return 0, err
	}
	defer sub.close()
	files, err := sub.names()
	for _, f := range files {
		var st unix.Stat_t
		if sub.control(func(fd int) error { return unix.Fstatat(fd, f, &st, unix.AT_SYMLINK_NOFOLLOW) }) == nil && st.Nlink == 1 {
			n += st.Blocks * 512
		}
	}
	return n, err
}

// drop removes a set: it loses its name first, durably, so that a crash leaves it whole or as one that the next start removes.
func (d *keptDir) drop(name string, step func(string) error) (freed int64, err error) {
	if freed, err = d.allocated(name); err != nil {
		return 0, err
	}
	old := keptOld + name
	if err := d.remove(old); err != nil && KindOf(err) != KindNotFound { // an attempt that could not be ended
		return 0, err
	}
	err = step("drop rename")
	if err == nil {
		err = d.rename(name, old)
	}
	if err == nil {
		err = step("drop sync")
	}
	if err == nil {
		err = d.sync()
	}
	if err == nil {
		err = step("drop remove")
	}
	if err == nil {
		err = d.remove(old)
	}
	if err != nil {
		return 0, fault(KindOf(err), err, "kept set %s could not be dropped to its end", name)
	}
	return freed, nil
}
