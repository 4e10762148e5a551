package main

// takeoverNotes says what an operator should know and do about a takeover, and what is not known of one.
func takeoverNotes(p state) (n []string) {
	peer := p.get("peer")
	if p.get("peer-unheard") == "yes" {
		n = append(n, "not heard of "+peer+" since this site is up: a takeover there cannot be ruled out; where one is possible keep hosts away until this note is gone")
	}
	if p.get("taken-over") != "yes" || p.get("peer-status") == "SMPL" { // of a pair that the other side has not there is nothing to join
		return n
	}
	held := "the S-VOL was taken over at sequence number " + p.get("taken-over-seq")
	if p.has("taken-over-time") {
		held += ", with everything that was written up to " + p.get("taken-over-time")
	}
	resync := "pairfs group resync " + p.get("group")
	switch {
	case p.get("suspend-type") == "both written":
		n = append(n, held+"; both sides have what the other lacks: "+resync+" --discard=there goes on from here, --discard=here from "+peer+"; what is given up is kept aside there first")
	case p.get("role") == "S-VOL":
		n = append(n, held+", hosts write here: when "+peer+" is back "+resync+" --swap makes it the secondary")
	default:
		n = append(n, held+", hosts do not write here any more: "+resync+" --swap makes this side the secondary of "+peer+", takeover here then brings the roles back")
	}
	return n
}
