package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"pairfs/crashpoint"
)

// A resync overwrites regions of the volume that loses. Where hosts had written them on purpose, as on both sides of a split brain, no byte
// goes before it was kept aside: in STATE/kept/PAIR-TIME, whose format kept_list.go describes. Who decides that a resync begins asks for
// that first, and does not begin when it is refused.

// lost is what one pair is about to lose here.
type lost struct {
	pair    *pair
	regions *regionSet // of its volume; none is nothing to keep
}

// keepOptions say why regions are kept, and who wants to know how far that is.
type keepOptions struct {
	why      string                  // one sentence, for the list and the audit log
	progress func(done, total int64) // bytes of regions; called between pieces by the goroutine of the caller, may be nil
}

// holdHosts keeps hosts from writing the volumes of pairs, and returns when no write is under way. letGo lets them write again what the
// state of the pair at that moment allows. group.cmd is held all the time.
func (g *group) holdHosts(pairs []*pair) (letGo func()) {
	for _, p := range pairs {
		p.att.writable.Store(false)
		p.att.vol.barrier()
	}
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, p := range pairs {
			p.applyAccess()
		}
	}
}

// keepAside keeps the present content of regions: what hosts read there. It returns the sets in the order of the pairs, without those that
// have nothing to lose, once all of them would survive a power cut; or an error, and then there is none of them and nothing was changed.
// After a crash on its way some may be there whole, which does no harm; what is not whole goes at the next start.
//
// Hosts must be kept from writing the volumes meanwhile and until the caller has changed the state, see [group.holdHosts]: bytes that they
// write behind the reading would be lost. It is refused where they may write. What the journal holds of a volume is restored first, so
// every record is checked before its bytes are kept (I7).
//
// It takes as long as reading and writing that much, at the copy pace of the group while other volumes of the site are written, and ends with
// ctx. The pairs are of one group, whose cmd the caller holds, and none of the locks further in.
func (s *Site) keepAside(ctx context.Context, all []lost, o keepOptions) (sets []Kept, err error) {
	k := keeping{site: s, why: o.why, tell: o.progress, at: time.Now()}
	for _, l := range all {
		if l.regions.any() {
			k.lost = append(k.lost, l)
		}
	}
	if len(k.lost) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stopping := refuse(KindBusy, "site %s is being stopped", s.cfg.Name)
	life := k.lost[0].pair.group.ctx
	defer context.AfterFunc(life, func() { cancel(stopping) })()
	if life.Err() != nil {
		return nil, keepRefused(k.lost[0].pair, stopping)
	}
	if k.dir, err = openKeptDir(s.cfg.StateDir, true); err != nil {
		return nil, keepRefused(k.lost[0].pair, err)
	}
	defer k.dir.close()
	if err := k.run(ctx); err != nil {
		for _, w := range k.made {
			w.discard()
		}
		return nil, err
	}
	crashpoint.Hit(crashpoint.KeptAside)
	for _, w := range k.made {
		sets = append(sets, w.kept)
		s.noteKept(ctx, w.from.pair, &w.kept)
	}
	s.lookKept()
	return sets, nil
}

// keeping is one call of keepAside.
type keeping struct {
	site  *Site
	dir   *keptDir
	lost  []lost
	made  []*keptWriter // of lost, in its order
	why   string
	at    time.Time
	tell  func(done, total int64)
	done  int64 // bytes of regions
	total int64
}

// run keeps everything, or fails; the sets that it began are in made.
func (k *keeping) run(ctx context.Context) error {
	if err := k.dir.private(); err != nil {
		return keepRefused(k.lost[0].pair, err)
	}
	changed := make([]int64, len(k.lost))
	for i, l := range k.lost {
		if err := l.pair.still(ctx); err != nil {
			return keepRefused(l.pair, err)
		}
		changed[i] = l.pair.att.vol.modified.Load()
		k.total += l.regions.bytes()
	}
	names, err := k.admit()
	if err != nil {
		return keepRefused(k.lost[0].pair, err)
	}
	for i, l := range k.lost {
		if err := k.write(ctx, l, names[i]); err != nil {
			return keepRefused(l.pair, err)
		}
	}
	for i, l := range k.lost {
		err := l.pair.still(ctx)
		if v := l.pair.att.vol; err == nil && v.modified.Load() != changed[i] {
			err = refuse(KindBusy, "volume %s was written meanwhile: try again", v.Name())
		}
		if err != nil {
			return keepRefused(l.pair, err)
		}
	}
	for _, w := range k.made {
		if err := w.publish(); err != nil {
			return keepRefused(w.from.pair, err)
		}
	}
	if err := k.site.keptStep("sync all"); err != nil {
		return keepRefused(k.lost[0].pair, keptFault(err, k.dir.path, "flushed"))
	}
	if err := k.dir.sync(); err != nil {
		return keepRefused(k.lost[0].pair, err)
	}
	return nil
}

// keepRefused says that nothing was changed, and why.
func keepRefused(p *pair, err error) error {
	kind := KindOf(err)
	if errors.Is(err, context.DeadlineExceeded) {
		kind = KindTimeout
	}
	return fault(kind, err, "pair %s: what would be overwritten cannot be kept aside, so nothing was changed", p.name)
}

