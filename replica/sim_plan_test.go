package replica

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// simKind is what a step of a simulated run does.
type simKind int

const (
	simWrites     simKind = iota // several hosts write to the P-VOLs of a group
	simFlood                     // they write more than a journal holds
	simSync                      // a host flushes all volumes of a group
	simSplitWrite                // hosts write the S-VOLs that they may write
	simSuspend                   // at the primary, with a flush
	simPurge                     // at the primary, at once
	simSplitAway                 // at the secondary
	simResync
	simDelete
	simDeleteAway // at the secondary
	simCreate
	simGroupOption
	simPairOption
	simSiteOption
	simCut   // nothing passes the link
	simHeal  // all passes
	simSlow  // the link is slow and far, so that copies and flushes last
	simDeaf  // nothing passes the link to a site
	simNoise // packets are lost, come twice and overtake each other
	simTime  // nothing but time
	simKill
	simStop
	simPower
	simStart
	simClock    // the wall clock of a site is set
	simSlowDisk // a flush of a site's journals takes its time
	simSick     // the stores of a site take nothing
	simFull     // they have no room
	simBadFlush // the next flush of one of them fails
	simBadDisk  // the disk of a site's journals fails
	simNoRoom   // it has no room for another journal volume
	simNoStates // its database takes nothing
	simMend     // the disks of a site are good again
	simAddVolume
	simRemoveVolume
	simMarker    // a marker is placed
	simMarkSplit // a split at a marker
	simSettle    // everything is mended, and comes to rest
	simTakeover
	simSwap    // resync mode=swap
	simDiscard // resync discard=here or there
	simKinds   // how many there are
)

var simWords = [simKinds]string{
	"writes", "flood", "sync", "writes to S-VOLs", "suspend", "purge", "suspend at the secondary", "resync", "delete", "delete at the secondary",
	"create", "set group", "set pair", "set site", "cut", "heal", "slow", "deaf", "noise", "time", "kill", "stop", "power cut", "start", "clock", "journal disk slow", "stores fail",
	"stores full", "a flush of a store fails", "journal disk fails", "no room for journals", "site.db takes nothing", "disks mended", "add journal volume", "remove journal volume",
	"mark", "suspend at a marker", "settle",
	"takeover", "resync mode=swap", "resync discard",
}

// simStep is one step: what is done, to what, and how much time passes before the world is looked at.
type simStep struct {
	kind  simKind
	group int
	vol   int // -1 for all of the group
	site  int
	flag  bool   // svol-write, force
	seed  uint64 // of the choices inside the step
	wait  time.Duration
}

func (s simStep) String() string {
	return fmt.Sprintf("%s group=%d vol=%d site=%d flag=%v wait=%v", simWords[s.kind], s.group, s.vol, s.site, s.flag, s.wait)
}

// planner makes the steps of a run from a seed alone. It keeps in mind what it broke, so that it can mend it.
type planner struct {
	rng  *rand.Rand
	dark bool
	slow bool
	down [2]bool
	sick [2]bool
	gone [2]bool // by group: a pair was deleted
	more bool    // a journal was given a volume that can be taken away

	turns bool // roles change; pairs are not deleted and disks do not fail
}

// simWeights is how often a kind comes while nothing is broken.
var simWeights = [simKinds]int{
	simWrites: 30, simFlood: 4, simSync: 4, simSplitWrite: 6, simSuspend: 8, simPurge: 5, simSplitAway: 5, simResync: 24, simDelete: 3, simDeleteAway: 2,
	simCreate: 2, simGroupOption: 10, simPairOption: 3, simSiteOption: 1, simCut: 4, simDeaf: 2, simNoise: 4, simTime: 4, simKill: 4, simStop: 2, simPower: 5,
	simClock: 3, simSlowDisk: 6, simSick: 2, simFull: 2, simBadFlush: 2, simBadDisk: 2, simNoRoom: 1, simNoStates: 3, simAddVolume: 3, simRemoveVolume: 1, simMarker: 10, simMarkSplit: 4,
}

// plan gives the steps of a run. Every eighth or so brings the world to rest.
func plan(seed uint64, steps int, turns bool) (all []simStep) {
	p := &planner{rng: newRand(seed), turns: turns}
	for i := range steps {
		if i%8 == 0 && p.rng.IntN(2) == 0 {
			all = append(all, simStep{kind: simSlow, seed: p.rng.Uint64()})
			p.slow = true
		}
		if i%8 == 7 {
			all = append(all, simStep{kind: simSettle})
			p.dark, p.slow, p.down, p.sick = false, false, [2]bool{}, [2]bool{}
			continue
		}
		all = append(all, p.step())
	}
	return append(all, simStep{kind: simSettle})
}

