package replica

import (
	"bytes"
	"fmt"
	"strings"
	"testing/synctest"
	"time"

	"pairfs/e2e/prefix"
	"pairfs/journal"
)

// look checks what must hold at every moment. It waits until nothing in the world moves: every goroutine then waits for something that only
// time brings, and time stands still as long as this one does not wait. So what is read here is one moment of both sites.
func (w *world) look() {
	w.t.Helper()
	w.still()
	for _, s := range w.sites {
		s.disks.change(func(d *simDisks) { d.looking = true })
		defer s.disks.change(func(d *simDisks) { d.looking = false })
	}
	clear(w.fresh)
	w.found()
	for _, s := range w.sites {
		if s.site != nil {
			w.verify("I7 at "+s.cfg.Name, damage(s.site))
		}
	}
	for _, g := range w.groups {
		w.follow(g)
		home, away := g.at(g.home, g.master()), g.at(g.away(), g.restored())
		if home != nil {
			w.verify("I1 at the primary of "+g.name, order(home, g.w.h))
			w.verify("I2 of "+g.name, g.holds())
			w.verify("the lag of "+g.name, g.lagIs(home))
			w.verify("I3 of the states of "+g.name, numbersDurable(home))
		}
		if away != nil {
			w.verify("I1 at the secondary of "+g.name, order(away, g.w.h))
			w.verify("I4 of "+g.name, g.prefix(away))
		}
		if home != nil && away != nil {
			w.lookAtBoth(g, home, away)
		}
		w.markersHold(g)
	}
	if w.t.Failed() {
		w.t.FailNow()
	}
}

// still waits until nothing moves and every volume can be read at once. A read waits while a change of the volume's state waits for the requests
// under way, and those for a disk: time passes then, and the world goes on.
func (w *world) still() {
	var one [1]byte
	for passed := true; passed; {
		synctest.Wait()
		began := time.Now()
		for _, s := range w.sites {
			if s.site == nil {
				continue
			}
			for _, v := range s.site.Volumes() {
				_, _ = v.ReadAt(one[:], 0)
			}
		}
		passed = time.Since(began) > 0
	}
}

// at is the group at one of its sites, nil while it is not there or not served.
func (g *simGroup) at(s *simSite, name string) *group {
	if s.site == nil {
		return nil
	}
	if own := s.site.groupByName(name); own != nil && own.held.Load() == nil {
		return own
	}
	return nil
}

// verify ends the run when a check failed.
func (w *world) verify(what string, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("%s: %v", what, err)
	}
}

// simImage is what a volume holds, and what that shows.
type simImage struct {
	bytes   []byte
	picture prefix.Picture
	shown   int // the number of the volume that picture is made for, -1 while there is none of these bytes
}

// image reads a volume, once for each look.
func (w *world) image(v *Volume) *simImage {
	key := v.site.cfg.Name + "/" + v.name
	if !w.fresh[key] {
		if w.read[key] == nil {
			w.read[key] = &simImage{bytes: make([]byte, simSize)}
		}
		n, err := v.ReadAt(w.read[key].bytes, 0)
		if err != nil || n != simSize {
			w.t.Fatalf("read of volume %s: %d bytes, %v", v.name, n, err)
		}
		w.fresh[key], w.read[key].shown = true, -1
	}
	return w.read[key]
}

// shows gives the picture of a volume, which has that number in its group.
func (w *world) shows(v *Volume, number int) (*prefix.Picture, error) {
	image := w.image(v)
	if image.shown != number {
		if err := image.picture.Read(prefix.ImageOf(number, image.bytes)); err != nil {
			return nil, err
		}
		image.shown = number
	}
	return &image.picture, nil
}

