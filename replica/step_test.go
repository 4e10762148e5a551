package replica

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// rewriting reports whether golden files are written anew: -rewrite is a flag of package datadriven. Read the difference before committing.
func rewriting() bool { return flag.Lookup("rewrite").Value.(flag.Getter).Get().(bool) }

// goldenStates are the role and status combinations that can be.
func goldenStates() []PairState {
	states := []PairState{{}}
	for _, role := range []Role{Primary, Secondary} {
		for _, st := range []Status{COPY, PAIR, PSUS, PSUE, PFUS, Suspending, Deleting} {
			if role == Secondary && st == Suspending {
				continue // a secondary obeys a suspend record at once
			}
			s := PairState{Role: role, Status: st, Consistent: role == Secondary && st == PAIR}
			if st == Suspending {
				s.Suspend = PVOLByOperator
			}
			states = append(states, s)
			if st == Suspending {
				s.Uncopied = true
				states = append(states, s)
			}
		}
	}
	for _, r := range typedRules { // each exception where it holds
		for _, from := range r.from {
			s := PairState{Role: r.role, Status: from, Suspend: r.typ}
			if slices.Contains(states, s) {
				continue
			}
			states = append(states, s)
			if r.typ == MCUPowerOff {
				s.Uncopied = true
				states = append(states, s)
			}
		}
	}
	return append(states, // taken over
		PairState{Role: Primary, Status: PSUS, Suspend: TakenOver, TookOver: true},
		PairState{Role: Primary, Status: PSUE, Suspend: BothWritten, TookOver: true},
		PairState{Role: Secondary, Status: SSWS, Consistent: true, TookOver: true},
		PairState{Role: Secondary, Status: PSUE, Suspend: BothWritten, Consistent: true, TookOver: true})
}

// TestTablesGolden prints the acceptance table and the transition table and compares them with the text that documents them.
func TestTablesGolden(t *testing.T) {
	var b strings.Builder
	b.WriteString("# What becomes of a command (acceptance) and of a fact (transition), by role and status.\n")
	b.WriteString("# accept shows the new status, its suspend type and what the engine does.\n")
	for _, s := range goldenStates() {
		fmt.Fprintf(&b, "\n%s %s", s.Role, s.Status.On(s.Role))
		if s.Suspend != NoSuspend {
			fmt.Fprintf(&b, " (%s)", s.Suspend)
		}
		if s.Uncopied {
			b.WriteString(" since COPY")
		}
		b.WriteString("\n")
		for i := Input(0); i < numInput; i++ {
			out := Step(s, i)
			if out.Verdict == Impossible {
				continue
			}
			fmt.Fprintf(&b, "  %-18s %-7s", i, out.Verdict)
			if out.Verdict == Accept {
				fmt.Fprintf(&b, " %s", out.State.Status.On(out.State.Role))
				if out.State.Suspend != NoSuspend {
					fmt.Fprintf(&b, " (%s)", out.State.Suspend)
				}
				for _, a := range out.Actions {
					fmt.Fprintf(&b, " %s", a)
				}
			}
			if out.Why != "" {
				fmt.Fprintf(&b, " %s", out.Why)
			}
			b.WriteString("\n")
		}
	}
	const path = "testdata/tables.txt"
	if rewriting() {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), b.String()); d != "" {
		t.Errorf("the tables changed (-golden +now); go test ./replica -run Golden -rewrite:\n%s", d)
	}
}

// TestTablesComplete proves that every command has a verdict in every state, that facts which can reach a state have one, and that no
// two rows speak of the same cell.
func TestTablesComplete(t *testing.T) {
	cells := map[string]int{}
	for n, r := range typedRules {
		for _, f := range r.from {
			key := fmt.Sprint(r.typ, r.role, f, r.input)
			if m, twice := cells[key]; twice {
				t.Errorf("exceptions %d and %d both speak of %s", m, n, key)
			}
			cells[key] = n
		}
	}
	for n, r := range takenRules {
		for _, f := range r.from {
			key := fmt.Sprint("taken", r.role, f, r.input)
			if m, twice := cells[key]; twice {
				t.Errorf("rows %d and %d of the S-VOLs that were taken over both speak of %s", m, n, key)
			}
			cells[key] = n
		}
	}
	for n, r := range slices.Concat(rules, takeoverRules) {
		if r.verdict == Refuse && r.why == "" {
			t.Errorf("row %d refuses without a sentence", n)
		}
		if r.verdict != Refuse && r.why != "" {
			t.Errorf("row %d has a sentence and does not refuse", n)
		}
		for _, f := range r.from {
			key := fmt.Sprint(r.role, f, r.input)
			if m, twice := cells[key]; twice {
				t.Errorf("rows %d and %d both speak of %s %s %s", m, n, r.role, f, r.input)
			}
			cells[key] = n
		}
	}
	reach := map[Role][]Input{
		Primary:   {EvCopied, EvDrained, EvDrainTimeout, EvPathLost, EvOverflow, EvFull, EvPeerSplit, EvPeerError, EvPeerDeleted, EvFailure, EvRestoreFailed, EvLost, EvPeerTookOver, EvConflict, EvPeerSwap, EvSwapped},
		Secondary: {EvCopied, EvDrained, EvPathLost, EvOverflow, EvPeerSplit, EvPeerError, EvPeerDeleted, EvPeerResync, EvPeerDelete, EvFailure, EvRestoreFailed, EvPeerOff, EvPeerBack, EvPeerTookOver, EvConflict, EvPeerSwap, EvPeerDiscard, EvSwapped},
	}
	for _, s := range goldenStates() {
		inputs := reach[s.Role]
		for i := Input(0); i < numInput; i++ {
			if i.command() {
				inputs = append(inputs, i)
			}
		}
		for _, i := range inputs {
			if s.Role == Secondary && i == EvPeerDelete || s.Role != RoleNone || i.command() {
				if Step(s, i).Verdict == Impossible {
					t.Errorf("%s %s has no verdict for %s", s.Role, s.Status, i)
				}
			}
		}
	}
}

