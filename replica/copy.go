package replica

import (
	"errors"
	"fmt"
	"log/slog"
	"sort"
	"time"

	"golang.org/x/sys/unix"

	"pairfs/crashpoint"
	"pairfs/journal"
)

// The copy of an initial copy or a resync: base records, made from the volume as it is now, go between the update records of the same
// stream. They are not stored in the master journal; the volume itself holds their data. What is to be copied is what the pair's
// bitmap marks, so the place of a copy is as persistent as the bitmap: a region is unmarked when the peer has it in its store.
//
// A base record is read at a moment S', behind the last update sent, S. The updates in between follow in the stream and are applied over
// it. Bytes that only the ring holds could be lost here by a power cut and not there, so the journal is flushed between reading and
// sending.

// copier is the copy of one pair during one mirror session.
type copier struct {
	pair    *pair
	held    *bitmap // regions whose base records are durable at the peer or on their way
	next    int64   // region where the search goes on
	flying  int     // base records not durable at the peer yet
	under   int64   // bytes sent and still marked
	control bool    // the record that ends the copy was appended
	waits   bool    // it could not be appended yet, which was told
}

// base is a base record under way.
type base struct {
	ordinal uint64
	copier  *copier // of whose copy it is a part; a pair that was suspended and resumed has another one
	first   int64   // regions
	n       int64
	durable bool
}

// baseWaiting reports whether a pair has something to copy, and ends the copies that have nothing left.
func (f *feedSession) baseWaiting() bool {
	g := f.g
	g.mu.Lock()
	var finish []*copier
	waiting := false
	for _, p := range g.pairs {
		if !f.copies(p) {
			continue
		}
		if p.copier == nil {
			if !g.site.slots.take(p, p.opts.Priority, f.wake) {
				continue
			}
			p.copier = &copier{pair: p, held: newBitmap(p.rec.Size)}
			if p.copyStart.IsZero() { // it began before this daemon did
				p.copyStart, p.copyTotal = time.Now(), p.att.bits.bytes()
			}
		}
		switch c := p.copier; {
		case c.left() >= 0:
			waiting = true
		case c.flying == 0 && !c.control:
			finish = append(finish, c)
		}
	}
	g.mu.Unlock()
	for _, c := range finish {
		f.finish(c)
	}
	return waiting
}

// copies reports whether base records of the pair may be sent: its copy is under way, and the record with which the peer began to follow
// it was sent; and the site is not being switched off, for the record that says so is behind all that the peer gets. Requires g.mu.
func (f *feedSession) copies(p *pair) bool {
	return !p.group.site.ending.Load() && p.rec.State.Role == Primary && p.rec.State.Status == COPY && p.rec.PairSeq == 0 && p.rec.StartSeq != 0 && f.lastSeq >= p.rec.StartSeq
}

// left returns the next region that is marked and not under way, or -1. Requires g.mu.
func (c *copier) left() int64 {
	bits := c.pair.att.bits
	for r := bits.next(c.next); r >= 0; r = bits.next(r + 1) {
		if !c.held.test(r) {
			c.next = r
			return r
		}
	}
	c.next = c.held.regions // nothing is marked anew while a pair is in COPY
	return -1
}

// run returns the run of regions to copy that begins at region first, at most limit long. Requires g.mu.
func (c *copier) run(first, limit int64) int64 {
	at, n := c.pair.att.bits.nextRun(first, limit)
	if at != first {
		return 0
	}
	if h := c.held.find(first, first+n, 0); h >= 0 {
		return h - first
	}
	return n
}

// paceShares are the shares of a copy by its pace: how many batches of updates go over the line before one batch of base records when both
// wait, so updates always go first and the copy still ends; and the part of the time in which the copy may keep the P-VOL's store busy, so a
// slow store is left to hosts and a fast one does not hold the copy up.
//
// Measured on a link of 16 MB/s, beside hosts that write more than it carries, with inflow control (e2e TestCopyPace):
//
//	pace      copy        hosts        p50     p99
//	low       1.0 MB/s    14.0 MB/s    5 ms     76 ms
//	medium    1.7 MB/s    13.2 MB/s    5 ms     86 ms
//	high      4.7 MB/s    10.4 MB/s    8 ms    105 ms
//
// Beside hosts that write 7 MB/s the copy takes the rest at every pace, 8 to 9 MB/s, and hosts notice nothing: p50 0.1 ms, p99 9 ms.
var paceShares = [...]struct {
	updates int
	store   float64
}{
	PaceLow:    {8, 0.25},
	PaceMedium: {4, 0.5},
	PaceHigh:   {1, 1},
}

