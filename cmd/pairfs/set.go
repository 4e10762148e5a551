package main

import (
	"strconv"
	"strings"

	"pairfs/replica"
)

// groupOptionArgs are options of a group on the command line.
type groupOptionArgs struct {
	Options []string `arg:"" optional:"" name:"option=value" help:"${group_options}"`
}

// pairOptionArgs are options of a pair on the command line.
type pairOptionArgs struct {
	Options []string `arg:"" optional:"" name:"option=value" help:"${pair_options}"`
}

// siteOptionArgs are options of the site on the command line.
type siteOptionArgs struct {
	Options []string `arg:"" optional:"" name:"option=value" help:"${site_options}"`
}

// optionWords writes options behind a command, each with a blank before it. What they may be is up to the site.
func optionWords(options []string) (string, error) {
	line := ""
	for _, o := range options {
		if err := checkValue(o); err != nil {
			return "", err
		}
		if !strings.Contains(o, "=") {
			return "", usagef("%q is no option: options are written NAME=VALUE", o)
		}
		line += " " + o
	}
	return line, nil
}

// optionHelp describes the options of a scope for help texts.
func optionHelp(scope string) string {
	return "Options: " + strings.Join(replica.OptionNames(scope), "; ") + "."
}

// set writes the command that changes options.
func set(a *app, dir, name string, options []string) error {
	if len(options) == 0 {
		return usagef("no option is given: options are written NAME=VALUE, see --help")
	}
	words, err := optionWords(options)
	if err != nil {
		return err
	}
	return a.command(dir, name, "set"+words, false)
}

type groupSetCmd struct {
	Name string `arg:"" help:"Name of the group."`
	groupOptionArgs
}

// Run changes the options.
func (c *groupSetCmd) Run(a *app) error { return set(a, "groups", c.Name, c.Options) }

type pairSetCmd struct {
	Name string `arg:"" name:"pair" help:"Name of the pair."`
	pairOptionArgs
}

// Run changes the options.
func (c *pairSetCmd) Run(a *app) error { return set(a, "", c.Name, c.Options) }

// siteCmd holds the commands about the site itself.
type siteCmd struct {
	Set siteSetCmd `cmd:"" help:"Change options of the site."`
}

type siteSetCmd struct {
	siteOptionArgs
}

// Run changes the options.
func (c *siteSetCmd) Run(a *app) error {
	if len(c.Options) == 0 {
		return usagef("no option is given: options are written NAME=VALUE, see --help")
	}
	words, err := optionWords(c.Options)
	if err != nil {
		return err
	}
	s, err := a.site()
	if err != nil {
		return err
	}
	_, err = s.do("site", "set"+words, false)
	return err
}

type groupAddVolumeCmd struct {
	Name string   `arg:"" help:"Name of the group."`
	Size sizeFlag `required:"" help:"Size of the journal volume."`
}

// Run adds the journal volume.
func (c *groupAddVolumeCmd) Run(a *app) error {
	return a.command("groups", c.Name, "add-volume size="+strconv.FormatInt(int64(c.Size), 10), false)
}

type groupRemoveVolumeCmd struct {
	Name   string `arg:"" help:"Name of the group."`
	Number int    `arg:"" help:"Number of the journal volume, as .ctl/groups/NAME shows it."`
}

// Run removes the journal volume.
func (c *groupRemoveVolumeCmd) Run(a *app) error {
	return a.command("groups", c.Name, "remove-volume number="+strconv.Itoa(c.Number), false)
}
