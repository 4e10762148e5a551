package fs

import (
	"context"
	"math"
	"strconv"

	"pairfs/replica"
)

// What a command leaves out.
const (
	defaultGroup   = "default"
	defaultSize    = 1 << 30 // bytes of a new group's journal
	defaultVolumes = 1       // journal volumes of a new group
)

// The options that several commands share.
var (
	modeFlushPurge  = key{name: "mode", words: []string{"flush", "purge"}}
	modeNormalForce = key{name: "mode", words: []string{"normal", "force"}}
	svolWrite       = key{name: "svol-write", words: []string{"enable", "disable"}}
)

// pairVerbs are the commands of .ctl/PAIR.
var pairVerbs = []verb{
	{"create", []key{
		{name: "volume", required: true, check: named("volume")},
		{name: "peer", required: true, check: named("peer")},
		{name: "remote", check: named("volume")},
		{name: "group", check: named("group")},
		{name: "copy", words: []string{"full", "none"}},
	}, func(ctx context.Context, c commander, name string, o options) error {
		return c.CreatePair(ctx, replica.PairSpec{
			Name: name, Volume: o["volume"], Peer: o["peer"], RemoteVolume: o.get("remote", o["volume"]),
			Group: o.get("group", defaultGroup), CopyNone: o["copy"] == "none",
		})
	}},
	{"suspend", []key{modeFlushPurge, svolWrite}, func(ctx context.Context, c commander, name string, o options) error {
		return c.SuspendPair(ctx, name, suspendOptions(o))
	}},
	{"resync", nil, func(ctx context.Context, c commander, name string, _ options) error { return c.ResyncPair(ctx, name) }},
	{"differences", differencesKeys, nil},
	{"delete", []key{modeNormalForce}, func(ctx context.Context, c commander, name string, o options) error {
		return c.DeletePair(ctx, name, deleteOptions(o))
	}},
}

// groupVerbs are the commands of .ctl/groups/GROUP.
var groupVerbs = []verb{
	{"create", []key{{name: "size", check: sized}, {name: "volumes", check: counted}},
		func(ctx context.Context, c commander, name string, o options) error {
			g := replica.GroupSpec{Name: name, Size: defaultSize, Volumes: defaultVolumes}
			if s, ok := o["size"]; ok {
				g.Size, _ = ParseSize(s) // sized has read it
			}
			if s, ok := o["volumes"]; ok {
				g.Volumes, _ = strconv.Atoi(s) // counted has read it
			}
			return c.CreateGroup(ctx, g)
		}},
	{"suspend", []key{modeFlushPurge, svolWrite}, func(ctx context.Context, c commander, name string, o options) error {
		return c.SuspendGroup(ctx, name, suspendOptions(o))
	}},
	{"resync", nil, func(ctx context.Context, c commander, name string, _ options) error { return c.ResyncGroup(ctx, name) }},
	{"differences", differencesKeys, nil},
	{"delete", []key{modeNormalForce}, func(ctx context.Context, c commander, name string, o options) error {
		return c.DeleteGroup(ctx, name, deleteOptions(o))
	}},
}

// peerVerbs are the commands of .ctl/peers/PEER.
var peerVerbs = []verb{
	{"add", []key{{name: "address", required: true}, {name: "key", required: true}, {name: "create", check: sized}},
		func(ctx context.Context, c commander, name string, o options) error {
			p := replica.PeerSpec{Name: name, Address: o["address"], Fingerprint: o["key"]}
			if s, ok := o["create"]; ok {
				p.Quota, _ = ParseSize(s) // sized has read it
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

// siteVerbs are the commands of .ctl/site. The file carries stop out itself: no site can end the mount that it is served by.
var siteVerbs = []verb{
	{"stop", nil, func(context.Context, commander, string, options) error { return nil }},
}

func suspendOptions(o options) replica.SuspendOptions {
	return replica.SuspendOptions{Purge: o["mode"] == "purge", SVOLWrite: o["svol-write"] == "enable"}
}

func deleteOptions(o options) replica.DeleteOptions {
	return replica.DeleteOptions{Force: o["mode"] == "force"}
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

// counted checks that a value is a number from 1; the site knows how many there may be.
func counted(value string) error {
	if n, err := strconv.ParseInt(value, 10, 64); err != nil || n < 1 || n > math.MaxInt32 {
		return invalid("%q is no number from 1", value)
	}
	return nil
}
