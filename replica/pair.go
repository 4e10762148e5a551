package replica

import (
	"cmp"
	"log/slog"
	"sync/atomic"
	"time"

	"pairfs/journal"
	"pairfs/quicwire"
)

// pair is one pair on this side. Its fields are guarded by the mu of its group; name, group and att never change.
type pair struct {
	name  string
	group *group
	att   *attachment

	rec    pairRecord
	since  time.Time // of rec.State in this run of the daemon: rec.Since is by the wall clock
	shown  PairState // what operators see: durable, and obeyed by hosts
	opts   PairOptions
	copier *copier // primary in COPY with a mirror session: the base records under way

	round   atomic.Uint64 // how often its replication began in this run of the daemon
	forced  bool          // secondary: deleted by force, so what cannot be restored is given up; guarded by group.mu
	leaving bool          // in Deleting, and that is stored: records that arrive for it are none of anybody's business
	asked   bool          // primary: the peer was asked to delete it, and may end the mirror before it answers

	trouble string // what the last refused command, or failure that left the state as it is, said; "" since a command was obeyed or the state changed

	releaseAt   time.Time     // Deleting: when the next attempt to release it is due
	releaseWait time.Duration // what grows between attempts, 0 before one failed; guarded by group.cmd

	stopping bool // primary: its replication was stopped by no record, and that is not stored yet; see [group.passes]

	drainBy    time.Time   // primary in Suspending: when the flush is given up if the peer takes nothing
	drainSeq   journal.Seq // what the peer had restored when that was set
	copyStart  time.Time   // for the rate and the estimate
	copyTotal  int64       // bytes marked when the copy began
	peerStatus Status      // as the other side said last
	peerStop   journal.Seq // primary: where the S-VOL, suspended and an image of one moment, stopped, as the other side said last; 0 if it is none
	gone       bool        // the other side said that it has no such pair
	unheard    bool        // it is from before this start, and the other side has said nothing of it since
	missing    bool        // the last list of the other side had no word of it, perhaps because that was older than the pair
}

// state is the value that [Step] decides on. Requires group.mu.
func (p *pair) state() PairState { return p.rec.State }

// object is how events name the pair.
func (p *pair) object() string { return "pair/" + p.name }

// wire is the pair as the other side is told. Requires group.mu.
func (p *pair) wire() quicwire.PairState {
	seq := p.rec.StopSeq
	if seq == noStop {
		seq = 0
	}
	status := p.rec.State.Status
	if p.rec.State.TookOver && p.rec.State.Role == Secondary {
		status = SSWS // whatever else happened to it since: that is what the primary has to know
	}
	return quicwire.PairState{
		Name: p.name, Number: p.rec.Number, Generation: p.rec.Generation,
		Status: uint8(status), SuspendType: uint8(p.rec.State.Suspend), Consistent: p.rec.State.Consistent, Seq: uint64(seq),
	}
}

// tells is the pair as a site with these features is told. Requires group.mu.
func (p *pair) tells(peer quicwire.Features) quicwire.PairState {
	st := p.wire()
	if p.rec.PathLost && peer&quicwire.FeaturePathLost != 0 {
		st.SuspendType |= quicwire.SuspendPathLost
	}
	return st
}

// granted reports whether this side, the secondary, granted a resync a moment ago whose start record has not come: what the primary says
// of its state meanwhile may be from before. Requires group.mu.
func (p *pair) granted() bool {
	return p.rec.State.Role == Secondary && p.rec.State.Status == COPY && p.rec.Starting && time.Since(p.since) < requestTimeout
}

// orphan reports whether this side was made by a create that failed at the primary, which could not take it back: the primary has no such
// pair, and would have it by now. The next create of the pair replaces it. Requires group.mu.
func (p *pair) orphan(now time.Time) bool {
	return p.rec.State.Role == Secondary && p.rec.State.Status.active() && p.rec.StartSeq == 0 && p.gone &&
		now.Sub(p.since) > requestTimeout+createTimeout(p.group.journalSize())
}

// endCopy forgets the base records under way; what is still marked is copied anew. Requires group.mu.
func (p *pair) endCopy() {
	p.copier = nil
	p.group.site.slots.drop(p)
}

// applyAccess lets the write path see what the state allows, and then operators see the state. Requires group.mu.
func (p *pair) applyAccess() {
	p.att.writable.Store(p.rec.State.mayWrite() && p.group.fence.Load() == nil)
	p.shown = p.rec.State
}

// level is how loud a status is.
func (s PairState) level() slog.Level {
	switch s.Status {
	case PSUE, PFUS:
		if s.Suspend == MCUPowerOff {
			return slog.LevelWarn // planned, and it ends by itself
		}
		return slog.LevelError
	case PSUS, Suspending, Deleting:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// lastError is the last sentence that a command or failure left. Requires group.mu.
func (p *pair) lastError() string { return cmp.Or(p.trouble, p.rec.LastError) }

// why is the sentence with which a pair was suspended, "" if it is not or nobody gave one. Requires group.mu.
func (p *pair) why() string {
	if p.rec.State.Status.suspended() {
		return p.rec.LastError
	}
	return ""
}
