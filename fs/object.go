package fs

import (
	"context"

	"pairfs/replica"
)

// objectKind says what a control file is of.
type objectKind uint8

const (
	siteObject objectKind = iota
	pairsObject
	eventsObject
	metricsObject
	historyObject
	keptObject
	pairObject
	groupObject
	peerObject
	volumeObject
)

// object is what one control file stands for. It holds no state: the site does.
type object struct {
	kind objectKind
	name string // of the pair, group, peer or volume, else ""
}

// verbs returns the table of commands of o, nil if it takes none, and the word for what the table is of.
func (o object) verbs() (table []verb, what string) {
	switch o.kind {
	case siteObject:
		return siteVerbs, "the site"
	case pairObject:
		return pairVerbs, "a pair"
	case groupObject:
		return groupVerbs, "a group"
	case peerObject:
		return peerVerbs, "a peer"
	case volumeObject:
		return volumeVerbs, "a volume"
	case keptObject:
		return keptVerbs, "the kept sets"
	}
	return nil, ""
}

// title returns the object as events name it: "pair/pair0", "site".
func (o object) title() string {
	switch {
	case o.kind == keptObject:
		return "kept"
	case o.name == "":
		return "site"
	}
	return o.sort() + "/" + o.name
}

// sort returns the word for what kind of thing o is.
func (o object) sort() string {
	switch o.kind {
	case pairObject:
		return "pair"
	case groupObject:
		return "group"
	case peerObject:
		return "peer"
	case volumeObject:
		return "volume"
	}
	return "site"
}

// exists reports whether the object is there.
func (o object) exists(site backend) bool { return o.name == "" || site.Knows(o.title()) }

// text returns the state of the object, ok is false if it is not there.
func (o object) text(st *replica.SiteStatus) (text string, ok bool) {
	switch o.kind {
	case siteObject:
		return formatSite(st), true
	case pairsObject:
		return formatPairs(st), true
	case metricsObject:
		return formatMetrics(st, lookAtProcess()), true
	case pairObject:
		return find(st.Pairs, func(p *replica.PairStatus) bool { return p.Name == o.name }, formatPair)
	case groupObject:
		return find(st.Groups, func(g *replica.GroupStatus) bool { return g.Name == o.name }, formatGroup)
	case peerObject:
		return find(st.Peers, func(p *replica.PeerStatus) bool { return p.Name == o.name }, formatPeer)
	case volumeObject:
		return find(st.Volumes, func(v *replica.VolumeStatus) bool { return v.Name == o.name }, formatVolume)
	}
	return "", false
}

// find formats the first element that matches.
func find[T any](list []T, match func(*T) bool, format func(*T) string) (string, bool) {
	for i := range list {
		if match(&list[i]) {
			return format(&list[i]), true
		}
	}
	return "", false
}

// run parses a line and carries it out; a question it only reads, and returns. It returns the verb, and an error that is a whole sentence.
func (o object) run(ctx context.Context, c commander, line []byte) (word string, q *question, err error) {
	table, what := o.verbs()
	if table == nil {
		return "", nil, invalid("this file takes no commands; it is only read")
	}
	v, opts, err := parseFor(table, what, line)
	switch {
	case err != nil:
		return "", nil, err
	case v.run == nil:
		return v.name, o.question(c, opts), nil
	}
	ctx, cancel := commandContext(ctx, v.bound(opts))
	defer cancel()
	return v.name, nil, v.run(ctx, c, o.name, opts)
}
