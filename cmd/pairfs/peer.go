package main

import "strconv"

// peerCmd holds the commands about other sites.
type peerCmd struct {
	Add    peerAddCmd    `cmd:"" help:"Make another site known by its address and its key (pairfs key, there), or change what is known."`
	Remove peerRemoveCmd `cmd:"" help:"Forget a site that no pair needs."`
	List   peerListCmd   `cmd:"" help:"Show the peers."`
}

type peerAddCmd struct {
	Name    string    `arg:"" help:"Name of the other site."`
	Address string    `arg:"" name:"host:port" help:"Where it listens."`
	Key     string    `arg:"" help:"Its public key, SHA256:…."`
	Create  *sizeFlag `placeholder:"SIZE" help:"How much space that peer may take here for volumes of its pairs; if absent none, or what it was for a peer that is known. 0 takes it away."`
}

// Run adds the peer.
func (c *peerAddCmd) Run(a *app) error {
	for _, v := range []string{c.Address, c.Key} {
		if err := checkValue(v); err != nil {
			return err
		}
	}
	line := "add address=" + c.Address + " key=" + c.Key
	if c.Create != nil {
		line += " create=" + strconv.FormatInt(int64(*c.Create), 10)
	}
	return a.command("peers", c.Name, line, true)
}

type peerRemoveCmd struct {
	Name string `arg:"" help:"Name of the other site."`
}

// Run removes the peer.
func (c *peerRemoveCmd) Run(a *app) error { return a.command("peers", c.Name, "remove", false) }

type peerListCmd struct {
	jsonFlag
}

// Run prints the peers.
func (c *peerListCmd) Run(a *app) error {
	s, err := a.site()
	if err != nil {
		return err
	}
	all, err := s.readAll("peers", nil)
	if err != nil {
		return err
	}
	return a.printStates(all, peerKinds, c.JSON, []column{
		word("NAME", "name"), word("ADDRESS", "address"), word("CONNECTED", "connected"), word("SINCE", "since"),
		bytesOf("MAY-CREATE", "quota-bytes"), bytesOf("CREATED", "quota-used-bytes"), word("KEY", "key"), word("LAST-ERROR", "last-error"),
	})
}
