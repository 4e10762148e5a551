package main

import "fmt"

var pairvolchkOptions = []raidOption{
	{name: "-c", help: "the volume at the other side"},
	{name: "-s", help: "leave the status as exit status; of a group a volume that is split counts before one in PAIR"},
	{name: "-ss", help: "the same; of a group one in PAIR counts before one that is split"},
}

// pairvolchk tells by its exit status on which side a volume is, or in which status.
func pairvolchk(r *raidCall) (int, error) {
	t, err := r.target()
	if err != nil {
		return 0, err
	}
	side, statuses, err := r.checked(t)
	if err != nil {
		return 0, err
	}
	order := groupOrder
	if r.args.has("-ss") {
		order = groupOrderSS
	}
	s := groupStatus(order, statuses)
	code := attributeCodes[side]
	if r.args.has("-s") || r.args.has("-ss") {
		code = volchkCode(side, s)
	}
	r.say("%s", volstat(side, s, rankOf(t.site, t.group)))
	return code, nil
}

// checked returns the side and the statuses of the members, here or with -c at the other side.
func (r *raidCall) checked(t *raidTarget) (side raidSide, statuses []raidStatus, err error) {
	for i, m := range t.members {
		here, s := m.side(), m.status()
		if r.args.has("-c") {
			if here != sideSMPL {
				var known bool
				if s, known = remoteStatus(m.st); !known {
					return 0, nil, raidf(exENORMT, "%s is not linked to %s: what is there is not known", m.name(), m.st.get("peer"))
				}
			}
			if here = here.other(); s == raidSMPL {
				here = sideSMPL
			}
		}
		if i > 0 && here != side {
			return 0, nil, raidf(exENQVOL, "the volumes of group %s are on different sides: %s is %s, %s is %s", t.shown, t.members[0].name(), side, m.name(), here)
		}
		side = here
		statuses = append(statuses, s)
	}
	return side, statuses, nil
}

// volstat is the line that pairvolchk prints.
func volstat(side raidSide, s raidStatus, ctg string) string {
	if side == sideSMPL {
		return "Volstat is SMPL.[status = SMPL]"
	}
	return fmt.Sprintf("Volstat is %s.[status = %s fence = ASYNC CTGID = %s]", side, shownStatus(side, s, true), ctg)
}