// TestStepInvariants checks what must hold of every transition whatever the tables say.
func TestStepInvariants(t *testing.T) {
	for _, s := range append(goldenStates(), PairState{Role: Secondary, Status: PAIR}) { // the last was given up a moment ago
		for i := Input(0); i < numInput; i++ {
			out := Step(s, i)
			if out.Verdict != Accept {
				if out.State != s {
					t.Errorf("%v %s: %s changed the state to %v", s, i, out.Verdict, out.State)
				}
				continue
			}
			if s.Role == Secondary && !s.Consistent && (i == CmdTakeover || i == EvSwapped) {
				t.Errorf("I4: %v %s goes on with what is no image of one moment", s, i)
			}
			has := map[Action]bool{}
			for _, a := range out.Actions {
				has[a] = true
			}
			next := out.State
			if s.Role == Primary && s.Status.active() && next.Status.suspended() && i != EvDrained && !has[ActMark] && !has[ActFillMap] {
				t.Errorf("I5: %v %s leaves replication without marking what the peer lacks", s, i)
			}
			if next.Status.suspended() && next.Suspend == NoSuspend {
				t.Errorf("%v %s: suspended without a suspend type", s, i)
			}
			if !next.Status.suspended() && next.Status != Suspending && next.Suspend != NoSuspend {
				t.Errorf("%v %s: %s with suspend type %s", s, i, next.Status, next.Suspend)
			}
			if next.Role == Secondary && !next.Status.suspended() && next.Status != SSWS && next.mayWrite() {
				t.Errorf("%v %s: an S-VOL in %s may be written", s, i, next.Status)
			}
			if exchange := i == EvPeerSwap || i == EvSwapped; s.Role == Primary && next.Role != Primary && next.Status != SMPL && !exchange {
				t.Errorf("%v %s: the role changed to %s", s, i, next.Role)
			}
			if s.TookOver && s.Role == Secondary && next.Role == Secondary && next.TookOver && next.Status != Deleting && !next.mayWrite() {
				t.Errorf("%v %s: hosts lose the S-VOL that they were switched to", s, i)
			}
			if next.Role == Primary && next.TookOver && next.mayWrite() {
				t.Errorf("%v %s: a P-VOL whose S-VOL was taken over is written", s, i)
			}
			if open := s.Status == COPY || s.Uncopied; open && next.Suspend != MCUPowerOff && next.Status == PSUE && next.Suspend != InitialCopyFailed && next.Suspend != MCUInitialized {
				t.Errorf("%v %s: an error before the end of the copy is called %s", s, i, next.Suspend)
			}
			held := next.Role == Secondary && next.Status == PSUE && next.Suspend == MCUPowerOff
			if next.Uncopied && !held && (next.Status != Suspending || next.Role != Primary) {
				t.Errorf("%v %s: %v is of no copy", s, i, next)
			}
			if s.Status == COPY && s.Role == Secondary && next.Status.suspended() && next.Consistent {
				t.Errorf("I4: %v %s calls an unfinished copy consistent", s, i)
			}
		}
	}
}

// TestReferenceAcceptance is the reference's acceptance matrix, row by row.
func TestReferenceAcceptance(t *testing.T) {
	cmds := []Input{CmdCreateFull, CmdCreateNone, CmdSuspend, CmdPurge, CmdDelete, CmdResync}
	for _, row := range []struct {
		status Status
		want   string
	}{
		{SMPL, "COPY PAIR refuse refuse no-op refuse"},
		{COPY, "no-op no-op Suspending refuse Deleting no-op"},
		{PAIR, "no-op no-op Suspending PSUS Deleting no-op"},
		{PSUS, "refuse refuse no-op no-op Deleting COPY"},
		{PSUE, "refuse refuse no-op no-op Deleting COPY"},
	} {
		s := PairState{Role: Primary, Status: row.status}
		if row.status == SMPL {
			s = PairState{}
		}
		var got []string
		for _, c := range cmds {
			out := Step(s, c)
			if out.Verdict == Accept {
				got = append(got, out.State.Status.String())
			} else {
				got = append(got, out.Verdict.String())
			}
		}
		if g := strings.Join(got, " "); g != row.want {
			t.Errorf("%s: %s, the reference has %s", row.status, g, row.want)
		}
	}
}