func (p *planner) step() simStep {
	s := simStep{kind: p.kind(), group: p.rng.IntN(3) % 2, vol: p.rng.IntN(4) - 2, site: p.rng.IntN(2), flag: p.rng.IntN(2) == 0, seed: p.rng.Uint64(), wait: p.wait()}
	s.vol = max(s.vol, -1)
	switch s.kind {
	case simDelete, simDeleteAway:
		p.gone[s.group] = true
	case simCreate:
		p.gone[s.group] = false
	case simTakeover:
		s.flag = s.seed%5 > 0 // at the secondary, whichever that is then
	case simCut, simDeaf:
		p.dark = true
	case simHeal:
		p.dark = false
	case simKill, simStop, simPower:
		if p.down[s.site] {
			s.kind = simStart
		}
		p.down[s.site] = s.kind != simStart
	case simStart:
		if !p.down[s.site] {
			s.site = 1 - s.site
		}
		p.down[s.site] = false
	case simAddVolume:
		p.more = true
	case simSick, simFull, simNoRoom, simNoStates:
		p.sick[s.site] = true
	case simMend:
		if !p.sick[s.site] {
			s.site = 1 - s.site
		}
		p.sick[s.site] = false
	}
	return s
}

// kind chooses by weight; what is broken may be mended.
func (p *planner) kind() simKind {
	weights := simWeights
	if p.turns {
		weights[simDelete], weights[simDeleteAway], weights[simCreate], weights[simSick], weights[simBadDisk] = 0, 0, 0, 0, 0
		weights[simFull], weights[simBadFlush], weights[simNoRoom], weights[simMarker], weights[simMarkSplit] = 0, 0, 0, 0, 0
		weights[simTakeover], weights[simSwap], weights[simDiscard], weights[simSplitWrite], weights[simResync] = 40, 30, 24, 14, 12
	}
	if p.dark {
		weights[simHeal], weights[simCut], weights[simDeaf] = 15, 0, 0
	}
	if p.dark || p.slow { // what meets records on their way
		weights[simWrites] += 15
		weights[simSuspend] += 10
		weights[simMarker] += 10
		weights[simMarkSplit] += 8
		weights[simPurge] += 5
		weights[simResync] += 10
	}
	if p.more {
		weights[simAddVolume], weights[simRemoveVolume] = 4, 8
	}
	for i := range 2 {
		if p.down[i] {
			weights[simStart] += 25
		}
		if p.sick[i] {
			weights[simMend] += 15
		}
		if p.gone[i] {
			weights[simCreate] += 15
		}
	}
	sum := 0
	for _, w := range weights {
		sum += w
	}
	n := p.rng.IntN(sum)
	for k, w := range weights {
		if n -= w; n < 0 {
			return simKind(k)
		}
	}
	return simTime
}

// wait is how much time passes: often so little that the next step meets this one under way, sometimes more than any watch time.
func (p *planner) wait() time.Duration {
	span := []time.Duration{0, 0, 20 * time.Millisecond, 20 * time.Millisecond, time.Second, time.Second, 10 * time.Second, 2 * time.Minute}[p.rng.IntN(8)]
	return time.Duration(p.rng.Int64N(int64(span) + 1)).Round(100 * time.Microsecond)
}

// simOptions are the values that a run sets, by option.
var (
	simGroupOptions = [][2]string{
		{"inflow-control", "yes"}, {"inflow-control", "no"}, {"overflow-watch", "0s"}, {"overflow-watch", "5s"}, {"overflow-watch", "60s"},
		{"path-watch", "1s"}, {"path-watch", "10s"}, {"path-watch", "60s"}, {"forward-path-watch", "yes"}, {"forward-path-watch", "no"},
		{"copy-pace", "low"}, {"copy-pace", "medium"}, {"copy-pace", "high"}, {"line-speed", "none"}, {"line-speed", "256K"}, {"line-speed", "256K"}, {"line-speed", "4M"},
		{"use-of-cache", "yes"}, {"use-of-cache", "no"}, {"paths", "auto"}, {"paths", "1"}, {"paths", "2"}, {"paths", "5"}, {"paths", "16"},
	}
	simPairOptions = [][2]string{{"priority", "1"}, {"priority", "256"}, {"error-level", "group"}, {"error-level", "lu"}}
	simSiteOptions = [][2]string{{"copies", "1"}, {"copies", "64"}}
)
