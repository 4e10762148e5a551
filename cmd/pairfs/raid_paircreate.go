package main

import (
	"fmt"
	"path/filepath"
	"strings"
)

var paircreateOptions = []raidOption{
	{name: "-vl", help: "the volume here becomes the P-VOL"},
	{name: "-vr", help: "the volume at the other site is the P-VOL; a pair is made there, so this only sets -cto here"},
	{name: "-nocopy", help: "no initial copy: the volumes are equal already"},
	{name: "-f", min: 1, max: 2, operands: "async [CTGID]", check: onlyAsync, help: "how the pair is replicated; all are async, and a group is one consistency group"},
	{name: "-cto", min: 1, max: 3, operands: "SECONDS", check: overflowTimes, help: "how long hosts wait for a full journal of the group, 1 to 600, with inflow control; 0 is without; on this side"},
}

// onlyAsync takes what -f may ask for.
func onlyAsync(ops []string) error {
	switch strings.ToLower(ops[0]) {
	case "async":
		return numbers(0, 255)(ops[1:])
	case "never", "data", "status":
		return raidf(exENOSUP, "fence level %s is of synchronous pairs, and all are asynchronous here: use -f async", ops[0])
	}
	return oneOf("async")(ops[:1])
}

// overflowTimes takes the times of -cto; those behind the first are of the older asynchronous pairs and do nothing.
func overflowTimes(ops []string) error {
	for i, hi := range []int{600, 15, 10}[:len(ops)] {
		if err := numbers(0, hi)(ops[i : i+1]); err != nil {
			return err
		}
	}
	return nil
}

// paircreate makes pairs of the volumes that are named. It returns when the copies have begun.
func paircreate(r *raidCall) (int, error) {
	here, there := r.args.has("-vl"), r.args.has("-vr")
	switch {
	case here && there:
		return 0, raidf(exOPTINV, "-vl and -vr contradict each other: which volume is the P-VOL?")
	case !here && !there:
		return 0, raidf(exREQARG, "-vl or -vr has to say which volume is the P-VOL, the local or the remote one")
	}
	t, err := r.target()
	if err != nil {
		return 0, err
	}
	if err := r.checkSides(t, here); err != nil {
		return 0, err
	}
	ask := askCreate
	if r.args.has("-nocopy") {
		ask = askNocopy
	}
	todo, err := decide(t.members, ask)
	if err != nil {
		return 0, err
	}
	for _, m := range todo {
		if err := r.create(t, m, ask); err != nil {
			return 0, err
		}
	}
	return 0, r.setOverflow(t)
}

// checkSides refuses a create that says the wrong side, or that is none of this site's.
func (r *raidCall) checkSides(t *raidTarget, here bool) error {
	if len(t.members) == 0 {
		return raidf(exREQARG, "group %s has no pairs yet: name the volume with -d", t.shown)
	}
	if here {
		return t.allOn(sideP, exEVOLCE, "the P-VOL is at the other site, use -vr")
	}
	for _, m := range t.members {
		if m.side() == sideSMPL {
			return raidf(exCMDRJE, "%s is in no pair, and a pair is made at the site of its P-VOL: give paircreate -vl there; "+
				"set the volume here aside for it before (pairfs volume reserve %s --peer=…)", m.name(), m.volume)
		}
	}
	return t.allOn(sideS, exEVOLCE, "the P-VOL is at this site, use -vl")
}

// create makes one pair. Its name is the one that -d has for it.
func (r *raidCall) create(t *raidTarget, m raidMember, ask raidRequest) error {
	if err := checkPair(m.dev); err != nil {
		return coded(err, exINVNAM)
	}
	group := t.group
	if group == "" && t.shown != "" {
		f := finder{site: t.site, conf: r.conf}
		var err error
		if group, err = f.groupNamed(t.shown); err != nil {
			return err
		}
	}
	if group == "" {
		return raidf(exREQARG, "which group is pair %s to be in? say it with -g", m.name())
	}
	peer, err := r.peerFor(t.site, t.shown, group)
	if err != nil {
		return err
	}
	line := fmt.Sprintf("create volume=%s peer=%s group=%s", m.volume, peer, group)
	if ask == askNocopy {
		line += " copy=none"
	}
	return r.do(t.site, m.dev, line, true)
}

// peerFor returns the peer that a new pair of a group is to be with: the one that the group is mirrored to, else the one that the instance
// names for it, else the only one that the site has.
func (r *raidCall) peerFor(s site, shown, group string) (string, error) {
	g, err := s.read(filepath.Join("groups", group))
	if err != nil {
		return "", coded(err, exENOGRP)
	}
	if g.has("peer") {
		return g.get("peer"), nil
	}
	if p := r.conf.peer(shown); p != "" {
		return p, nil
	}
	peers, err := s.names("peers")
	switch {
	case err != nil:
		return "", attached(err)
	case len(peers) == 1:
		return peers[0], nil
	case len(peers) == 0:
		return "", raidf(exENORMT, "the site of %s has no peer: add one with pairfs peer add", s.mnt)
	}
	return "", raidf(exREQARG, "group %s has no peer yet, and the site has %s: name one below HORCM_INST, or make its first pair with pairfs pair create",
		group, strings.Join(peers, ", "))
}

// setOverflow sets what -cto says, on this side.
func (r *raidCall) setOverflow(t *raidTarget) error {
	if !r.args.has("-cto") {
		return nil
	}
	if err := t.refresh(); err != nil {
		return err
	}
	line := "set inflow-control=no"
	if n := r.args.number("-cto", 0); n > 0 {
		line = fmt.Sprintf("set inflow-control=yes overflow-watch=%ds", n)
	}
	set := map[string]bool{}
	for _, m := range t.members {
		group := m.st.get("group")
		if m.pair == "" { // made just now
			if p, err := t.site.pairState(m.dev); err == nil {
				group = p.get("group")
			}
		}
		if group == "-" || set[group] {
			continue
		}
		set[group] = true
		if err := r.do(t.site, filepath.Join("groups", group), line, false); err != nil {
			return err
		}
	}
	return nil
}
