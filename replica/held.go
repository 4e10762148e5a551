package replica

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"pairfs/journal"
)

// A group whose journal cannot be opened, or whose stores do not take what it holds, is held: the site serves everything else, hosts of the
// group's volumes get errors, for the stores lack writes that were acknowledged, and opening it is tried again until it goes on by itself.
// Its pairs keep their states, and no command and no peer changes them.

// holding is the part of a group that says whether it is held. While held is set the group has no journal and none of its goroutines
// but holdLoop.
type holding struct {
	held   atomic.Pointer[Error]
	openMu sync.Mutex // held while the group is opened again, or a pair is taken from it meanwhile
}

// hold takes a group out of service that could not be opened.
func (g *group) hold(err error) {
	if g.journal != nil {
		err = errors.Join(err, g.closeJournal())
		g.journal = nil
	}
	e := g.heldError(err)
	if was := g.held.Swap(e); was != nil && was.Msg == e.Msg {
		return
	}
	g.site.events.add(slog.LevelError, g.object(), "%v", e)
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.pairs {
		p.trouble = e.Error()
	}
}

// heldError makes the sentence for hosts, status and events.
func (g *group) heldError(err error) *Error {
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fault(KindNoSpace, err, "group %s is not served, for the file system of its volumes is full: make room; it goes on by itself then, and nothing is lost", g.name)
	case errors.Is(err, journal.ErrCorrupt), errors.Is(err, journal.ErrVersion):
		return fault(KindInternal, err, "group %s is not served", g.name)
	case errors.Is(err, fs.ErrNotExist):
		return fault(KindInternal, err, "group %s is not served, for a part of its journal is missing: put it back, it goes on by itself then; or, %s", g.name, g.howToGiveUp())
	}
	return fault(KindInternal, err, "group %s is not served: mend the disk; it goes on by itself then, and nothing is lost", g.name)
}

// howToGiveUp says how what is in a journal that cannot be opened is given up.
func (g *group) howToGiveUp() string {
	how := fmt.Sprintf("to give up what the journal holds, move %s away and start again: its pairs are then suspended and need a resync", g.dir())
	if g.role == Primary {
		how += "; " + takeOverFirst(g.site.cfg.Name, g.rec.Peer)
	}
	return how
}

// takeOverFirst says what comes before a resync from a primary whose journal is lost: what was acknowledged may have stood there alone, and a
// resync would take it from the peer too.
func takeOverFirst(site, peer string) string {
	return fmt.Sprintf("if %s was not stopped in good order its stores lack the last writes, so take over at %s first, which has those that arrived (docs/runbooks.md, Lost disk at the primary)", site, peer)
}

// serves refuses a command on a group that is held.
func (g *group) serves() error {
	if e := g.held.Load(); e != nil {
		return refuse(KindBusy, "%v", e)
	}
	return nil
}

// ready gives the error that hosts get from a volume of a group that is held. What the journal holds cannot be read at all; only a write
// is told that it is for want of room. The cause is a text alone: its errno is of a file of the journal and not of this volume.
func (a *attachment) ready(write bool) error {
	e := a.group.held.Load()
	switch {
	case e == nil:
		return nil
	case write && e.Kind == KindNoSpace:
		return e
	case write:
		return fault(KindInternal, errors.New(e.Error()), "volume %s cannot be written", a.vol.name)
	}
	return fault(KindInternal, errors.New(e.Error()), "volume %s cannot be read", a.vol.name)
}

// holdLoop tries to open the group again until it can.
func (g *group) holdLoop() {
	for wait := heldRetryMin; g.held.Load() != nil; wait = min(2*wait, heldRetryMax) {
		if pause(g.ctx, wait) != nil {
			return
		}
		g.openAgain()
	}
}

