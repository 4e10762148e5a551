package fs

import (
	"context"
	"math"
	"strconv"
	"strings"
	"time"

	"pairfs/replica"
)

// What a command leaves out.
const (
	defaultGroup   = "default"
	defaultSize    = 1 << 30 // bytes of a new group's journal
	defaultVolumes = 1       // journal volumes of a new group
	defaultTimeout = "60s"   // of a takeover
)

// The options that several commands share.
var (
	modeFlushPurge  = key{name: "mode", words: []string{"flush", "purge"}}
	modeNormalForce = key{name: "mode", words: []string{"normal", "force"}}
	atMark          = key{name: "mark", words: []string{"yes", "no"}}
	atMarker        = key{name: "marker", check: isMarker}
	svolWrite       = key{name: "svol-write", words: []string{"enable", "disable"}}
	resyncKeys      = []key{{name: "mode", words: []string{"normal", "swap"}}, {name: "discard", words: []string{"here", "there"}}}
	takeoverKeys    = []key{{name: "timeout", check: timed}}
)

// optionKeys are the options of a scope as options of a command; the site knows their values.
func optionKeys(scope string, keys ...key) []key {
	for _, text := range replica.OptionNames(scope) {
		name, _, _ := strings.Cut(text, "=")
		keys = append(keys, key{name: name})
	}
	return keys
}

// optionsOf takes those of a command that are options of the scope, nil for none.
func optionsOf(scope string, o options) map[string]string {
	var set map[string]string
	for _, k := range optionKeys(scope) {
		if v, ok := o[k.name]; ok {
			if set == nil {
				set = map[string]string{}
			}
			set[k.name] = v
		}
	}
	return set
}

// pairVerbs are the commands of .ctl/PAIR.
var pairVerbs = []verb{
	{"create", optionKeys("pair", []key{
		{name: "volume", required: true, check: named("volume")},
		{name: "peer", required: true, check: named("peer")},
		{name: "remote", check: named("volume")},
		{name: "group", check: groupToJoin},
		{name: "copy", words: []string{"full", "none"}},
	}...), func(ctx context.Context, c commander, name string, o options) error {
		return c.CreatePair(ctx, replica.PairSpec{
			Name: name, Volume: o["volume"], Peer: o["peer"], RemoteVolume: o.get("remote", o["volume"]),
			Group: o.get("group", defaultGroup), CopyNone: o["copy"] == "none", Options: optionsOf("pair", o),
		})
	}},
	{"set", optionKeys("pair"), func(ctx context.Context, c commander, name string, o options) error {
		return c.SetPair(ctx, name, optionsOf("pair", o))
	}},
	{"suspend", []key{modeFlushPurge, svolWrite, atMark, atMarker}, func(ctx context.Context, c commander, name string, o options) error {
		return c.SuspendPair(ctx, name, suspendOptions(o))
	}},
	{"mark", nil, func(ctx context.Context, c commander, name string, _ options) error {
		return mark(ctx, name, c.MarkPair)
	}},
	{"resync", resyncKeys, func(ctx context.Context, c commander, name string, o options) error {
		return c.ResyncPairWith(ctx, name, resyncOptions(o))
	}},
	{"takeover", takeoverKeys, func(ctx context.Context, c commander, name string, o options) error {
		return c.TakeoverPair(ctx, name, takeoverOptions(o))
	}},
	{"differences", differencesKeys, nil},
	{"delete", []key{modeNormalForce}, func(ctx context.Context, c commander, name string, o options) error {
		return c.DeletePair(ctx, name, deleteOptions(o))
	}},
}

// groupVerbs are the commands of .ctl/groups/GROUP.
var groupVerbs = []verb{
	{"create", optionKeys("group", key{name: "size", check: sized}, key{name: "volumes", check: counted}),
		func(ctx context.Context, c commander, name string, o options) error {
			g := replica.GroupSpec{Name: name, Size: defaultSize, Volumes: defaultVolumes, Options: optionsOf("group", o)}
			if s, ok := o["size"]; ok {
				g.Size, _ = ParseSize(s) // sized has read it
			}
			if s, ok := o["volumes"]; ok {
				g.Volumes, _ = strconv.Atoi(s) // counted has read it
			}
			return c.CreateGroup(ctx, g)
		}},
	{"set", optionKeys("group"), func(ctx context.Context, c commander, name string, o options) error {
		return c.SetGroup(ctx, name, optionsOf("group", o))
	}},
	{"add-volume", []key{{name: "size", check: sized, required: true}}, func(ctx context.Context, c commander, name string, o options) error {
		size, _ := ParseSize(o["size"]) // sized has read it
		return c.AddJournalVolume(ctx, name, size)
	}},
	{"remove-volume", []key{{name: "number", check: numbered, required: true}}, func(ctx context.Context, c commander, name string, o options) error {
		n, _ := strconv.Atoi(o["number"]) // numbered has read it
		return c.RemoveJournalVolume(ctx, name, n)
	}},
	{"suspend", []key{modeFlushPurge, svolWrite, atMark, atMarker}, func(ctx context.Context, c commander, name string, o options) error {
		return c.SuspendGroup(ctx, name, suspendOptions(o))
	}},
	{"mark", nil, func(ctx context.Context, c commander, name string, _ options) error {
		return mark(ctx, name, c.MarkGroup)
	}},
	{"resync", resyncKeys, func(ctx context.Context, c commander, name string, o options) error {
		return c.ResyncGroupWith(ctx, name, resyncOptions(o))
	}},
	{"takeover", takeoverKeys, func(ctx context.Context, c commander, name string, o options) error {
		return c.TakeoverGroup(ctx, name, takeoverOptions(o))
	}},
	{"differences", differencesKeys, nil},
	{"delete", []key{modeNormalForce}, func(ctx context.Context, c commander, name string, o options) error {
		return c.DeleteGroup(ctx, name, deleteOptions(o))
	}},
}

