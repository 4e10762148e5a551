package main

import (
	"context"
	"io"
	"runtime/debug"

	"github.com/alecthomas/kong"

	"pairfs/fs"
)

// cli is the grammar of the command line; each command is a struct with a Run method in the file of its noun.
type cli struct {
	Mount   mountFlag        `name:"mount" env:"PAIRFS_MOUNT" placeholder:"MNT" help:"Mount of the site that is meant; not needed where the host has only one."`
	Version kong.VersionFlag `help:"Print the version and leave."`

	MountCmd  mountCmd   `cmd:"" name:"mount" help:"Serve a site; returns when its mount answers."`
	Umount    umountCmd  `cmd:"" help:"Flush, stop and unmount a site."`
	Key       keyCmd     `cmd:"" help:"Print the public key of a site."`
	Peer      peerCmd    `cmd:"" help:"Other sites that this one replicates with."`
	Group     groupCmd   `cmd:"" help:"Journal groups: volumes that share one write order."`
	Pair      pairCmd    `cmd:"" help:"Pairs of a volume here and a volume at a peer."`
	Volume    volumeCmd  `cmd:"" help:"Volumes of this site."`
	Site      siteCmd    `cmd:"" help:"The site itself."`
	Wait      waitCmd    `cmd:"" help:"Wait until a marker is restored at the other side."`
	Status    statusCmd  `cmd:"" help:"Show the pairs: state, progress, lag, journal."`
	Events    eventsCmd  `cmd:"" help:"Show what happened and happens, one line per event."`
	History   historyCmd `cmd:"" help:"Show what was asked for and what became of it: commands and status changes."`
	Kept      keptCmd    `cmd:"" help:"What was kept aside before a resync overwrote it."`
	Journal   journalCmd `cmd:"" help:"Look into the journal of a stopped site."`
	Check     checkCmd   `cmd:"" help:"Verify the state directory of a stopped site."`
	Raid      raidCmd    `cmd:"" passthrough:"" help:"Commands of RAID Manager for scripts that call them: paircreate, pairsplit, pairdisplay …"`
	Demo      demoCmd    `cmd:"" help:"Run two sites on this host and show what replication looks like."`
	DemoRelay relayCmd   `cmd:"" hidden:"" name:"demo-relay" help:"The link between the two sites of the demo."`
}

// mountFlag is the mount that a command is meant for, "" to find it.
type mountFlag string

// app is what every command runs with.
type app struct {
	ctx    context.Context // cancelled by SIGINT and SIGTERM
	stdout io.Writer
	stderr io.Writer
	mount  mountFlag
}

// jsonFlag is embedded in every command that prints state.
type jsonFlag struct {
	JSON bool `name:"json" help:"Print JSON for scripts instead of text for eyes."`
}

// sizeFlag is a size on the command line, in IEC units.
type sizeFlag int64

// UnmarshalText reads the form of [fs.ParseSize].
func (s *sizeFlag) UnmarshalText(text []byte) error {
	n, err := fs.ParseSize(string(text))
	*s = sizeFlag(n)
	return err
}

// buildVersion is set by the linker in released builds.
var buildVersion string

// version names this build.
func version() string {
	if buildVersion != "" {
		return buildVersion
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}
