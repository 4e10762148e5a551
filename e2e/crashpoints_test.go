package e2e

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// crashRow is one moment at which a daemon dies: a named point of the product, the side that comes to it, and what is done meanwhile.
type crashRow struct {
	point string
	side  crashSide
	deed  crashDeed
	most  int  // the point is met up to so many times before; which, the seed says
	ci    bool // short and often met: played by every run of the tests
}

// crashSide is the side that dies.
type crashSide int

const (
	atPrimary crashSide = iota
	atSecondary
)

// crashDeed is what leads to a point, while hosts write.
type crashDeed int

const (
	deedNothing  crashDeed = iota // hosts alone
	deedResync                    // a split, and a resync
	deedExchange                  // a takeover from a primary that lives
	deedTakeover                  // one from a primary that was killed
	deedSwap                      // the same, and a resync that makes the old primary the secondary
	deedDiscard                   // the same, and one that gives up what hosts wrote at the S-VOLs
)

// crashRows have every point at least once.
var crashRows = []crashRow{
	{"journal-sync-before", atPrimary, deedNothing, 40, true},
	{"journal-sync-before", atSecondary, deedNothing, 40, false},
	{"journal-sync-after", atPrimary, deedNothing, 40, false},
	{"journal-sync-after", atSecondary, deedNothing, 40, false},
	{"ack-before", atPrimary, deedNothing, 400, false},
	{"ack-after", atPrimary, deedNothing, 100, true},
	{"receive-before", atSecondary, deedNothing, 100, true},
	{"receive-after", atSecondary, deedNothing, 400, false},
	{"store-write-after", atPrimary, deedNothing, 200, false},
	{"store-write-after", atSecondary, deedNothing, 200, false},
	{"store-sync-before", atPrimary, deedNothing, 6, false},
	{"store-sync-before", atSecondary, deedNothing, 6, false},
	{"store-sync-after", atPrimary, deedNothing, 6, false},
	{"store-sync-after", atSecondary, deedNothing, 6, false},
	{"commit-before", atPrimary, deedNothing, 4, false},
	{"commit-before", atSecondary, deedNothing, 4, false},
	{"commit-after", atPrimary, deedNothing, 4, false},
	{"commit-after", atSecondary, deedNothing, 4, false},
	{"confirm-before", atSecondary, deedNothing, 40, false},
	{"confirm-after", atSecondary, deedNothing, 40, false},

	{"commit-before", atPrimary, deedResync, 12, false},
	{"commit-before", atSecondary, deedResync, 12, false},
	{"commit-after", atPrimary, deedResync, 12, false},
	{"commit-after", atSecondary, deedResync, 12, false},
	{"resync-asked", atPrimary, deedResync, 1, true},
	{"resync-granted", atSecondary, deedResync, 1, false},
	{"resync-begun", atPrimary, deedResync, 1, false},
	{"copy-ended", atPrimary, deedResync, 3, false},
	{"control-due", atSecondary, deedResync, 4, false},
	{"control-obeyed", atSecondary, deedResync, 4, false},

	{"swap-held", atPrimary, deedExchange, 1, false},
	{"swap-arrived", atSecondary, deedExchange, 1, false},
	{"swap-given", atPrimary, deedExchange, 1, false},
	{"swap-granted", atSecondary, deedExchange, 1, true},
	{"swap-taken", atSecondary, deedExchange, 1, false},
	{"turn-started", atPrimary, deedExchange, 1, false},
	{"turn-started", atSecondary, deedExchange, 1, false},
	{"commit-before", atSecondary, deedExchange, 4, false},
	{"commit-after", atPrimary, deedExchange, 4, false},

	{"takeover-due", atSecondary, deedTakeover, 1, false},
	{"taken-over", atSecondary, deedTakeover, 1, true},
	{"commit-before", atSecondary, deedTakeover, 3, false},
	{"commit-after", atSecondary, deedTakeover, 3, false},

	{"role-given", atPrimary, deedSwap, 1, false},
	{"turn-started", atPrimary, deedSwap, 1, false},
	{"turn-started", atSecondary, deedSwap, 1, false},
	{"kept-aside", atPrimary, deedSwap, 1, false},
	{"kept-aside", atSecondary, deedDiscard, 1, false},
	{"resync-asked", atPrimary, deedDiscard, 1, false},
	{"resync-granted", atSecondary, deedDiscard, 1, false},
}

// TestCrashPoints lets a daemon die at each named point, on either side that comes to it, under hosts' writes; what the other side, or the same one
// when it is back, makes of that is checked as after the faults of [TestSoak]: nothing that was acknowledged is missing (I2), the S-VOLs are one
// prefix (I1, I4), both sides come to equal volumes again. Without PAIRFS_CRASHPOINTS=1 (`make crashpoints`) some of the rows are played.
func TestCrashPoints(t *testing.T) {
	t.Parallel()
	binary, err := BuildCrashpoints(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	sameRows(t, binary)
	all := os.Getenv("PAIRFS_CRASHPOINTS") != ""
	s := newSoak(t, Options{Limit: time.Hour, Binary: binary}, 2*mib, 3)
	f := s.flows[0]
	for i, row := range crashRows {
		if all || row.ci {
			s.n = i + 1
			f.crash(row)
		}
	}
	s.end()
}

// sameRows checks that the table has every point that the product has, and no other.
func sameRows(t *testing.T, binary string) {
	t.Helper()
	cmd := exec.Command(binary, "status")
	cmd.Env = append(os.Environ(), "PAIRFS_CRASH=list:1")
	text, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatalf("a point that does not exist was taken: %s", text)
	}
	_, list, _ := strings.Cut(string(text), "there is no point \"list\": ")
	var rows []string
	for _, row := range crashRows {
		rows = append(rows, row.point)
	}
	points := strings.Fields(list)
	slices.Sort(points)
	slices.Sort(rows)
	if rows = slices.Compact(rows); !slices.Equal(points, rows) {
		t.Errorf("the product has the points\n%q, the table\n%q", points, rows)
	}
}

