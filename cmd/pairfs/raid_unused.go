package main

import (
	"slices"
	"strings"
)

// raidUnused are the options of RAID Manager that have nothing to do here, each with the commands that have it ("" for all) and the reason
// why it is taken all the same, or is not. What would be obeyed wrongly is refused; what only tunes an array is taken.
var raidUnused = []struct {
	commands string
	option   raidOption
}{
	{"", raidOption{name: "-FHORC", max: 1, operands: "[MU#]", fate: ignored, check: onlyMirror0, help: "all pairs are remote pairs"}},
	{"", raidOption{name: "-FCA", max: 1, operands: "[MU#]", fate: ignored, check: onlyMirror0, help: "all pairs are remote pairs"}},
	{"", raidOption{name: "-FHOMRCF", max: 1, operands: "[MU#]", fate: refused, help: "there are no local copies: a command meant for one must not reach the remote pair"}},
	{"", raidOption{name: "-FBC", max: 1, operands: "[MU#]", fate: refused, help: "there are no local copies: a command meant for one must not reach the remote pair"}},
	{"", raidOption{name: "-q", fate: refused, help: "there is no interactive mode: give each command on a line of its own"}},
	{"", raidOption{name: "-z", fate: refused, help: "there is no interactive mode: give each command on a line of its own"}},
	{"", raidOption{name: "-zx", fate: refused, help: "there is no interactive mode: give each command on a line of its own"}},

	{"paircreate", raidOption{name: "-c", min: 1, max: 1, operands: "SIZE", fate: ignored, check: numbers(1, 15), help: "tracks at a time: the pace of a copy is the group's option copy-pace"}},
	{"paircreate", raidOption{name: "-jp", min: 1, max: 1, operands: "ID", fate: ignored, check: numbers(0, 255), help: "the journal is that of the group, which -g names"}},
	{"paircreate", raidOption{name: "-js", min: 1, max: 1, operands: "ID", fate: ignored, check: numbers(0, 255), help: "the restore journal is made by the first pair"}},
	{"paircreate", raidOption{name: "-m", min: 1, max: 2, operands: "MODE", check: copyMode, fate: ignored, help: "grp, cyl, trk: a group has one order, and its bitmaps are of 64 KiB; noread is refused, an S-VOL can be read"}},
	{"paircreate", raidOption{name: "-nocsus", fate: refused, help: "paircreate -nocopy and pairsplit -r say the same in two steps"}},
	{"paircreate", raidOption{name: "-split", fate: refused, help: "that is of local copies"}},
	{"paircreate", raidOption{name: "-pid", min: 1, max: 1, operands: "ID", fate: refused, help: "there are no pools"}},

	{"pairsplit", raidOption{name: "-C", min: 1, max: 1, operands: "SIZE", fate: refused, help: "that is of local copies"}},
	{"pairsplit", raidOption{name: "-E", fate: refused, help: "a pair is not forced to PSUE: pairsplit -P suspends at once"}},
	{"pairsplit", raidOption{name: "-RB", fate: refused, help: "what -R and -RS did is not undone: after -R create the pair again, after -RS use pairresync -swaps or -swapp"}},
	{"pairsplit pairresync", raidOption{name: "-l", fate: ignored, help: "each command is given to the site of this host"}},

	{"pairresync", raidOption{name: "-c", min: 1, max: 1, operands: "SIZE", fate: ignored, check: numbers(1, 15), help: "tracks at a time: the pace of a copy is the group's option copy-pace"}},
	{"pairresync", raidOption{name: "-f", min: 1, max: 1, operands: "CTGID", fate: ignored, check: numbers(0, 255), help: "a group is one consistency group"}},
	{"pairresync", raidOption{name: "-restore", fate: refused, help: "that is of local copies; -swaps and -swapp turn a remote pair round"}},

	{"pairdisplay", raidOption{name: "-m", min: 1, max: 1, operands: "MODE", fate: ignored, check: oneOf("cas", "all"), help: "a volume is in one pair"}},
	{"horctakeover", raidOption{name: "-S", fate: refused, help: "which takeover it is the site decides; pairsplit -RS cuts the S-VOL off whatever the primary does"}},
	{"raidvchkscan", raidOption{name: "-f", prefix: true, operands: "x", fate: ignored, check: lettersOf("x"), help: "names have no hexadecimal form"}},
}

// copyMode takes what paircreate -m may ask for.
func copyMode(ops []string) error {
	if strings.EqualFold(ops[0], "noread") {
		return raidf(exENOSUP, "an S-VOL cannot be hidden from hosts: it is read only, as -m without noread has it")
	}
	return oneOf("grp", "cyl", "trk")(ops[:1])
}

// raidShared are the options that all commands have and obey.
var raidShared = []raidOption{
	{name: "-g", min: 1, max: 1, operands: "GROUP", help: "the journal group; at the secondary also by the name that it has at the primary"},
	{name: "-d", min: 1, max: 3, operands: "NAME", help: "the pair or volume of that name alone; also the path of a volume, or SITE VOLUME, each with an MU# of 0"},
	{name: "-dg", min: 1, max: 3, operands: "NAME", help: "the whole group that it is in"},
	{name: "-I", prefix: true, operands: "[H][N]", help: "instance: the site is the one that /etc/horcmN.conf names"},
	{name: "-nomsg", help: "print nothing; the exit status tells"},
	{name: "-h", help: "this text"},
}

// raidOptionsOf returns the whole table of a command.
func raidOptionsOf(command string, own []raidOption) []raidOption {
	all := slices.Concat(own, raidShared)
	for _, u := range raidUnused {
		if u.commands == "" || slices.Contains(strings.Fields(u.commands), command) {
			all = append(all, u.option)
		}
	}
	return all
}