// openAgain is one attempt.
func (g *group) openAgain() {
	g.openMu.Lock()
	defer g.openMu.Unlock()
	m, err := g.storedMarks()
	if err == nil {
		err = g.tornBefore()
	}
	if err == nil && g.rec.Failed == "" {
		if _, gone := os.Lstat(g.dir()); errors.Is(gone, fs.ErrNotExist) {
			return // only a start gives a journal up
		}
	}
	if err == nil {
		err = g.site.openGroup(g, m)
	}
	switch {
	case g.ctx.Err() != nil:
	case err != nil:
		g.hold(err)
	default:
		g.goOn()
	}
}

// goOn begins to serve a group that was held.
func (g *group) goOn() {
	cause := g.held.Swap(nil)
	g.mu.Lock()
	for _, p := range g.pairs {
		if cause != nil && p.trouble == cause.Error() {
			p.trouble = ""
		}
	}
	g.mu.Unlock()
	g.site.events.add(slog.LevelInfo, g.object(), "the group is served again: what its journal held is in the stores, and nothing is lost")
	g.start()
}

func (g *group) storedMarks() (m marksRecord, err error) {
	err = g.site.db.db.View(func(tx *bolt.Tx) error {
		m, _, err = get[marksRecord](tx, bucketMarks, g.name)
		return err
	})
	return m, err
}

// stopHeld ends a group that is held.
func (g *group) stopHeld() error {
	g.cancel()
	g.wg.Wait()
	if g.journal == nil {
		return nil
	}
	return g.closeJournal() // it was opened at this very moment
}

// giveUpPairs deletes pairs of a restore group that is held, by force: what its journal holds for their volumes is given up. group.cmd is held.
func (g *group) giveUpPairs(pairs []*pair) error {
	if !g.openMu.TryLock() {
		return refuse(KindBusy, "group %s is being opened again at this moment: try again", g.name)
	}
	defer g.openMu.Unlock()
	for _, p := range pairs {
		if err := g.giveUpPair(p); err != nil {
			return err
		}
	}
	return nil
}

func (g *group) giveUpPair(p *pair) error {
	v := p.att.vol
	v.mode.Lock()
	defer v.mode.Unlock()
	if p.wroteHere() {
		if err := g.site.handedOver(v); err != nil {
			return err
		}
	}
	if err := g.unpair(p); err != nil {
		return fault(KindInternal, err, "pair %s cannot be deleted: it could not be removed from the database", p.name)
	}
	g.site.forgetPair(p)
	g.noteStatus(p, PairState{}, change{in: EvDetached})
	g.site.events.add(slog.LevelWarn, p.object(), "deleted by force: volume %s is SMPL, and what the journal of group %s still held for it was given up: it is no image of one moment", v.name, g.name)
	return nil
}

// heldPicture is the picture of a group that is held: its journal cannot be asked.
func (g *group) heldPicture(e *Error) (GroupStatus, []PairStatus) {
	g.mu.Lock()
	defer g.mu.Unlock()
	st := GroupStatus{
		Name: g.name, Role: g.role, Peer: g.rec.Peer, PeerGroup: g.rec.PeerGroup, Volumes: g.rec.Volumes, VolumeSize: g.rec.Size, RingSize: int64(g.rec.RingSize),
		RestoredSeq: uint64(g.restoredSeq), PeerDurable: uint64(g.peerDurable), PeerRestored: uint64(g.peerRestore), Failed: e.Error(),
		LagBytes: -1, Options: wordsOf(groupOptions, *g.opts.Load()),
	}
	f := mirrorFacts{role: g.role, silent: time.Since(g.linkChange)}
	for _, p := range g.pairs {
		f.pairs = append(f.pairs, p.rec.State)
	}
	st.Mirror, st.Code = f.word(), f.code()
	var pairs []PairStatus
	for name, p := range g.pairs {
		st.Pairs = append(st.Pairs, name)
		pairs = append(pairs, g.pairPicture(p, lags{lag: lag{unknown: true, bytes: -1}}, 0))
	}
	sort.Strings(st.Pairs)
	return st, pairs
}
