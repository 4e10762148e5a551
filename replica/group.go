package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pairfs/journal"
)

// group is one journal group: the volumes that share one write order, their journal and the mirror with the peer's group.
//
// Locks, outermost first: Site.cmd, group.cmd, Volume.mode, group.checkMu, group.restoreMu, group.commitMu, group.mu, then those inside of
// journal and overlay. What waits for a peer holds cmd locks at most.
type group struct {
	site    *Site
	name    string
	role    Role // while the group has pairs it changes with checkMu, restoreMu, mu and the mode locks of all its volumes held: see exchange
	journal *journal.Journal

	// cmd serialises what changes the states of the group's pairs.
	cmd waitLock

	// checkMu lets one checkpoint run at a time, and nobody who gives the journal up, exchanges roles or takes a pair away come between its flush
	// and its marks.
	checkMu waitLock
	// restoreMu lets one restore pass run at a time and guards the marks that it and checkpoints move.
	restoreMu  waitLock
	restored   journal.Position // everything before it is in the stores, or replaced by something later in the overlay
	restoreSeq journal.Seq      // last number before restored
	checkpoint journal.Position // everything before it is in the stores and flushed
	checkedAt  time.Time        // when the checkpoint loop has made one, or tried
	checking   atomic.Bool      // it does

	// commitMu is held from taking changed bitmap pages until they are in the database, or changed again.
	commitMu sync.Mutex

	mu               sync.Mutex
	rec              groupRecord
	members          map[uint32]*attachment
	pairs            map[string]*pair
	restoredSeq      journal.Seq // checkpointed here
	checkedPos       journal.Position
	stepped          journal.Position // secondary: where the last checkpoint was asked for because of what had arrived
	lastSeq          journal.Seq      // secondary: last number received
	keeping          bool             // records from keepFrom on stay in the journal
	keepFrom         journal.Position
	peerDurable      journal.Seq // primary: durable at the peer
	peerRestore      journal.Seq // primary: checkpointed at the peer
	session          *feedSession
	pulling          *pullSession
	pathsGood        int // primary: paths that were known to be worth it in the last session that looked
	linked           bool
	linkChange       time.Time
	mute             bool        // the peer is connected and has not said what it owes, see [group.heed]
	mutely           hush        // for how long it owes a word
	asked            time.Time   // primary: when the peer was last asked for its states beside a mirror
	lastTime         int64       // secondary: when the record of lastSeq was made, 0 if that is not known
	pullHeld         int         // secondary: by how many no mirror session may be opened
	pullEnd          func()      // secondary: ends the session that is open or being opened and waits for it; nil while there is none
	taking           bool        // secondary: a takeover, or an exchange of the roles, is under way
	whole            bool        // secondary: it is taken over at this moment, and no S-VOL of it is given up alone
	newestSeq        journal.Seq // secondary: what the primary said last
	newestTime       int64
	lastHeard        time.Time
	ages             ages        // primary: of the numbers that the peer may lack
	told             toldLag     // secondary: how far it is behind, as the primary said last
	sentOut          []sentOut   // primary: batches that the peer does not hold yet, oldest first
	paidSeq          journal.Seq // primary: up to here nothing is owed any more
	aliveSeq         journal.Seq // primary: last number that was given when watch looked, and since when
	aliveAt          time.Time
	idleFrom, idleTo journal.Seq // behind the first, up to the second, there is nothing but keep-alive records
	mirrorError      string      // why the last attempt to open the mirror failed
	failed           string      // why the journal failed
	fullSince        time.Time   // primary: since when the journal is full
	over             bool        // primary: the journal is over its high-water mark
	drainRate        float64     // bytes per second by which the journal was freed lately

	moved chan struct{} // guarded by mu: closed when something that a marker depends on has moved, nil while nobody waits

	holding

	facts      factQueue
	restoreReq chan struct{}
	checkReq   chan struct{}
	pullReq    chan struct{}
	watchReq   chan struct{}
	blockedReq chan struct{} // a host write found no room in the journal
	lookReq    chan struct{} // how full the journal is has to be looked at now
	failOnce   sync.Once
	gateMu     sync.Mutex            // changes storeErr and io together
	fence      atomic.Pointer[fence] // primary: host writes are held, the roles are about to be exchanged
	storeErr   atomic.Pointer[error] // why the stores take no bytes, nil while they do
	io         atomic.Pointer[ioGate]

	opts     atomic.Pointer[GroupOptions]
	setting  atomic.Uint64 // primary: counts what was set, and pairs that came
	adding   atomic.Int64  // bytes of journal volumes that are being added
	unstored atomic.Bool   // what was learned of the other side is in memory and not stored yet, see [group.storeLearned]
	late     atomic.Bool   // states are in memory and not stored yet, or could not be: until then the journal lets go of nothing
	handed   atomic.Int64  // secondary: path watch time that the primary handed on, in nanoseconds, 0 when it is taken over
	slow     *pacer        // host writes under inflow control
	line     *pacer        // what the mirror sends

	sent, received, saved, baseSent, waited atomic.Uint64
	usage                                   usageMeter

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func (s *Site) newGroup(name string, rec groupRecord) *group {
	g := &group{
		site: s, name: name, role: rec.Role, rec: rec,
		members: map[uint32]*attachment{}, pairs: map[string]*pair{},
		facts: factQueue{wake: make(chan struct{}, 1)}, restoreReq: make(chan struct{}, 1), checkReq: make(chan struct{}, 1), pullReq: make(chan struct{}, 1), watchReq: make(chan struct{}, 1),
		blockedReq: make(chan struct{}, 1), lookReq: make(chan struct{}, 1), slow: newPacer(recordMax), line: newPacer(batchMax), linkChange: time.Now(),
	}
	g.ctx, g.cancel = context.WithCancel(s.ctx)
	g.usage.begin(time.Now())
	g.openGate()
	g.loadOptions()
	return g
}

func (g *group) object() string { return "group/" + g.name }

func (g *group) dir() string { return g.site.journalDir(g.name) }

func (g *group) ringPath() string { return g.site.ringPath(g.name) }

func (g *group) options() journal.Options {
	return journal.Options{FS: g.site.cfg.journalFS, Dir: g.dir(), RingPath: g.ringPath(), RingSize: g.rec.RingSize, Received: g.rec.Role == Secondary, AddShare: prefillShare, Logger: g.site.log.With("group", g.name)}
}

// bytes gives the ring's memory to the overlay.
func (g *group) bytes(pos uint64, n int) []byte { return g.journal.Bytes(journal.Position(pos), n) }

// create makes the journal volumes of a new group.
func (g *group) create() error {
	if err := journal.Create(g.options(), g.rec.sizes()...); err != nil {
		return fault(kindOfDisk(err), err, "the journal of group %s cannot be made", g.name)
	}
	return nil
}

// open opens the journal of a group whose members are attached, replays what the stores do not hold yet and leaves it empty of work.
func (g *group) open(m marksRecord) error {
	g.mu.Lock() // the status of a group that is held shows them
	g.restoredSeq, g.peerDurable, g.peerRestore = m.Seq, m.PeerDurable, m.PeerRestored
	g.startedAt()
	g.paidSeq = g.peerDurable
	g.mu.Unlock()
	r := replay{g: g, from: m.Checkpoint}
	o := g.options()
	ring, left, err := g.ringLeft()
	if err != nil {
		return err
	}
	o.RingNeeded, o.Completed = left && !g.site.cfg.WithoutRing, g.forgetRing
	j, rec, err := journal.Open(o, m.Head, m.Known, r.record)
	if errors.Is(err, journal.ErrRing) {
		return g.site.ringGone(ring, g.name)
	}
	if err != nil {
		return g.openError(err)
	}
	g.journal = j
	if left && !rec.Ring {
		g.tellRingLost(ring)
	}
	if err := g.rememberRing(); err != nil {
		return err
	}
	if rec.Records > 0 || rec.FromRing > 0 {
		g.site.events.add(slog.LevelInfo, g.object(), "journal replayed: %s, %d of them from the staging ring, up to sequence number %d", counted(rec.Records, "record"), rec.FromRing, rec.LastSeq)
	}
	mk := j.Marks()
	g.mu.Lock()
	g.lastSeq = max(rec.LastSeq, m.LastSeq)
	g.mu.Unlock()
	g.restored, g.restoreSeq, g.checkpoint = mk.Durable, g.lastSeq, m.Checkpoint
	j.Release(mk.Durable)
	if m.LastSeq > rec.LastSeq {
		// The journal was made anew after a failure: numbers go on above all that were ever given, and what is restored for certain is what
		// a checkpoint covered.
		g.restoreSeq = m.Seq
		if g.role != Secondary {
			if _, err := g.appendControl(g.ctx, controlSeq, nil, m.LastSeq+1<<20, nil); err != nil {
				return fault(KindInternal, err, "group %s: the new journal cannot be written", g.name)
			}
		}
	}
	if err := r.obey(); err != nil {
		return err
	}
	if err := g.sayOn(); err != nil {
		return fault(KindInternal, err, "group %s: its journal cannot be written", g.name)
	}
	return g.doCheckpoint(g.ctx)
}

// startedAt takes the marks of the peer to the start of the replication, as [group.startPairs] did: a daemon that died before the next
// checkpoint did not store them. Marks from before would name numbers that the journal has freed. Requires mu.
func (g *group) startedAt() {
	if g.role != Primary {
		return
	}
	first := noStop
	for _, p := range g.pairs {
		if p.rec.State.Status.active() && p.rec.StartSeq != 0 {
			first = min(first, p.rec.StartSeq)
		}
	}
	if first != noStop {
		g.peerRestore, g.peerDurable = max(g.peerRestore, first-1), max(g.peerDurable, first-1)
	}
}

func (g *group) openError(err error) error {
	switch {
	case errors.Is(err, journal.ErrVersion):
		return fmt.Errorf("group %s: %w: start the newer pairfs that wrote it", g.name, err)
	case errors.Is(err, journal.ErrCorrupt):
		return fmt.Errorf("group %s: %w: nothing was changed; `pairfs check` shows where; %s", g.name, err, g.howToGiveUp())
	}
	return fmt.Errorf("group %s: its journal cannot be opened: %w", g.name, err)
}

// start runs the group's goroutines.
func (g *group) start() {
	if g.held.Load() != nil {
		g.wg.Go(g.holdLoop)
		return
	}
	g.wg.Add(6)
	go func() { defer g.wg.Done(); g.usageLoop() }()
	go func() { defer g.wg.Done(); g.restoreLoop() }()
	go func() { defer g.wg.Done(); g.checkpointLoop() }()
	go func() { defer g.wg.Done(); g.work() }()
	go func() { defer g.wg.Done(); g.pullLoop() }()
	go func() { defer g.wg.Done(); g.pressureLoop() }()
	g.tellTorn()
}

// stop ends the goroutines and closes the journal with everything durable and checkpointed.
func (g *group) stop(ctx context.Context) error {
	g.closeSessions()
	g.letWritesGo(0) // who waits for the end of an exchange of the roles would hold the end of the daemon up
	if g.held.Load() != nil {
		return g.stopHeld()
	}
	g.mu.Lock()
	given := g.failed != "" // given up: the stores have everything already
	g.mu.Unlock()
	var err error
	if g.journal.Err() == nil && !given {
		err = errors.Join(g.journal.Sync(ctx, g.journal.Marks().Reserved), g.restorePass(), g.doCheckpoint(ctx))
	}
	g.cancel()
	g.wg.Wait()
	return errors.Join(err, g.closeJournal())
}

// closeSessions ends the mirror sessions of the group on both roles.
func (g *group) closeSessions() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.session != nil {
		g.session.cancel()
	}
	if g.pulling != nil {
		g.pulling.cancel()
	}
}

// remove deletes what a stopped group has on disk.
func (g *group) remove() error {
	return errors.Join(os.RemoveAll(g.dir()), removeIfThere(g.ringPath()))
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// attachments returns the members at this moment.
func (g *group) attachments() []*attachment {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]*attachment, 0, len(g.members))
	for _, a := range g.members {
		all = append(all, a)
	}
	return all
}

// active reports whether any pair is replicated. Requires mu.
func (g *group) active() bool {
	for _, p := range g.pairs {
		if p.rec.State.Status.active() {
			return true
		}
	}
	return false
}

// allPairs returns the pairs at this moment, by name: what refuses a command on all of them is the same each time.
func (g *group) allPairs() []*pair {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]*pair, 0, len(g.pairs))
	for _, name := range slices.Sorted(maps.Keys(g.pairs)) {
		all = append(all, g.pairs[name])
	}
	return all
}