// peerVerbs are the commands of .ctl/peers/PEER.
var peerVerbs = []verb{
	{"add", []key{{name: "address", required: true}, {name: "key", required: true}, {name: "create", check: sized}},
		func(ctx context.Context, c commander, name string, o options) error {
			p := replica.PeerSpec{Name: name, Address: o["address"], Fingerprint: o["key"], KeepQuota: true}
			if s, ok := o["create"]; ok {
				p.Quota, _ = ParseSize(s) // sized has read it
				p.KeepQuota = false
			}
			return c.AddPeer(ctx, p)
		}},
	{"remove", nil, func(ctx context.Context, c commander, name string, _ options) error { return c.RemovePeer(ctx, name) }},
}

// volumeVerbs are the commands of .ctl/volumes/VOLUME.
var volumeVerbs = []verb{
	{"reserve", []key{{name: "peer", required: true, check: named("peer")}},
		func(ctx context.Context, c commander, name string, o options) error {
			return c.ReserveVolume(ctx, name, o["peer"])
		}},
	{"release", nil, func(ctx context.Context, c commander, name string, _ options) error {
		return c.ReserveVolume(ctx, name, "")
	}},
}

// keptVerbs are the commands of .ctl/kept.
var keptVerbs = []verb{
	{"drop", []key{{name: "name"}, {name: "older"}}, func(ctx context.Context, c commander, _ string, o options) error {
		name, one := o["name"]
		age, many := o["older"]
		switch {
		case one == many:
			return invalid("%q needs one of the options name= and older=", "drop")
		case many:
			return c.DropKeptOlder(ctx, age)
		}
		return c.DropKept(ctx, name)
	}},
}

// siteVerbs are the commands of .ctl/site. The file carries stop out itself: no site can end the mount that it is served by.
var siteVerbs = []verb{
	{"stop", nil, func(context.Context, commander, string, options) error { return nil }},
	{"set", optionKeys("site"), func(ctx context.Context, c commander, _ string, o options) error {
		return c.SetSite(ctx, optionsOf("site", o))
	}},
	{"wait", markerKeys, nil},
}

func suspendOptions(o options) replica.SuspendOptions {
	s := replica.SuspendOptions{Purge: o["mode"] == "purge", SVOLWrite: o["svol-write"] == "enable", SVOLRead: o["svol-write"] == "disable", Mark: o["mark"] == "yes"}
	if m, ok := o["marker"]; ok {
		s.At, _ = replica.ParseMarker(m) // isMarker has read it
	}
	return s
}

func resyncOptions(o options) replica.ResyncOptions {
	return replica.ResyncOptions{Swap: o["mode"] == "swap", Discard: replica.Side(o["discard"])}
}

func takeoverOptions(o options) replica.TakeoverOptions {
	d, _ := time.ParseDuration(o.get("timeout", defaultTimeout)) // timed has read it
	return replica.TakeoverOptions{Timeout: d}
}

// bound is how long a command may take before the site counts as one that stopped working.
func (v *verb) bound(o options) time.Duration {
	switch v.name {
	case "takeover":
		return commandTime + 2*takeoverOptions(o).Timeout // the primary is waited for, then what it has
	case "resync":
		return keepTime
	}
	return commandTime
}

func deleteOptions(o options) replica.DeleteOptions {
	return replica.DeleteOptions{Force: o["mode"] == "force"}
}

// groupToJoin checks that a value names a group that pairs can be made in. One that a peer made has an @ in its name, and takes new pairs there alone.
func groupToJoin(value string) error {
	if own, peer, made := strings.Cut(value, "@"); made {
		return invalid("group %s is group %s of %s, which takes new pairs there alone, while that is its primary: name a group that was made here", value, own, peer)
	}
	return checkName("group", value)
}

// named returns the check that a value is a name for sort.
func named(sort string) func(string) error {
	return func(value string) error { return checkName(sort, value) }
}

// sized checks that a value is a size.
func sized(value string) error {
	if _, err := ParseSize(value); err != nil {
		return kindError(replica.KindInvalid, err.Error())
	}
	return nil
}

// timed checks that a value is a time above 0; the site knows how long it may be.
func timed(value string) error {
	if d, err := time.ParseDuration(value); err != nil || d <= 0 || d > maxTimeout {
		return invalid("%q is no time up to %v: write it as in 60s or 5m", value, maxTimeout)
	}
	return nil
}

// numbered checks that a value is a number; the site knows which there are.
func numbered(value string) error {
	if _, err := strconv.ParseInt(value, 10, 32); err != nil {
		return invalid("%q is not the number of a journal volume; the group's text has them", value)
	}
	return nil
}

// counted checks that a value is a number from 1; the site knows how many there may be.
func counted(value string) error {
	if n, err := strconv.ParseInt(value, 10, 64); err != nil || n < 1 || n > math.MaxInt32 {
		return invalid("%q is no number from 1 on", value)
	}
	return nil
}
