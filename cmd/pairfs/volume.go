package main

// volumeCmd holds the commands about volumes that ordinary file tools do not have; truncate, cp and rm make and remove volumes.
type volumeCmd struct {
	Reserve volumeReserveCmd `cmd:"" help:"Set a volume aside for a pair that a peer will make."`
	Release volumeReleaseCmd `cmd:"" help:"Take that back."`
	List    volumeListCmd    `cmd:"" help:"Show the volumes."`
}

type volumeReserveCmd struct {
	Name string `arg:"" name:"volume" help:"Name of the volume."`
	Peer string `required:"" placeholder:"P" help:"The peer that may take it."`
}

// Run reserves the volume.
func (c *volumeReserveCmd) Run(a *app) error {
	if err := checkValue(c.Peer); err != nil {
		return err
	}
	return a.command("volumes", c.Name, "reserve peer="+c.Peer, false)
}

type volumeReleaseCmd struct {
	Name string `arg:"" name:"volume" help:"Name of the volume."`
}

// Run gives the volume back.
func (c *volumeReleaseCmd) Run(a *app) error { return a.command("volumes", c.Name, "release", false) }

type volumeListCmd struct {
	jsonFlag
}

// Run prints the volumes.
func (c *volumeListCmd) Run(a *app) error {
	s, err := a.site()
	if err != nil {
		return err
	}
	all, err := s.readAll("volumes", nil)
	if err != nil {
		return err
	}
	return a.printStates(all, volumeKinds, c.JSON, []column{
		word("NAME", "name"), bytesOf("SIZE", "size-bytes"), bytesOf("ALLOCATED", "allocated-bytes"), word("ROLE", "role"), word("PAIR", "pair"),
		word("RESERVED", "reserved"), word("OPEN", "open"), word("WRITABLE", "writable"),
	})
}