// rest is how long a copy of that pace leaves the store alone after it kept it busy.
func (p CopyPace) rest(busy time.Duration) time.Duration {
	return time.Duration(float64(busy) * (1/paceShares[p].store - 1))
}

// finishRetry is the pause before the end of a copy is tried again.
const finishRetry = 50 * time.Millisecond

// finish appends the record that makes the pair PAIR on both sides, at one number behind everything that was copied. It is a change of
// state like others, so it waits while a command is under way: a copy that was suspended and resumed meanwhile must not end here.
func (f *feedSession) finish(c *copier) {
	g, p := f.g, c.pair
	if !g.cmd.TryLock() {
		time.AfterFunc(finishRetry, func() { kick(f.wake) })
		return
	}
	defer g.cmd.Unlock()
	g.mu.Lock()
	c.control = p.copier == c && f.copies(p)
	g.mu.Unlock()
	if !c.control {
		return
	}
	g.keep(g.journal.Marks().Reserved)
	defer g.letGo()
	r, err := g.appendControl(f.ctx, controlCopied, &control{numbers: []uint32{p.att.number}}, 0, nil)
	if err == nil {
		err = g.journal.Sync(g.ctx, r.End) // before the number is stored: a power cut must not give it to another record
	}
	g.mu.Lock()
	told := c.waits
	if err == nil {
		p.rec.PairSeq = r.Seq
	} else {
		c.control, c.waits = false, true
	}
	g.mu.Unlock()
	if err == nil {
		crashpoint.Hit(crashpoint.CopyEnded)
		err = g.persist(p)
	} else {
		time.AfterFunc(finishRetry, func() { kick(f.wake) })
	}
	if err != nil && !told {
		g.site.events.add(slog.LevelWarn, p.object(), "the end of the copy cannot be journaled or stored yet: %v", err)
	}
}

// pickBase chooses the pair whose copy goes on: by priority, then the one with the least left to do, so that pairs come to PAIR one after
// the other.
func (f *feedSession) pickBase() (c *copier, first int64) {
	f.g.mu.Lock()
	defer f.g.mu.Unlock()
	var all []*pair
	for _, q := range f.g.pairs {
		if q.copier != nil && f.copies(q) {
			all = append(all, q)
		}
	}
	sort.Slice(all, func(i, j int) bool {
		p, q := all[i], all[j]
		if p.opts.Priority != q.opts.Priority {
			return p.opts.Priority < q.opts.Priority
		}
		a, b := p.att.bits.count(), q.att.bits.count()
		return a < b || (a == b && p.name < q.name)
	})
	for _, q := range all {
		if r := q.copier.left(); r >= 0 {
			return q.copier, r
		}
	}
	return nil, -1
}

// sendBase sends one batch of base records of one pair.
func (f *feedSession) sendBase() (bool, error) {
	c, first := f.pickBase()
	if c == nil {
		return false, nil
	}
	g, p := f.g, c.pair
	f.out = f.out[:0]
	began := time.Now()
	made, err := f.makeBase(c, first)
	if err != nil {
		g.reportFailure(p, EvFailure, err)
		return false, err
	}
	f.baseAt = time.Now().Add(g.opts.Load().CopyPace.rest(time.Since(began)))
	// What was read may still be in the ring alone.
	if err := g.journal.Sync(f.ctx, g.journal.Marks().Reserved); err != nil {
		return false, err
	}
	g.mu.Lock()
	if p.copier != c || p.rec.State.Status != COPY || g.session != f {
		g.mu.Unlock()
		return false, nil
	}
	for _, b := range made {
		b.ordinal = f.ordinal + 1
		c.held.setRegions(b.first, b.first+b.n)
		c.flying++
		c.under += b.n * regionSize
		f.bases = append(f.bases, b)
	}
	g.mu.Unlock()
	return true, f.batch(1, 0, len(made))
}

