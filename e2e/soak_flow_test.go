package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// flow is one group of a soak: who writes where, and what is known of it.
type flow struct {
	s              *soak
	home           *host // where the group was made: its first primary
	from, to       *host // the primary and the secondary, as far as is known
	group, journal string
	volumes        []string
	size           int64

	main   *stream // what hosts write at the primary
	branch *stream // what they write at S-VOLs that were taken over without it, until one of both is given up

	inStep  bool  // every pair was in PAIR on both sides, and no copy was asked for since
	apart   bool  // pairs of the group may have been split one by one
	foreign bool  // hosts wrote to S-VOLs since then
	cut     Stamp // the S-VOLs were an image of that moment

	turning  bool // a takeover was asked for: who the primary is has to be found out
	settling bool // a resync that gives up one of the streams was asked for: either side may be overwritten
	fenced   bool // hosts are kept away from the old primary
	whole    bool // the S-VOLs had everything that was acknowledged when they were taken over
	base     int  // of the writes of the primary, that many were begun then
	spoiled  bool // nothing is known of the volumes any more
}

func pairName(volume string) string { return "p-" + volume }

// groupAt is the control file of the group at a site.
func (f *flow) groupAt(h *host) string {
	if h == f.home {
		return "groups/" + f.group
	}
	return "groups/" + f.group + "@" + f.home.Name
}

// masterGroup and restoreGroup are the control files of the group on either side.
func (f *flow) masterGroup() string  { return f.groupAt(f.from) }
func (f *flow) restoreGroup() string { return f.groupAt(f.to) }

// streams are those that there are.
func (f *flow) streams() []*stream {
	if f.branch == nil {
		return []*stream{f.main}
	}
	return []*stream{f.main, f.branch}
}

// write lets hosts write where they may. Before a stream is given up its hosts are gone, and from an old primary they may be kept away.
func (f *flow) write() {
	if f.settling {
		return
	}
	if !f.fenced {
		f.main.write()
	}
	if f.branch != nil {
		f.branch.write()
	}
}

// halt ends all writers.
func (f *flow) halt() {
	for _, st := range f.streams() {
		st.halt()
	}
}

// status is what one side says of a pair: "SMPL" if it is not there, "?" if it does not answer.
func (h *host) status(volume string) string {
	if !h.up() {
		return "?"
	}
	text, err := h.Text(pairName(volume))
	if os.IsNotExist(err) {
		return "SMPL"
	}
	if err != nil {
		return "?"
	}
	return parseState(text)["status"]
}

// all reports whether each pair has one of the statuses at the primary.
func (f *flow) all(statuses ...string) bool {
	return !slices.ContainsFunc(f.volumes, func(v string) bool { return !slices.Contains(statuses, f.from.status(v)) })
}

func split(status string) bool {
	return status == "PSUS" || status == "SSUS" || status == "PSUE" || status == "PFUS"
}

// rest is the state of a group in which nothing goes on by itself.
type rest int

const (
	moving  rest = iota
	paired       // in PAIR on both sides
	parted       // suspended on both sides
	without      // not there on one side at least
)

// restOf compares what both sides say of a pair.
func (f *flow) restOf(volume string) rest {
	p, s := f.from.status(volume), f.to.status(volume)
	switch {
	case (p == "PAIR" || p == "PFUL") && s == "PAIR":
		return paired
	case split(p) && split(s):
		return parted
	case p == "SMPL" && s == "SMPL":
		return without
	case split(p) && s == "SMPL" && f.from.Get(pairName(volume))["suspend-type"] == "delete pair to RCU":
		return without
	case p == "SMPL" && (split(s) || s == "COPY"): // a create that ended half way leaves one in COPY
		return without
	}
	return moving
}

