package replica

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"

	"pairfs/journal"
)

// A marker is one sequence number of a group's order, by which an application says: up to here. Everything that was acknowledged to any host
// of the group before the marker was placed stands before it. The reference's name for it is Q-Marker.
//
// What tells histories apart is kept with each pair already, on both sides: the generation, which changes with a create, a swap and a
// takeover, and the number of the start record, which a resync moves on. So a marker needs no state of its own. It carries the number and, as
// its epoch, a checksum over the generations of the pairs that it speaks of: one pair, or all that the group had. Either side finds these
// pairs by it again, whatever the group is called there, and what became of the marker follows from the bounds of their replication:
//
//	changed   a pair of it is not there any more, or has another generation, or its start record stands behind the marker, or the
//	          secondary has granted the resync that this record will begin. Pairs that joined the group later do not matter.
//	broken    the pair was suspended, and the marker was not restored before, as far as this side knows. The secondary knows where its volume
//	          stopped. A primary counts what the secondary has confirmed, up to where that says that the volume stopped; when it does not hear
//	          the secondary that may be less than is restored there, and the note says so.
//	done      everything before the marker is in the stores of the S-VOLs and checkpointed. It stays done while the pairs are split.
//	waiting   none of these
//
// Only pairs in PAIR are marked: before, the S-VOL is no image of one moment, and a marker would promise nothing.

// Marker names one place in the order of a group. The zero value is none.
type Marker struct {
	Name  string // of the pair or group that was marked, as the site calls it where the marker was placed
	Epoch uint64 // checksum over the generations of the pairs that it speaks of
	Seq   uint64 // sequence number of the group
}

// String returns the marker as one word: NAME/EPOCH-SEQ, the epoch as 16 hexadecimal digits.
func (m Marker) String() string { return fmt.Sprintf("%s/%016x-%d", m.Name, m.Epoch, m.Seq) }

// ParseMarker reads the one form that String writes. What is none is refused as KindInvalid.
func ParseMarker(word string) (m Marker, err error) {
	name, rest, _ := strings.Cut(word, "/")
	epoch, seq, ok := strings.Cut(rest, "-")
	if ok && checkName("group", name) == nil {
		var errs [2]error
		m.Name = name
		m.Epoch, errs[0] = strconv.ParseUint(epoch, 16, 64)
		m.Seq, errs[1] = strconv.ParseUint(seq, 10, 64)
		ok = errs == [2]error{}
	}
	if !ok || m.Seq == 0 || m.Seq >= uint64(noStop) || m.String() != word {
		return Marker{}, refuse(KindInvalid, "%q is no marker: it is NAME/EPOCH-NUMBER, one word, as `pairfs pair mark` prints it", clip(word, nameMax))
	}
	return m, nil
}

// MarkerState is what became of a marker.
type MarkerState uint8

// The states of a marker, in the order in which that of one pair outweighs that of another.
const (
	MarkerDone    MarkerState = iota // everything before it is restored at the secondary
	MarkerWaiting                    // not yet
	MarkerBroken                     // a pair was suspended before it was restored
	MarkerChanged                    // the history is another one now
)

var markerStates = [...]string{"done", "waiting", "broken", "changed"}

// String returns the word of the state as the command line and control files show it.
func (s MarkerState) String() string {
	if int(s) < len(markerStates) {
		return markerStates[s]
	}
	return fmt.Sprintf("marker-state(%d)", uint8(s))
}

// markerFacts are what the state of a marker follows from for one pair of it, on one side.
type markerFacts struct {
	seq       journal.Seq // the marker
	role      Role
	status    Status
	off       bool        // secondary: the primary was switched off, and the pair goes on when it is back
	start     journal.Seq // of the pair; 0 at a secondary whose first start record has not come
	stop      journal.Seq
	starting  bool        // secondary, replicated: a resync was granted, its start record has not come
	there     journal.Seq // primary, suspended: the secondary is heard and has everything up to there; noStop if it has not said yet where it stopped
	restored  journal.Seq // everything up to it is in the store of the S-VOL, as this side knows
	unsure    bool        // primary: the secondary may have deleted the pair, or given its S-VOL up
	torn      bool        // secondary: the S-VOL was given up
	unmovable bool        // secondary: the journal failed, so restored will not move on
	image     bool        // the S-VOL is an image of one moment
}

// state is the rule of markers for one pair.
func (f markerFacts) state() MarkerState {
	goesOn := f.status.active() || f.off
	switch {
	case f.status == SMPL || f.status == Deleting || f.starting || f.start > f.seq:
		return MarkerChanged
	case f.torn, !f.image && !goesOn:
		return MarkerBroken
	case f.start == 0 || f.status == COPY || f.unsure || !f.image: // known in a moment
		return MarkerWaiting
	case f.seq > f.stop && !goesOn:
		return MarkerBroken
	case f.restored >= f.seq:
		return MarkerDone
	case goesOn, f.role == Secondary && !f.unmovable, f.seq <= f.there: // what the secondary has it restores
		return MarkerWaiting
	}
	return MarkerBroken
}

// epochOf is the checksum over the generations of pairs by which a marker finds them again. Requires mu.
func epochOf(pairs []*pair) uint64 {
	sorted := slices.Clone(pairs)
	slices.SortFunc(sorted, func(p, q *pair) int { return cmp.Compare(p.rec.Number, q.rec.Number) })
	h := fnv.New64a()
	for _, p := range sorted {
		b := binary.LittleEndian.AppendUint32(nil, p.rec.Number)
		_, _ = h.Write(binary.LittleEndian.AppendUint64(b, p.rec.Generation))
	}
	return h.Sum64()
}

// marked returns the pairs of the group that the marker speaks of, nil if it is none of this group's present histories. Requires mu.
func (g *group) marked(m Marker) []*pair {
	var started, there []*pair
	for _, p := range g.pairs {
		if one := []*pair{p}; epochOf(one) == m.Epoch {
			return one
		}
		if p.rec.StartSeq > journal.Seq(m.Seq) {
			continue // it joined later, or was resynced since
		}
		if there = append(there, p); p.rec.StartSeq != 0 {
			started = append(started, p)
		}
	}
	for _, all := range [][]*pair{started, there} {
		if len(all) > 0 && epochOf(all) == m.Epoch {
			return all
		}
	}
	return nil
}

// markerFacts gathers what the state of a marker follows from for one of its pairs. Requires mu.
func (p *pair) markerFacts(m Marker) markerFacts {
	g, st := p.group, p.rec.State
	f := markerFacts{
		seq: journal.Seq(m.Seq), role: st.Role, status: st.Status, off: st.Role == Secondary && st.Suspend == MCUPowerOff && !p.gone, start: p.rec.StartSeq, stop: p.rec.StopSeq,
		starting: p.rec.Starting && st.Status.active(), torn: p.att.torn.Load(), unmovable: g.failed != "", image: st.Consistent, restored: g.restoredSeq,
	}
	if st.Role != Primary {
		return f
	}
	f.restored = p.rec.HeldSeq
	if f.there = p.peerStop; p.peerStatus.active() {
		f.there = noStop // it is about to hear of the suspension
	}
	if !g.linked || p.gone || p.missing {
		f.there = 0
	}
	if st.Status.active() {
		f.restored = g.peerRestore
		f.unsure = p.asked || p.missing || p.peerStatus == Deleting
	}
	return f
}
