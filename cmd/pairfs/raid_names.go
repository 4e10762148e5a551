package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// raidMember is one volume that a command is for, with the pair that it is in.
type raidMember struct {
	dev    string // what -d calls it: the pair's name, or the volume's while it is in none
	pair   string // "" while the volume is in none
	volume string
	group  string // journal group of the pair, here
	st     state  // of the pair; of a volume in no pair, as if a pair said SMPL
}

func (m raidMember) name() string       { return m.dev }
func (m raidMember) side() raidSide     { return sideOf(m.st) }
func (m raidMember) status() raidStatus { return localStatus(m.st) }

// acceptedAs is the status that decides what the pair accepts: once one side was taken over it is SSWS on both.
func (m raidMember) acceptedAs() raidStatus {
	if s, known := remoteStatus(m.st); known && s == raidSSWS {
		return s
	}
	return m.status()
}

// changing reports whether the pair is in a status that is not told to hosts.
func (m raidMember) changing() bool {
	return m.st.get("status") == "Suspending" || m.st.get("status") == "Deleting"
}

// raidTarget is what -g and -d name.
type raidTarget struct {
	site    site
	shown   string // the group as it was named
	group   string // the journal group, "" if the volumes are in several or in none
	members []raidMember
	whole   bool // the members are all pairs of the group
}

// pairLine is one line of .ctl/pairs.
type pairLine struct{ name, role, volume, group string }

// parsePairs reads .ctl/pairs: "NAME role=… status=… volume=… peer=… group=… …".
func parsePairs(text string) []pairLine {
	var all []pairLine
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		p := pairLine{name: words[0]}
		for _, w := range words[1:] {
			switch key, value, _ := strings.Cut(w, "="); key {
			case "role":
				p.role = value
			case "volume":
				p.volume = value
			case "group":
				p.group = value
			}
		}
		all = append(all, p)
	}
	return all
}

// target finds what -g and -d name, and the state of each pair.
func (r *raidCall) target() (*raidTarget, error) {
	s, err := r.app.site()
	if err != nil {
		return nil, attached(err)
	}
	text, err := s.text("pairs")
	if err != nil {
		return nil, attached(err)
	}
	dev, wholeGroup, err := r.device(s)
	if err != nil {
		return nil, err
	}
	f := finder{site: s, conf: r.conf, pairs: parsePairs(text)}
	t := &raidTarget{site: s, shown: r.args.value("-g", "")}
	if t.members, t.group, err = f.find(t.shown, dev); err != nil {
		return nil, err
	}
	if wholeGroup && t.group != "" {
		t.members = f.pairsOf(t.group)
	}
	if t.shown == "" {
		t.shown = t.group
		if listed, ok := r.conf.groupOf(dev); ok {
			t.shown = listed
		}
	}
	t.whole = t.group != "" && len(t.members) > 0 && len(t.members) == len(f.pairsOf(t.group)) &&
		!slices.ContainsFunc(t.members, func(m raidMember) bool { return m.pair == "" })
	return t, t.refresh()
}

// refresh reads the state of each pair again. A pair that went away is SMPL.
func (t *raidTarget) refresh() error {
	for i := range t.members {
		m := &t.members[i]
		m.st = parseState("name: " + m.dev + "\nvolume: " + m.volume + "\nstatus: SMPL\n")
		if m.pair == "" {
			continue
		}
		p, err := t.site.pairState(m.pair)
		switch {
		case err != nil:
			return attached(err)
		case p.get("status") != "SMPL":
			m.st = p
		}
	}
	return nil
}

// device returns the one operand that -d or -dg comes to, and whether the whole group of it is meant.
func (r *raidCall) device(s site) (name string, whole bool, err error) {
	given := r.args.last("-d", "-dg")
	ops := r.args.operands(given)
	if len(ops) == 0 {
		return "", false, nil
	}
	name = ops[0]
	switch {
	case len(ops) == 3, len(ops) == 2 && onlyMirror0(ops[1:]) != nil: // SITE VOLUME [MU#]
		st, err := s.read("site")
		if err != nil {
			return "", false, attached(err)
		}
		if st.get("name") != ops[0] {
			return "", false, raidf(exENQSER, "-d %s %s: the site here is %s", ops[0], ops[1], st.get("name"))
		}
		name, ops = ops[1], ops[2:]
	default:
		ops = ops[1:]
	}
	if err := onlyMirror0(ops); err != nil {
		return "", false, err
	}
	if strings.Contains(name, "/") {
		if name, err = volumeAt(s, name); err != nil {
			return "", false, err
		}
	}
	if err := checkName(name); err != nil {
		return "", false, within("option "+given, err, exINVARG)
	}
	return name, given == "-dg", nil
}

// volumeAt returns the volume whose path it is.
func volumeAt(s site, path string) (string, error) {
	full, err := absolute(path)
	if err != nil || filepath.Dir(full) != s.mnt {
		return "", raidf(exENODEV, "%s is no volume of the site of %s", path, s.mnt)
	}
	return filepath.Base(full), nil
}

// finder looks for pairs and volumes by the names that scripts have for them.
type finder struct {
	site  site
	conf  *horcm
	pairs []pairLine
}

// find finds what is meant by the names of a group and of one of its pairs or volumes, each "" if it was not given.
func (f *finder) find(group, dev string) (members []raidMember, journalGroup string, err error) {
	switch {
	case group != "":
		return f.inGroup(group, dev)
	case dev != "":
		return f.anywhere(dev)
	}
	return nil, "", raidf(exREQARG, "nothing is named: -g names a group, -d a pair or volume")
}

