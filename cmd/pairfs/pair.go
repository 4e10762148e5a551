package main

// pairCmd holds the commands about pairs.
type pairCmd struct {
	Create   pairCreateCmd   `cmd:"" help:"Replicate a volume of this site to a peer."`
	Suspend  pairSuspendCmd  `cmd:"" help:"Split a pair."`
	Mark     pairMarkCmd     `cmd:"" help:"Place a marker behind everything that was acknowledged until now, and print it; see the command wait."`
	Takeover pairTakeoverCmd `cmd:"" help:"Let hosts write the S-VOL: roles exchanged while the primary can be reached in PAIR, else SSWS with all that arrived."`
	Resync   pairResyncCmd   `cmd:"" help:"Join a split pair again, copying what differs; what was written at the S-VOL is overwritten."`
	Delete   pairDeleteCmd   `cmd:"" help:"End a pair; both volumes stay. At the primary it ends on both sides, at the secondary there alone: the primary is then suspended until it is deleted too."`
	Wait     pairWaitCmd     `cmd:"" help:"Wait until a pair is in one of the given states."`
	List     pairListCmd     `cmd:"" help:"Show the pairs in one line each."`
	Set      pairSetCmd      `cmd:"" help:"Change options of a pair, on this side."`

	Differences pairDifferencesCmd `cmd:"" help:"List what was changed since a split, and what of it a resync overwrites."`
}

type pairCreateCmd struct {
	Name   string `arg:"" name:"pair" help:"Name of the pair, the same on both sites."`
	Volume string `required:"" placeholder:"V" help:"Volume of this site."`
	Peer   string `required:"" placeholder:"P" help:"The site to replicate to."`
	Remote string `placeholder:"V" help:"Name of the volume there; the same name if absent."`
	Group  string `placeholder:"G" help:"Journal group; \"default\" if absent."`
	Copy   string `enum:"full,none" default:"full" help:"none: the two volumes are equal already (${enum})."`
	pairOptionArgs
}

// Run makes the pair.
func (c *pairCreateCmd) Run(a *app) error {
	line := "create"
	for _, o := range []struct{ key, value string }{
		{"volume", c.Volume}, {"peer", c.Peer}, {"remote", c.Remote}, {"group", c.Group}, {"copy", c.Copy},
	} {
		if o.value == "" {
			continue
		}
		if err := checkValue(o.value); err != nil {
			return err
		}
		line += " " + o.key + "=" + o.value
	}
	opts, err := optionWords(c.Options)
	if err != nil {
		return err
	}
	return a.command("", c.Name, line+opts, true)
}

type pairSuspendCmd struct {
	Name string `arg:"" name:"pair" help:"Name of the pair."`
	suspendFlags
}

// Run splits the pair.
func (c *pairSuspendCmd) Run(a *app) error { return c.suspend(a, "", c.Name) }

type pairResyncCmd struct {
	Name string `arg:"" name:"pair" help:"Name of the pair."`
	resyncFlags
}

// Run joins the pair.
func (c *pairResyncCmd) Run(a *app) error { return c.resync(a, "", c.Name) }

type pairDeleteCmd struct {
	Name string `arg:"" name:"pair" help:"Name of the pair."`
	deleteFlags
}

// Run ends the pair.
func (c *pairDeleteCmd) Run(a *app) error { return a.command("", c.Name, c.line(), false) }

type pairListCmd struct {
	jsonFlag
}

// Run prints the pairs.
func (c *pairListCmd) Run(a *app) error {
	s, err := a.site()
	if err != nil {
		return err
	}
	all, err := s.readAll("", nil)
	if err != nil {
		return err
	}
	return a.printStates(all, pairKinds, c.JSON, []column{
		word("NAME", "name"), word("ROLE", "role"), word("STATUS", "status"), word("VOLUME", "volume"), word("PEER", "peer"),
		word("REMOTE", "remote-volume"), word("GROUP", "group"), bytesOf("SIZE", "size"),
	})
}
