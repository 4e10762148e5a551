package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// raidCmd holds RAID Manager's commands. Their options are not of the form that kong reads, so they are passed through.
type raidCmd struct {
	Words []string `arg:"" optional:"" name:"command" help:"A command of RAID Manager and its options, as RAID Manager has them; -h behind a command shows them."`
}

// Run carries the command out. The exit status is RAID Manager's.
func (c *raidCmd) Run(a *app) error {
	if code := a.raid(c.Words); code != exitDone {
		return &exitError{code: code}
	}
	return nil
}

// raidCommand is one of the commands.
type raidCommand struct {
	name    string
	native  string // what does the same in pairfs
	options []raidOption
	run     func(r *raidCall) (code int, err error)
}

// raidCommands are the commands, by name.
var raidCommands = []raidCommand{
	{"horctakeover", "pairfs pair|group takeover", horctakeoverOptions, horctakeover},
	{"paircreate", "pairfs pair create", paircreateOptions, paircreate},
	{"pairdisplay", "pairfs status, group list", pairdisplayOptions, pairdisplay},
	{"pairevtwait", "pairfs pair wait", pairevtwaitOptions, pairevtwait},
	{"pairresync", "pairfs pair|group resync", pairresyncOptions, pairresync},
	{"pairsplit", "pairfs pair|group suspend, pair delete", pairsplitOptions, pairsplit},
	{"pairsyncwait", "pairfs pair|group mark, wait --marker", pairsyncwaitOptions, pairsyncwait},
	{"pairvolchk", "pairfs status", pairvolchkOptions, pairvolchk},
	{"raidvchkscan", "pairfs group list", raidvchkscanOptions, raidvchkscan},
}

// raidCommandNames lists the commands.
func raidCommandNames() []string {
	names := make([]string, len(raidCommands))
	for i, c := range raidCommands {
		names[i] = c.name
	}
	return names
}

// commandLine returns the arguments of this process. A program that is called by the name of one of RAID Manager's commands, as the links are
// that "make install" makes, is that command; "help" before a command is --help after it.
func commandLine(args []string) []string {
	if len(args) == 0 {
		return nil
	}
	if name := filepath.Base(args[0]); slices.Contains(raidCommandNames(), name) {
		return append([]string{"raid", name}, args[1:]...)
	}
	if len(args) > 1 && args[1] == "help" {
		return append(slices.Clone(args[2:]), "--help")
	}
	return args[1:]
}

// raidCall is one command on its way.
type raidCall struct {
	app  *app
	name string
	args raidArgs
	conf *horcm // the configuration of the instance that -I names, nil without one
}

// raid carries out one of RAID Manager's commands and returns its exit status.
func (a *app) raid(words []string) int {
	i := -1
	if len(words) > 0 {
		i = slices.IndexFunc(raidCommands, func(c raidCommand) bool { return c.name == words[0] })
	}
	switch {
	case len(words) == 0:
		return a.raidFailed("pairfs raid", raidf(ewREQCMD, "no command is given; there are %s", strings.Join(raidCommandNames(), ", ")))
	case i < 0 && (words[0] == "-h" || words[0] == "--help"):
		for _, c := range raidCommands {
			fmt.Fprintf(a.stdout, "%-12s  %s\n", c.name, c.native)
		}
		fmt.Fprintln(a.stdout, "-h after any of them shows what it takes")
		return exitDone
	case i < 0:
		return a.raidFailed("pairfs raid", raidf(exINVCMD, "there is no command %q; there are %s", words[0], strings.Join(raidCommandNames(), ", ")))
	}
	c := raidCommands[i]
	options := raidOptionsOf(c.name, c.options)
	if slices.Contains(words[1:], "-h") {
		fmt.Fprintf(a.stdout, "%s: %s\n", c.name, c.native)
		if err := printOptions(a.stdout, options); err != nil {
			return a.raidFailed(c.name, coded(err, exCOMERR))
		}
		return exitDone
	}
	args, err := parseRaid(options, words[1:])
	r := &raidCall{app: a, name: c.name, args: args}
	code := exitDone
	if err == nil {
		err = r.attach()
	}
	if err == nil {
		code, err = c.run(r)
	}
	switch {
	case err == nil:
		return code
	case args.has("-nomsg"):
		return codeOf(err, exCOMERR).value
	}
	return a.raidFailed(c.name, err)
}

// raidFailed prints an error as RAID Manager does and returns its exit status.
func (a *app) raidFailed(command string, err error) int {
	fmt.Fprintf(a.stderr, "%s: %v\n", command, coded(err, exCOMERR))
	return codeOf(err, exCOMERR).value
}

// say prints a line of the command, unless -nomsg says not to.
func (r *raidCall) say(format string, args ...any) {
	if !r.args.has("-nomsg") {
		fmt.Fprintf(r.app.stdout, "%s : %s\n", r.name, fmt.Sprintf(format, args...))
	}
}