// crash lets a side die as a row says, and checks what is there then.
func (f *flow) crash(row crashRow) {
	s := f.s
	s.t.Helper()
	victim := f.from
	if row.side == atSecondary {
		victim = f.to
	}
	n := 1 + s.rng.IntN(row.most)
	f.settle()
	f.write()
	victim.ArmCrash(row.point, n)
	s.note("crash at "+victim.crash, victim.Name)
	switch row.deed {
	case deedNothing, deedResync, deedExchange:
		f.again(victim)
	case deedTakeover:
		f.again(victim)
		s.kill(f.from)
		f.main.halt()
	default:
		f.bothWrite(victim)
	}
	f.bring(row, victim)
	victim.ArmCrash("", 0)
	s.heal()
	f.compare()
}

// again starts the daemon that is to die, and waits until the pairs are in PAIR with it; it may die before.
func (f *flow) again(victim *host) {
	s := f.s
	s.kill(victim)
	if f.from == victim {
		f.main.halt()
	}
	if err := victim.TryStart(); err != nil && victim.Running() {
		s.t.Fatalf("%v", err)
	}
	if !victim.Running() {
		return
	}
	f.write()
	eventually(StatusLimit, func() bool { return !victim.Running() || f.all("PAIR", "PFUL") && f.linked() })
}

// linked reports whether the mirror of the group is up at its secondary.
func (f *flow) linked() bool {
	text, err := f.to.Text(f.restoreGroup())
	return err == nil && parseState(text)["linked"] == "yes"
}

// bothWrite brings the group to where one of two streams has to be given up, with the daemon that is to die started in between.
func (f *flow) bothWrite(victim *host) {
	s := f.s
	s.t.Helper()
	from, to := f.from, f.to
	f.turning = true
	s.kill(from)
	f.main.halt()
	armed := to.crash
	to.ArmCrash("", 0)
	if err := to.Ctl(f.restoreGroup(), "takeover "+turnLimit); err != nil {
		s.t.Fatalf("%v", err)
	}
	f.fork()
	f.write()
	eventually(StatusLimit, func() bool { return f.branch.w == nil || f.branch.w.Acked() > 50 })
	s.cut(true)
	from.Restart()
	f.main.check()
	f.write() // it has not heard of the takeover
	eventually(StatusLimit, func() bool { return f.main.w == nil || f.main.w.Acked() > 50 })
	f.halt()
	if victim == to {
		to.crash = armed
		s.kill(to)
		if err := to.TryStart(); err != nil && to.Running() {
			s.t.Fatalf("%v", err)
		}
	}
	s.cut(false)
	lost, taken := role{primary: true, taken: true}, role{taken: true}
	eventually(StatusLimit, func() bool {
		a, b, known := f.roles()
		return !victim.Running() || known && a == lost && b == taken
	})
}

// bring does what leads to the point, over and over while the daemon lives, and waits until it has died there.
func (f *flow) bring(row crashRow, victim *host) {
	s := f.s
	s.t.Helper()
	try := func(h *host, file, line string) {
		if err := h.Ctl(file, line); err != nil && h.up() {
			s.tries.took(s, h, err)
		}
	}
	for limit := time.Now().Add(2 * StatusLimit); victim.Running() && time.Now().Before(limit); {
		switch row.deed {
		case deedNothing:
		case deedResync:
			f.inStep = false
			try(f.from, f.masterGroup(), []string{"suspend", "suspend mode=purge"}[s.rng.IntN(2)])
			eventually(10*time.Second, func() bool { return !victim.Running() || f.all("PSUS", "PSUE", "PFUS") })
			try(f.from, f.masterGroup(), "resync")
			eventually(10*time.Second, func() bool { return !victim.Running() || f.all("PAIR", "PFUL") })
		case deedExchange, deedTakeover:
			f.turning = true
			try(f.to, f.restoreGroup(), "takeover "+turnLimit)
		case deedSwap:
			f.beforeLoss()
			try(f.to, f.restoreGroup(), "resync discard=there")
		case deedDiscard:
			f.beforeLoss()
			try(f.from, f.masterGroup(), "resync discard=there")
		}
		eventually(time.Second, func() bool { return !victim.Running() })
	}
	if !victim.Crashed() {
		s.t.Fatalf("site %s did not die at %s (running: %v)", victim.Name, victim.crash, victim.Running())
	}
	victim.kills++
	s.did("deaths at points", 1)
}