// member makes a member of a pair.
func (p pairLine) member() raidMember {
	return raidMember{dev: p.name, pair: p.name, volume: p.volume, group: p.group}
}

// pairsOf returns the pairs of a journal group.
func (f *finder) pairsOf(group string) []raidMember {
	var all []raidMember
	for _, p := range f.pairs {
		if p.group == group {
			all = append(all, p.member())
		}
	}
	return all
}

// inGroup finds the members of a group, or the one of them that dev names.
func (f *finder) inGroup(group, dev string) ([]raidMember, string, error) {
	if err := checkName(group); err != nil {
		return nil, "", within("option -g", err, exINVARG)
	}
	if listed := f.conf.of(group); len(listed) > 0 {
		return f.listed(group, dev, listed)
	}
	name, err := f.groupNamed(group)
	if err != nil && dev != "" {
		// A restore group goes with its last pair. What is in no pair any more is SMPL by any name of a group.
		if m, e := f.volume(dev); e == nil && m.pair == "" {
			return []raidMember{m}, "", nil
		}
	}
	if err != nil || dev == "" {
		return f.pairsOf(name), name, err
	}
	m, err := f.one(f.pairsOf(name), dev)
	if err != nil {
		return nil, "", err
	}
	if m.group != "" && m.group != name {
		return nil, "", raidf(exENODEV, "group %s has no pair or volume %s: it is in pair %s of group %s", group, dev, m.pair, m.group)
	}
	return []raidMember{m}, name, nil
}

// groupNamed finds a journal group by its name here, or by the one that it has at the peer: scripts call it the same at both sites, and go on
// to do so when the roles were exchanged. A restore group that a peer's group made is called GROUP@PEER.
func (f *finder) groupNamed(name string) (string, error) {
	groups, err := f.site.readAll("groups", nil)
	if err != nil {
		return "", attached(err)
	}
	return chooseGroup(groups, name, f.site.mnt)
}

// chooseGroup finds the one group that is meant by a name: the own name counts before that at the peer.
func chooseGroup(groups []state, name, mnt string) (string, error) {
	var others []string
	for _, g := range groups {
		if g.get("name") == name {
			return name, nil
		}
		if made, _, ok := strings.Cut(g.get("name"), "@"); g.get("peer-group") == name || ok && made == name {
			others = append(others, g.get("name"))
		}
	}
	switch len(others) {
	case 0:
		return "", raidf(exENOGRP, "no group %s at the site of %s; pairfs group list shows those that there are", name, mnt)
	case 1:
		return others[0], nil
	}
	return "", raidf(exINVNAM, "group %s is of several peers: name one of %s", name, strings.Join(others, ", "))
}

// listed finds the members of a group that the configuration of the instance has.
func (f *finder) listed(group, dev string, devs []horcmDev) ([]raidMember, string, error) {
	var all []raidMember
	for _, d := range devs {
		if dev != "" && d.name != dev && d.volume != dev {
			continue
		}
		m, err := f.volume(d.volume)
		if err != nil {
			return nil, "", raidf(exENODEV, "%s lists %s for group %s: %w", f.conf.file, d.volume, group, err)
		}
		m.dev = d.name
		all = append(all, m)
	}
	if len(all) == 0 {
		return nil, "", raidf(exENODEV, "%s lists no %s for group %s", f.conf.file, dev, group)
	}
	name := all[0].group
	if slices.ContainsFunc(all, func(m raidMember) bool { return m.group != name }) {
		return all, "", nil // several journal groups, or some are in no pair yet
	}
	if name == "" {
		name, _ = f.groupNamed(group) // none: then there is nothing yet but volumes
	}
	return all, name, nil
}

// anywhere finds a pair or volume without being told the group: by its name in the configuration of the instance, else by its own.
func (f *finder) anywhere(dev string) ([]raidMember, string, error) {
	if group, ok := f.conf.groupOf(dev); ok {
		return f.inGroup(group, dev)
	}
	all := make([]raidMember, len(f.pairs))
	for i, p := range f.pairs {
		all[i] = p.member()
	}
	byPair := slices.IndexFunc(all, func(m raidMember) bool { return m.pair == dev })
	byVolume := slices.IndexFunc(all, func(m raidMember) bool { return m.volume == dev })
	if byPair >= 0 && byVolume >= 0 && byPair != byVolume {
		return nil, "", raidf(exINVNAM, "%s is a pair, and the volume of pair %s: say the group (-g)", dev, all[byVolume].pair)
	}
	m, err := f.one(all, dev)
	return []raidMember{m}, m.group, err
}

// one finds the pair or volume of that name among members, else a volume anywhere.
func (f *finder) one(members []raidMember, dev string) (raidMember, error) {
	for _, by := range []func(raidMember) string{
		func(m raidMember) string { return m.pair }, func(m raidMember) string { return m.volume },
	} {
		if i := slices.IndexFunc(members, func(m raidMember) bool { return by(m) == dev }); i >= 0 {
			return members[i], nil
		}
	}
	m, err := f.volume(dev)
	if err != nil {
		return m, raidf(exENODEV, "no pair and no volume %s at the site of %s", dev, f.site.mnt)
	}
	return m, nil
}

// volume finds a volume, with its pair if it is in one.
func (f *finder) volume(name string) (raidMember, error) {
	if err := checkName(name); err != nil {
		return raidMember{}, err
	}
	if i := slices.IndexFunc(f.pairs, func(p pairLine) bool { return p.volume == name }); i >= 0 {
		return f.pairs[i].member(), nil
	}
	if _, err := f.site.read(filepath.Join("volumes", name)); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return raidMember{}, errors.New("there is no such volume")
		}
		return raidMember{}, err
	}
	return raidMember{dev: name, volume: name}, nil
}