// agree waits until both sides agree on every pair, and says on what: the least of all.
func (f *flow) agree() rest {
	f.s.t.Helper()
	var found rest
	Until(f.s.t, StatusLimit, "both sides agree on the pairs of "+f.group, func() bool {
		found = paired
		for _, v := range f.volumes {
			r := f.restOf(v)
			if r == moving {
				return false
			}
			found = max(found, r)
		}
		return true
	})
	if found == paired {
		f.inStep, f.apart, f.foreign = true, false, false
	}
	if found == parted {
		for _, v := range f.volumes {
			f.s.did("met split by: "+f.from.Get(pairName(v))["suspend-type"], 1)
		}
	}
	f.s.did("agreements", 1)
	return found
}

// settle brings every pair to PAIR, from wherever it is.
func (f *flow) settle() {
	f.s.t.Helper()
	for range 10 {
		switch f.agree() {
		case paired:
			return
		case parted:
			f.resync()
		default:
			f.remake()
		}
	}
	f.s.t.Fatalf("the pairs of group %s do not stay in PAIR though nothing disturbs them", f.group)
}

// resync asks for a resync of what is split and waits until it has ended. Nothing disturbs it but a full journal.
func (f *flow) resync() {
	f.inStep = false
	var err error
	if !eventually(LinkLimit, func() bool { err = f.from.Ctl(f.masterGroup(), "resync"); return err == nil }) {
		f.s.t.Fatalf("group %s: %v", f.group, err)
	}
	f.s.did("resyncs", 1)
	if f.agree() != parted {
		return
	}
	for _, v := range f.volumes {
		if p := f.from.Get(pairName(v)); p["status"] != "PFUS" && p["status"] != "PAIR" {
			f.s.t.Fatalf("group %s: the undisturbed resync ended with pair %s in %s (%s): %s", f.group, pairName(v), p["status"], p["suspend-type"], p["last-error"])
		}
	}
}

// remake deletes what there is of the pairs on either side and makes them anew, now and then with new volumes.
func (f *flow) remake() {
	rng := f.s.rng
	f.inStep = false
	f.halt()
	for _, v := range f.volumes {
		for _, h := range []*host{f.from, f.to} {
			Until(f.s.t, StatusLimit, "pair "+pairName(v)+" is deleted at "+h.Name, func() bool {
				if h.status(v) == "SMPL" {
					return true
				}
				h.Ctl(pairName(v), []string{"delete", "delete mode=force"}[rng.IntN(2)])
				return false
			})
		}
	}
	if f.from != f.home {
		f.from, f.to = f.to, f.from // a group is made where it was made at first
		f.main.at, f.spoiled = f.home, true
	}
	if f.spoiled || rng.IntN(2) == 0 {
		f.main.h = NewHistory(f.s.newRun())
		f.cut, f.spoiled = 0, false
		for _, v := range f.volumes {
			f.remove(f.from, v)
			f.from.MakeVolume(v, f.size)
		}
		if rng.IntN(2) == 0 {
			Prefill(f.s.t, f.main.h, f.main.targets()[0])
		}
	}
	f.create()
}

// remove removes a volume that is in no pair.
func (f *flow) remove(h *host, volume string) {
	var err error
	if !eventually(StatusLimit, func() bool { err = os.Remove(h.Path(volume)); return err == nil || os.IsNotExist(err) }) {
		f.s.t.Fatalf("site %s: %v", h.Name, err)
	}
}

// create makes all pairs. An S-VOL that is not the primary's to take is removed first.
func (f *flow) create() {
	for _, v := range f.volumes {
		var err error
		if !eventually(LinkLimit, func() bool {
			err = f.from.Ctl(pairName(v), fmt.Sprintf("create volume=%s peer=%s group=%s", v, f.to.Name, f.group))
			if isErrno(err, "EACCES") || err != nil && strings.Contains(err.Error(), "must be equal") {
				f.remove(f.to, v)
			}
			return err == nil
		}) {
			f.s.t.Fatalf("group %s: %v", f.group, err)
		}
	}
	f.s.did("creates", 1)
}

// refusable are the errnos with which a command may be refused while faults go on.
var refusable = []unix.Errno{
	unix.EBUSY, unix.EHOSTUNREACH, unix.ETIMEDOUT, unix.ENOENT, unix.EEXIST, unix.EACCES, unix.EROFS, unix.ENOTCONN, unix.ECONNABORTED, unix.EINTR,
}
