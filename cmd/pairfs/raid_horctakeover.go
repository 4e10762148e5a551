package main

import "time"

// takeoverSeconds is how long a takeover waits for what the primary still has, unless -t says otherwise.
const takeoverSeconds = 60

var horctakeoverOptions = []raidOption{
	{name: "-t", min: 1, max: 1, operands: "SECONDS", check: numbers(1, waitSecondsMax), help: "how long to wait for what the primary still has (60)"},
	{name: "-l", help: "at the P-VOL: let hosts write it without the other side"},
}

// takeoverMax is how long the site lets a takeover wait.
const takeoverMax = time.Hour

// takeoverKind is what a takeover turned out to be: the first word of the site's answer, and RAID Manager's exit status for it.
type takeoverKind struct {
	word string
	code int
	loss int // of several, the one with the highest counts: how little is certain of the data
}

// takeoverKinds are the answers.
var takeoverKinds = []takeoverKind{
	{"nop-takeover", 0, 0},
	{"swap-takeover", 1, 1},
	{"SVOL-takeover", 2, 4},
	{"PVOL-SMPL-takeover", 3, 2},
	{"PVOL-PSUE-takeover", 4, 3},
	{"SVOL-SSUS-takeover", 5, 5},
}

// horctakeover lets this host write the volumes, whatever has to be done for that.
func horctakeover(r *raidCall) (int, error) {
	t, err := r.target()
	if err != nil {
		return 0, err
	}
	if err := t.allPaired(); err != nil {
		return 0, err
	}
	if r.args.has("-l") {
		if err := t.allOn(sideP, exINVVOL, "-l is for the site of the P-VOL"); err != nil {
			return 0, err
		}
	}
	for _, m := range t.members {
		if m.side() == sideS && m.status() != raidSSWS && m.st.get("peer-status") == "SMPL" {
			return 0, raidf(exEVOLCE, "%s is no pair at %s any more: the volumes do not fit together; delete it here too (pairsplit -S)", m.name(), m.st.get("peer"))
		}
	}
	return r.takeover(t, r.args.number("-t", takeoverSeconds))
}

// takeover gives the command and returns the exit status for what it turned out to be.
func (r *raidCall) takeover(t *raidTarget, seconds int) (int, error) {
	worst := takeoverKind{loss: -1}
	for _, object := range t.objectsOf() {
		word, sentence, err := t.site.takeOver(object, min(time.Duration(seconds)*time.Second, takeoverMax))
		if err != nil {
			return 0, coded(err, exCMDIOE)
		}
		k, err := takeoverOf(word)
		if err != nil {
			return 0, err
		}
		r.say("%s: %s", word, sentence)
		if k.loss > worst.loss {
			worst = k
		}
	}
	return worst.code, nil
}

// takeoverOf looks an answer up.
func takeoverOf(word string) (takeoverKind, error) {
	for _, k := range takeoverKinds {
		if k.word == word {
			return k, nil
		}
	}
	return takeoverKind{}, raidf(exCMDIOE, "the takeover was carried out, but its answer %q is not understood: see pairfs status", word)
}
