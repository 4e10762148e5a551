package main

var pairresyncOptions = []raidOption{
	{name: "-swaps", help: "at the S-VOL's site: exchange the roles, then copy what differs"},
	{name: "-swapp", help: "the same, given at the P-VOL's site"},
}

// pairresync joins split pairs again, in their direction or the other way round. It returns when that has begun.
func pairresync(r *raidCall) (int, error) {
	t, err := r.target()
	if err != nil {
		return 0, err
	}
	if swap := r.args.last("-swaps", "-swapp"); swap != "" {
		return 0, r.swap(t, swap)
	}
	todo, err := decide(t.members, askResync)
	if err != nil {
		return 0, err
	}
	return 0, r.give(t, todo, "resync")
}

// swap exchanges the roles.
func (r *raidCall) swap(t *raidTarget, option string) error {
	if r.args.has("-swaps") && r.args.has("-swapp") {
		return raidf(exOPTINV, "-swaps is given at the S-VOL's site, -swapp at the P-VOL's: give one")
	}
	if err := t.allPaired(); err != nil {
		return err
	}
	side, other := sideS, "-swapp"
	if option == "-swapp" {
		side, other = sideP, "-swaps"
	}
	if err := t.allOn(side, exINVVOL, option+" is for the site of the "+side.String()+", here it is "+other); err != nil {
		return err
	}
	return r.give(t, t.members, "resync mode=swap")
}