// pictures shows the P-VOLs of a group.
func (w *world) pictures(g *simGroup) (all []*prefix.Picture, err error) {
	for i, name := range g.w.names {
		p, err := w.shows(g.home.vol(name), i)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// holds proves that the P-VOLs have every acknowledged write.
func (g *simGroup) holds() error {
	all, err := g.home.world.pictures(g)
	if err == nil {
		_, err = g.w.h.Check(all, everyAck)
	}
	return err
}

// damage gives the first event of damaged bytes, or of what the product says cannot be.
func damage(s *Site) error {
	for _, e := range s.Events() {
		for _, word := range []string{"checksum", "damaged", "corrupt", "please report"} {
			if strings.Contains(e.Text, word) {
				return fmt.Errorf("event of %s: %s", e.Object, e.Text)
			}
		}
	}
	return nil
}

// records calls each for every record that a journal holds, durable or not.
func records(g *group, each func(*journal.Record) error) error {
	m := g.journal.Marks()
	cursor := g.journal.NewCursor(m.Freed)
	for buf := make([]byte, batchMax); ; {
		n, _, err := cursor.Read(buf, len(buf))
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		for b := buf[:n]; len(b) > 0; {
			rec, size, err := journal.Parse(b)
			if err == nil {
				err = each(&rec)
			}
			if err != nil {
				return err
			}
			b = b[size:]
		}
	}
	for pos := m.Durable; pos < m.Reserved; {
		rec, size, err := journal.Parse(g.journal.Bytes(pos, int(min(journal.MaxRecord, m.Reserved-pos))))
		if err != nil { // of a pad; whether a record is missing is seen by its number
			pos += journal.HeaderSize
			continue
		}
		if err := each(&rec); err != nil {
			return err
		}
		pos += journal.Position(size)
	}
	return nil
}

// order proves that the numbers of a journal's records are dense but for what a control record says, and have the order of acknowledgement
// and issue (I1).
func order(g *group, h *history) error {
	if g.failure() != "" {
		return nil
	}
	last, begun, issued := journal.Seq(0), false, prefix.Stamp(0)
	return records(g, func(rec *journal.Record) error {
		want := last
		if rec.Advances() {
			want++
		}
		if jump := rec.Kind == journal.KindControl && rec.Flags&journal.FlagEpoch != 0 && rec.Seq > last; begun && rec.Seq != want && !jump {
			return fmt.Errorf("the %s comes behind number %d", rec, last)
		}
		last, begun = rec.Seq, true
		if rec.Kind != journal.KindUpdate || rec.Flags&journal.FlagLocal != 0 {
			return nil
		}
		m, _, ok := prefix.ParseMark(rec.Payload[:prefix.Sector])
		if ok && h.Past(m.Run) && issued == 0 {
			return nil // of a history before this one
		}
		o, known := h.Write(m.Counter)
		if !ok || !known || m.Run != h.Run() {
			return fmt.Errorf("the %s holds what no host wrote", rec)
		}
		if o.End != 0 && o.End < issued {
			return fmt.Errorf("the %s is of write %d (acknowledged at %d), and a write that was issued at %d stands before it", rec, o.Counter, o.End, issued)
		}
		issued = max(issued, o.Start)
		return nil
	})
}

// numbersDurable proves that no pair names the number of a record that a power cut could take: another record would get it.
func numbersDurable(g *group) error {
	if g.failure() != "" || g.journal.Err() != nil {
		return nil
	}
	durable := g.journal.Marks().DurableSeq
	g.mu.Lock()
	defer g.mu.Unlock()
	for name, p := range g.pairs {
		for what, seq := range map[string]journal.Seq{"starts": p.rec.StartSeq, "stops": p.rec.StopSeq, "ends its copy": p.rec.PairSeq} {
			if seq != noStop && seq > durable {
				return fmt.Errorf("pair %s %s at number %d, and %d is durable", name, what, seq, durable)
			}
		}
	}
	return nil
}

// failure is why the group's journal was given up.
func (g *group) failure() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.failed
}

// side is what one side says of a pair.
type side struct {
	p        *pair
	rec      pairRecord
	stopping bool // see pair
}

func (g *group) side(name string) (s side, ok bool) {
	p := g.site.pairByName(name)
	if p == nil || p.group != g {
		return s, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return side{p, p.rec, p.stopping}, true
}

// prefix proves that the S-VOLs which are images of one moment are prefixes, those that follow together or stopped together a common one.
func (g *simGroup) prefix(away *group) error {
	together := map[journal.Seq][]*prefix.Picture{}
	for i, name := range g.w.names {
		q, ok := away.side(name)
		if !ok {
			continue
		}
		st := q.rec.State
		if st.Status == PAIR {
			delete(g.dirty, name)
		}
		if !st.Consistent || st.Status == COPY || st.Status == Deleting || g.dirty[name] {
			continue
		}
		picture, err := g.home.world.shows(q.p.att.vol, i)
		if err != nil {
			return fmt.Errorf("S-VOL %s: %w", name, err)
		}
		together[q.rec.StopSeq] = append(together[q.rec.StopSeq], picture)
	}
	for stop, pictures := range together {
		g.home.world.met(fmt.Sprintf("prefixes of %d volumes", len(pictures)))
		if _, err := g.w.h.Check(pictures, whatever); err != nil {
			return fmt.Errorf("S-VOLs stopped at %d: %w", stop, err)
		}
	}
	return nil
}

// lookAtBoth checks what follows from both sides of each pair.
func (w *world) lookAtBoth(g *simGroup, home, away *group) {
	w.t.Helper()
	for _, name := range g.w.names {
		p, ok := home.side(name)
		q, also := away.side(name)
		if !ok || !also || p.rec.Generation != q.rec.Generation || p.rec.State.Status == Deleting || q.rec.State.Status == Deleting {
			continue
		}
		w.met(fmt.Sprintf("%s/%s", p.rec.State.Status, q.rec.State.Status))
		err := g.coveredNow(w, p, q)
		if err == nil && p.rec.State.Status.active() && q.rec.State.Status.active() {
			err = follows(p, q)
		}
		w.verify(fmt.Sprintf("pair %s, %s here and %s there", name, p.rec.State.Status, q.rec.State.Status), err)
	}
}

// coveredNow proves that each region in which the volumes differ is marked on one side at least, or that the journal of the primary holds
// what the secondary has not had (I5).
func (g *simGroup) coveredNow(w *world, p, q side) error {
	x, y := w.image(p.p.att.vol).bytes, w.image(q.p.att.vol).bytes
	var journaled map[int64]bool
	for r := range p.p.att.bits.regions {
		from, to := r*regionSize, min((r+1)*regionSize, int64(len(x)))
		if bytes.Equal(x[from:to], y[from:to]) {
			continue
		}
		w.met("regions that differ")
		if p.p.att.bits.test(r) || q.p.att.bits.test(r) {
			continue
		}
		w.met("regions that differ by records under way")
		if journaled == nil {
			var err error
			if journaled, err = underWay(p, q); err != nil {
				return err
			}
		}
		if !journaled[r] {
			return fmt.Errorf("I5: region %d differs, no bitmap marks it and the journal does not hold the difference", r)
		}
	}
	return nil
}

// underWay gives the regions of the records that the primary will still send to the secondary.
func underWay(p, q side) (map[int64]bool, error) {
	regions := map[int64]bool{}
	if starts := journal.Seq(p.p.att.stop.Load()) == noStop; !p.rec.State.Status.active() && !starts { // a resync whose start record waits for the disk
		return regions, nil
	}
	away := q.p.group
	away.mu.Lock()
	had := away.lastSeq
	away.mu.Unlock()
	if !q.rec.State.Status.active() {
		had = min(had, q.rec.StopSeq)
	}
	// A purge that waits for the disk has not marked yet what the journal holds, and its pair counts as replicated until it has; a split at a marker
	// as little what is behind that.
	purging := p.rec.State.Status != Suspending && p.rec.StopSeq != noStop || p.stopping
	err := records(p.p.group, func(rec *journal.Record) error {
		sent := p.p.att.replicated(rec.Seq) || purging && rec.Seq >= p.rec.StartSeq
		if rec.Volume == p.p.att.number && rec.Seq > had && rec.Length > 0 && sent && (rec.Kind == journal.KindUpdate || rec.Kind == journal.KindDiscard) {
			mark(regions, int64(rec.Offset), int64(rec.Length))
		}
		return nil
	})
	return regions, err
}

// follows proves that the secondary has nothing that a power cut could take from the primary, and that the primary's journal still has every
// record that the secondary's stores do not hold for good (I6).
func follows(p, q side) error {
	home, away := p.p.group, q.p.group
	if home.failure() != "" || q.rec.Starting || q.rec.StartSeq == 0 {
		return nil
	}
	m := home.journal.Marks()
	away.mu.Lock()
	had, kept := away.lastSeq, away.restoredSeq
	away.mu.Unlock()
	if had > m.DurableSeq {
		return fmt.Errorf("the secondary has number %d, at the primary %d is durable", had, m.DurableSeq)
	}
	if first := max(kept+1, p.rec.StartSeq); first <= m.LastSeq {
		if _, ok := home.journal.Locate(first); !ok {
			return fmt.Errorf("I6: number %d is not in the stores of the secondary for good and not in the journal of the primary either", first)
		}
	}
	return nil
}
