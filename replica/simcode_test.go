package replica

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// simTable prints the code of everything that a fact can lead to, and of each state alone.
func simTable() string {
	var b strings.Builder
	for _, s := range goldenStates() {
		for in := Input(0); in < numInput; in++ {
			out := Step(s, in)
			if code := simCode(out.State, in); out.Verdict == Accept && out.State.Status.suspended() {
				fmt.Fprintf(&b, "%s %s%s %s -> %s (%s) %s\n", s.Role, s.Status.On(s.Role), map[bool]string{true: " since COPY"}[s.Uncopied], in, out.State.Status.On(s.Role), out.State.Suspend, orNone(code))
			}
		}
	}
	for _, role := range []Role{Primary, Secondary} {
		for typ := NoSuspend; typ < numSuspendType; typ++ {
			fmt.Fprintf(&b, "%s suspended (%s) %s\n", role, typ, orNone(simCode(PairState{Role: role, Status: PSUE, Suspend: typ}, EvDetached)))
		}
	}
	for _, row := range [][2]bool{{false, false}, {false, true}, {true, false}, {true, true}} {
		fmt.Fprintf(&b, "mirror up=%v before=%v %s\n", row[0], row[1], orNone(simPath(row[0], row[1])))
	}
	return b.String()
}

func orNone(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func TestSIMGolden(t *testing.T) {
	const path = "testdata/simcodes.txt"
	now := simTable()
	if rewriting() {
		must(t, os.WriteFile(path, []byte(now), 0o644))
	}
	golden, err := os.ReadFile(path)
	must(t, err)
	if d := cmp.Diff(string(golden), now); d != "" {
		t.Errorf("the codes changed (-golden +now); go test ./replica -run Golden -rewrite:\n%s", d)
	}
}

// TestSIMCodesAreOfSuspendedPairs: nothing that is replicated has a code, whatever the fact.
func TestSIMCodesAreOfSuspendedPairs(t *testing.T) {
	for st := Status(0); st < numStatus; st++ {
		for in := Input(0); in < numInput; in++ {
			for _, role := range []Role{RoleNone, Primary, Secondary} {
				if code := simCode(PairState{Role: role, Status: st}, in); code != "" && !st.suspended() {
					t.Errorf("%s %s by %s: %s", role, st, in, code)
				}
			}
		}
	}
}

// TestEventsCarryTheirCode: the code is in the event and in the line of the log.
func TestEventsCarryTheirCode(t *testing.T) {
	t.Parallel()
	d, _, _ := differ(t)
	d.cut()
	must(t, d.a.site.SuspendPair(t.Context(), "x", SuspendOptions{}))
	d.wait("the blocked path is an event", func() bool { return hasCode(d.a.site, "group/g", simPathBlocked) })
	d.heal()
	d.wait("the restored path is an event", func() bool { return hasCode(d.a.site, "group/g", simPathRestored) })
}

func hasCode(s *Site, object, code string) bool {
	for _, e := range s.Events() {
		if e.Object == object && e.Code == code {
			return true
		}
	}
	return false
}
