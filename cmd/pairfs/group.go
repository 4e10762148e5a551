package main

import (
	"strconv"

	"pairfs/replica"
)

// groupCmd holds the commands about journal groups.
type groupCmd struct {
	Create   groupCreateCmd   `cmd:"" help:"Make a group and its journal."`
	Suspend  groupSuspendCmd  `cmd:"" help:"Split all pairs of a group at one moment."`
	Mark     groupMarkCmd     `cmd:"" help:"Place a marker behind everything that was acknowledged until now, for all pairs of a group, and print it."`
	Takeover groupTakeoverCmd `cmd:"" help:"Let hosts write all S-VOLs of a group, at one sequence number: roles exchanged while the primary can be reached in PAIR, else SSWS with all that arrived."`
	Resync   groupResyncCmd   `cmd:"" help:"Join the split pairs of a group again, copying what differs; what was written at the S-VOLs is overwritten."`
	Delete   groupDeleteCmd   `cmd:"" help:"Delete a group, its pairs and its journal; the volumes stay."`
	List     groupListCmd     `cmd:"" help:"Show the groups and their journals."`

	Set          groupSetCmd          `cmd:"" help:"Change options of a group, on this side."`
	AddVolume    groupAddVolumeCmd    `cmd:"" help:"Give the journal of a group another journal volume, while it is in use."`
	RemoveVolume groupRemoveVolumeCmd `cmd:"" help:"Take a journal volume of a group out of use; its file goes when nothing in it is needed."`

	Differences groupDifferencesCmd `cmd:"" help:"List what was changed since the split in each pair of a group, and what of it a resync overwrites."`
}

type groupCreateCmd struct {
	Name    string   `arg:"" help:"Name of the group."`
	Size    sizeFlag `default:"1GiB" help:"Size of each journal volume."`
	Volumes int      `default:"1" help:"Number of journal volumes."`
	groupOptionArgs
}

// Run makes the group.
func (c *groupCreateCmd) Run(a *app) error {
	opts, err := optionWords(c.Options)
	if err != nil {
		return err
	}
	return a.command("groups", c.Name, "create size="+strconv.FormatInt(int64(c.Size), 10)+" volumes="+strconv.Itoa(c.Volumes)+opts, true)
}

// suspendFlags are the options of a suspend, of a pair and of a group alike.
type suspendFlags struct {
	Mode      string `enum:"flush,purge" default:"flush" help:"flush: the other side first gets all that was written; purge: at once, the rest is marked as different (${enum})."`
	SVOLWrite string `name:"svol-write" enum:"enable,disable" default:"disable" help:"Whether hosts may write the S-VOL while it is split (${enum}): given on the primary when the split begins, or on the secondary at any time until the next resync, which overwrites what they wrote."`
	Mark      bool   `xor:"mark" help:"The point at which both sides stop is a marker, which is printed."`
	Marker    string `xor:"mark" placeholder:"M" help:"Both sides stop at this marker, which was placed before and which the other side has not passed; what hosts wrote behind it is marked as different."`
}

// line returns the command. What is the default is not said.
func (f suspendFlags) line() string {
	line := "suspend"
	if f.Mode != "flush" {
		line += " mode=" + f.Mode
	}
	if f.SVOLWrite != "disable" {
		line += " svol-write=" + f.SVOLWrite
	}
	if f.Mark {
		line += " mark=yes"
	}
	if f.Marker != "" {
		line += " marker=" + f.Marker
	}
	return line
}

// suspend gives the command.
func (f suspendFlags) suspend(a *app, dir, name string) error {
	if f.Marker != "" {
		if _, err := replica.ParseMarker(f.Marker); err != nil {
			return usagef("%v", err)
		}
	}
	if f.Mark || f.Marker != "" {
		return a.mark(dir, name, f.line(), false)
	}
	return a.command(dir, name, f.line(), false)
}

// deleteFlags are the options of a delete, of a pair and of a group alike.
type deleteFlags struct {
	Force bool `help:"At the primary: delete this side whatever the other says; the other is told if it can be reached, else it must be deleted there too. At the secondary: the volume is given back although not all that arrived could be restored."`
}

// line returns the command.
func (f deleteFlags) line() string {
	if f.Force {
		return "delete mode=force"
	}
	return "delete"
}

type groupSuspendCmd struct {
	Name string `arg:"" help:"Name of the group."`
	suspendFlags
}

// Run splits the group.
func (c *groupSuspendCmd) Run(a *app) error { return c.suspend(a, "groups", c.Name) }

type groupResyncCmd struct {
	Name string `arg:"" help:"Name of the group."`
	resyncFlags
}

// Run joins the group.
func (c *groupResyncCmd) Run(a *app) error { return c.resync(a, "groups", c.Name) }

type groupDeleteCmd struct {
	Name string `arg:"" help:"Name of the group."`
	deleteFlags
}

// Run deletes the group.
func (c *groupDeleteCmd) Run(a *app) error { return a.command("groups", c.Name, c.line(), false) }

// journalText is the size of a journal, and what is being added to it.
func journalText(s state) string {
	text := sizeText(s.get("capacity-bytes"))
	if n, _ := s.number("adding-bytes"); n > 0 {
		text += " (adding " + sizeText(s.get("adding-bytes")) + ")"
	}
	return text
}

type groupListCmd struct {
	jsonFlag
}

// Run prints the groups.
func (c *groupListCmd) Run(a *app) error {
	s, err := a.site()
	if err != nil {
		return err
	}
	all, err := s.readAll("groups", nil)
	if err != nil {
		return err
	}
	return a.printStates(all, groupKinds, c.JSON, []column{
		word("NAME", "name"), word("ROLE", "role"), word("PEER", "peer"), word("MIRROR", "mirror"), word("LINKED", "linked"),
		{"JOURNAL", journalText}, percentOf("USED", "used-percent"), word("PAIRS", "pairs"), word("FAILED", "failed"),
	})
}
