package replica

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"

	bolt "go.etcd.io/bbolt"

	"pairfs/journal"
)

// JournalVolume is the picture of one journal volume.
type JournalVolume struct {
	Number int    // from 1, never given twice in a group
	Size   int64  // bytes
	Used   int64  // bytes that are not freed
	State  string // active, joining or leaving
}

// AddJournalVolume gives the journal of a group another journal volume of size bytes while it is in use; it is filled from the next round
// on. It returns when that is durable, which takes as long as the file needs to be written once, in a quarter of the disk's time: no deadline
// of the caller ends that, the end of the group does. The peer's journal stays as it is.
// Errors: KindNotFound, KindInvalid for the size, KindNoSpace, KindBusy when the group has the most or its journal failed.
func (s *Site) AddJournalVolume(_ context.Context, name string, size int64) error {
	if size < journalMin || size > volumeMax {
		return refuse(KindInvalid, "a journal volume of %s is out of range: %s to %s", iec(size), iec(journalMin), iec(volumeMax))
	}
	size = size &^ (journal.PageSize - 1)
	if err := s.checkSpace(size, "a journal volume of group "+name); err != nil {
		return err
	}
	return s.changeJournal(name, func(g *group) error {
		g.adding.Add(size)
		defer g.adding.Add(-size)
		if err := g.journal.AddVolume(g.ctx, size); err != nil {
			return volumeError(err, "group %s: a journal volume of %s cannot be added", g.name, iec(size))
		}
		s.events.add(slog.LevelInfo, g.object(), "a journal volume of %s was added", iec(size))
		return nil
	})
}

// RemoveJournalVolume takes a journal volume of a group out of use. It returns when that is durable; the file goes when nothing in it is
// needed any more. Errors: KindNotFound, KindInvalid if there is no such number, KindBusy if the journal needs it or has failed.
func (s *Site) RemoveJournalVolume(ctx context.Context, name string, number int) error {
	return s.changeJournal(name, func(g *group) error {
		if err := g.journal.RemoveVolume(ctx, number); errors.Is(err, journal.ErrInvalid) {
			return refuse(KindInvalid, "group %s has no journal volume %d: it has %s", g.name, number, numbersOf(g.journal.Volumes()))
		} else if err != nil {
			return volumeError(err, "group %s: journal volume %d cannot be removed", g.name, number)
		}
		s.events.add(slog.LevelInfo, g.object(), "journal volume %d was removed: its file goes when nothing in it is needed", number)
		g.kickCheckpoint()
		return nil
	})
}

// numbersOf names journal volumes for an operator.
func numbersOf(volumes []journal.VolumeInfo) string {
	var n []string
	for _, v := range volumes {
		if v.State != journal.VolumeLeaving {
			n = append(n, strconv.Itoa(v.Number))
		}
	}
	return strings.Join(n, ", ")
}

// changeJournal runs a change of a group's journal volumes and stores what the journal consists of then, for the day it is made anew. The
// change is made without the group's command lock: a large file takes minutes to write, and states have to change meanwhile.
func (s *Site) changeJournal(name string, change func(*group) error) error {
	g := s.groupByName(name)
	if g == nil || g.held.Load() != nil {
		return s.withGroup(name, change) // refused there
	}
	if err := g.serves(); err != nil {
		return err // it has no journal now
	}
	if err := change(g); err != nil {
		return err
	}
	return s.withGroup(name, func(g *group) error {
		var sizes []int64
		for _, v := range g.journal.Volumes() {
			if v.State != journal.VolumeLeaving {
				sizes = append(sizes, v.Size)
			}
		}
		g.mu.Lock()
		g.rec.Sizes = sizes
		rec := g.rec
		g.mu.Unlock()
		if err := s.db.update(func(tx *bolt.Tx) error { return put(tx, bucketGroups, name, rec) }); err != nil {
			return fault(KindInternal, err, "group %s: its journal was changed, which could not be stored in the database", name)
		}
		return nil
	})
}

// volumeError gives a refusal of the journal its kind. Of what the journal says only the reason is kept: what was tried stands before it.
func volumeError(err error, format string, args ...any) error {
	kind := kindOfDisk(err)
	switch {
	case errors.Is(err, journal.ErrInvalid):
		kind = KindInvalid
	case errors.Is(err, journal.ErrNeeded):
		kind = KindBusy
	case errors.Is(err, journal.ErrFailed):
		return refuse(KindBusy, format+": the journal failed; mend its disk and restart pairfs first", args...)
	case errors.Is(err, journal.ErrClosed):
		return refuse(KindBusy, format+": the group is being deleted, or the site closed", args...)
	}
	if reason := errors.Unwrap(err); reason != nil && kind != KindInternal {
		err = reason
	}
	return fault(kind, err, format, args...)
}

// sizes are those of the journal volumes of a new journal of the group.
func (r *groupRecord) sizes() []int64 {
	if len(r.Sizes) > 0 {
		return r.Sizes
	}
	sizes := make([]int64, r.Volumes)
	for i := range sizes {
		sizes[i] = r.Size
	}
	return sizes
}

// journalSize is what all journal volumes of the group take, in bytes.
func (g *group) journalSize() (n int64) {
	for _, v := range g.journal.Volumes() {
		n += v.Size
	}
	return n
}

func (g *group) journalVolumes() (all []JournalVolume) {
	for _, v := range g.journal.Volumes() {
		all = append(all, JournalVolume{v.Number, v.Size, v.Used, v.State.String()})
	}
	return all
}