// still refuses a pair whose volume may change, and brings what its journal holds into its store.
func (p *pair) still(ctx context.Context) error {
	g, v := p.group, p.att.vol
	if err := g.serves(); err != nil {
		return err
	}
	v.barrier() // writes that found the volume writable have ended
	if p.att.writable.Load() {
		return refuse(KindBusy, "hosts may write volume %s, and what they write would be lost", v.Name())
	}
	if p.att.overlay.len() > 0 {
		g.settle(ctx)
	}
	if p.att.overlay.len() == 0 {
		return nil
	}
	if e := g.storeErr.Load(); e != nil {
		return fault(KindBusy, *e, "the journal holds records of volume %s that are not in its store", v.Name())
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return refuse(KindBusy, "the journal of group %s holds records of volume %s that cannot be restored: see its events, mend what they name, and try again", g.name, v.Name())
}

// admit refuses what there is no room for, and chooses the names.
func (k *keeping) admit() (names []string, err error) {
	have, err := k.dir.names()
	if err != nil {
		return nil, err
	}
	if len(have)+len(k.lost) > keptMax {
		return nil, refuse(KindNoSpace, "%s has %d kept sets and %d is the most: drop some (pairfs kept list, pairfs kept drop), then try again", k.dir.path, len(have), keptMax)
	}
	var need int64
	for _, l := range k.lost {
		n, err := l.room()
		if err != nil {
			return nil, err
		}
		need += n
	}
	free, reserve, err := k.dir.room()
	if err != nil {
		return nil, err
	}
	if free-reserve < need {
		return nil, noRoomToKeep(k.dir.path, need, free, reserve)
	}
	taken := map[string]bool{}
	for _, n := range have {
		taken[strings.TrimPrefix(strings.TrimPrefix(n, keptNew), keptOld)] = true
	}
	for _, l := range k.lost {
		names = append(names, keptName(l.pair.name, k.at, taken))
	}
	return names, nil
}

// room is how many bytes a kept set may take at most: data of the store in whole regions, and the list.
func (l *lost) room() (n int64, err error) {
	for first, count := range l.regions.spans {
		from := int64(first) * regionSize
		to := from + l.regions.bytesOf(int64(first), int64(count))
		for from < to {
			end, hole, err := l.pair.att.extent(from, to)
			if err != nil {
				return 0, err
			}
			if !hole {
				n += end - from
			}
			n += keptLineSize * ((end-from)/keptPiece + 2)
			from = end
		}
	}
	return n + keptHeadMax, nil
}

// keptName makes the name of a set and takes it.
func keptName(pair string, at time.Time, taken map[string]bool) string {
	base := pair + "-" + at.UTC().Format("20060102T150405Z")
	name := base
	for i := 2; taken[name]; i++ {
		name = fmt.Sprintf("%s-%d", base, i)
	}
	taken[name] = true
	return name
}

// checkKeptName refuses what cannot be the name of a set. None leads out of the folder or begins like what is no set.
func checkKeptName(name string) error {
	ok := name != "" && len(name) <= nameMax+len("-20060102T150405Z-9999") && name[0] != '.'
	for _, r := range name {
		ok = ok && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r))
	}
	if !ok {
		return refuse(KindInvalid, "%q is no name of a kept set: pairfs kept list shows them", name)
	}
	return nil
}

// write keeps the regions of one pair, under the name of an unfinished set.
func (k *keeping) write(ctx context.Context, l lost, name string) error {
	info := l.pair.keptInfo()
	info.Name, info.Site, info.Time, info.Why = name, k.site.cfg.Name, k.at, k.why
	w, err := newKeptWriter(k.site, k.dir, info, l)
	if err != nil {
		return err
	}
	k.made = append(k.made, w)
	w.tell = func(n int64) {
		if k.done += n; k.tell != nil {
			k.tell(k.done, k.total)
		}
	}
	if err := w.begin(); err != nil {
		return err
	}
	if err := w.copy(ctx); err != nil {
		return err
	}
	return w.finish()
}

// keptInfo is what is known of the volume now.
func (p *pair) keptInfo() Kept {
	g := p.group
	m := g.journal.Marks()
	g.mu.Lock()
	k := Kept{
		Pair: p.name, Volume: p.rec.Volume, Peer: p.rec.Peer, Role: p.rec.State.Role, Size: p.rec.Size, Generation: p.rec.Generation,
		Seq: uint64(max(m.LastSeq, g.restoredSeq)),
	}
	if p.rec.StopSeq != noStop {
		k.SplitSeq = uint64(p.rec.StopSeq)
	}
	g.mu.Unlock()
	if at, ok := g.journal.TimeAt(m.LastSeq); ok {
		k.Held = at
	} else if fi, err := os.Stat(p.att.vol.store.path); err == nil {
		k.Held = fi.ModTime()
	}
	return k
}

// noteKept tells that regions were kept: an event, and a line of the audit log with who asked for what overwrites them.
func (s *Site) noteKept(ctx context.Context, p *pair, k *Kept) {
	text := fmt.Sprintf("%s of volume %s were kept aside as %s: %s", iec(k.Bytes), k.Volume, k.Name, k.Why)
	s.events.add(slog.LevelWarn, p.object(), "%s", text)
	s.Audit(Entry{Caller: callerOf(ctx), Object: p.object(), Group: p.group.name, What: "keep " + k.Name, Result: "ok", Text: text})
}