// makeBase appends base records for the run of regions at first to out: one record for a range of zeroes however long it is, else the
// data, up to baseMax bytes.
func (f *feedSession) makeBase(c *copier, first int64) ([]base, error) {
	g, p := f.g, c.pair
	size := p.rec.Size
	g.mu.Lock()
	long := c.run(first, baseZeroMax/regionSize)
	g.mu.Unlock()
	from, to := first*regionSize, min((first+long)*regionSize, size)
	if hole := p.att.holeAt(from, to); hole > from {
		n := (hole - from + regionSize - 1) / regionSize
		if hole < to {
			n = (hole - from) / regionSize
		}
		if n > 0 {
			return f.addBase(nil, c, first, n, nil)
		}
	}
	n := min(long, baseMax/regionSize)
	to = min((first+n)*regionSize, size)
	buf := f.buf[:to-from]
	if _, err := p.att.vol.ReadAt(buf, from); err != nil {
		return nil, fmt.Errorf("pair %s: the copy cannot read its P-VOL: %w", p.name, err)
	}
	return f.cutBase(c, first, n, buf)
}

// cutBase makes one record for each run of regions that are all zeroes or all not.
func (f *feedSession) cutBase(c *copier, first, n int64, buf []byte) (made []base, err error) {
	region := func(i int64) []byte { return buf[i*regionSize : min((i+1)*regionSize, int64(len(buf)))] }
	for i := int64(0); i < n; {
		zero := isZero(region(i))
		j := i + 1
		for j < n && isZero(region(j)) == zero {
			j++
		}
		var data []byte
		if !zero {
			data = buf[i*regionSize : min(j*regionSize, int64(len(buf)))]
		}
		if made, err = f.addBase(made, c, first+i, j-i, data); err != nil {
			return nil, err
		}
		i = j
	}
	return made, nil
}

// addBase appends one base record for n regions from first; nil data stands for zeroes.
func (f *feedSession) addBase(made []base, c *copier, first, n int64, data []byte) ([]base, error) {
	p := c.pair
	rec := journal.Record{
		Kind: journal.KindBase, Volume: p.att.number, Seq: f.lastSeq, Offset: uint64(first * regionSize),
		Length: uint64(min((first+n)*regionSize, p.rec.Size) - first*regionSize), Time: f.g.site.wall().UnixNano(), Payload: data,
	}
	if data == nil {
		rec.Flags = journal.FlagZero
	}
	var err error
	if f.out, err = journal.EncodeRecord(f.out, &rec); err != nil {
		return nil, fmt.Errorf("pair %s: %w", p.name, err)
	}
	f.g.baseSent.Add(uint64(len(data)))
	return append(made, base{copier: c, first: first, n: n}), nil
}

// holeAt returns the end of the range of zeroes at from, at most to; from itself if there is data. The overlay is asked before the
// store, for the reason that holds for every read.
func (a *attachment) holeAt(from, to int64) int64 {
	if !a.overlay.emptyRange(from, to-from) {
		return from
	}
	switch data, err := a.vol.store.seekData(from); {
	case err == nil:
		return min(data, to)
	case errors.Is(err, unix.ENXIO):
		return to
	}
	return from // a store that cannot tell is read
}

// settleBases takes the secondary's ordinals: a base record that is durable there need not be sent again in this session, one that is in
// its store is copied for good, and was durable. A pair that left COPY in between keeps its marks: hosts may have set them anew. Requires g.mu.
func (f *feedSession) settleBases(durable, restored uint64) {
	durable = max(durable, restored)
	keep := 0
	for i := range f.bases {
		b := &f.bases[i]
		c, p := b.copier, b.copier.pair
		live := p.copier == c && p.rec.State.Status == COPY
		if b.ordinal <= durable && !b.durable {
			b.durable = true
			if live {
				c.flying--
			}
		}
		if b.ordinal > restored {
			f.bases[keep] = *b
			keep++
			continue
		}
		if live {
			c.under -= b.n * regionSize
			p.att.bits.clearRegions(b.first, b.first+b.n)
		}
	}
	f.bases = f.bases[:keep]
}
