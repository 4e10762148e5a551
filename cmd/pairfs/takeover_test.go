package main

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestTakeoverNotes has what status says of each side of a takeover, and of one that cannot be ruled out.
func TestTakeoverNotes(t *testing.T) {
	const taken = "taken-over: yes\ntaken-over-seq: 7\ntaken-over-time: 2026-01-02T03:04:05.000Z\npeer: osaka\ngroup: g\n"
	for _, row := range []struct {
		name, text string
		want       []string // words of the one note, nil for none
	}{
		{"none", "status: PAIR\nrole: P-VOL\ntaken-over: no\ntaken-over-seq: 0\npeer-unheard: no\n", nil},
		{"S-VOL", "status: SSWS\nrole: S-VOL\nsuspend-type: -\n" + taken, []string{"sequence number 7, with everything that was written up to 2026-01-02T03:04:05.000Z", "hosts write here", "pairfs group resync g --swap"}},
		{"P-VOL", "status: PSUS\nrole: P-VOL\nsuspend-type: S-VOL taken over\n" + taken, []string{"hosts do not write here any more", "resync g --swap"}},
		{"both", "status: PSUE\nrole: P-VOL\nsuspend-type: both written\n" + taken, []string{"both sides", "--discard=there goes on from here", "--discard=here from osaka"}},
		{"unheard", "status: PAIR\nrole: P-VOL\npeer: osaka\ntaken-over: no\npeer-unheard: yes\n", []string{"not heard of osaka", "cannot be ruled out"}},
	} {
		got := takeoverNotes(parseState(row.text))
		if len(got) > 1 || (len(got) == 1) != (row.want != nil) {
			t.Errorf("%s: %q", row.name, got)
			continue
		}
		for _, w := range row.want {
			if !strings.Contains(got[0], w) {
				t.Errorf("%s: %q does not say %q", row.name, got[0], w)
			}
		}
	}
}

// TestResyncLines has the commands that the options of a resync come to.
func TestResyncLines(t *testing.T) {
	for want, f := range map[string]resyncFlags{
		"resync": {}, "resync mode=swap": {Swap: true}, "resync discard=here": {Discard: "here"}, "resync mode=swap discard=there": {Swap: true, Discard: "there"},
	} {
		if got := f.line(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestTakeoverThatIsLate has the exit status of a takeover whose time was over.
func TestTakeoverThatIsLate(t *testing.T) {
	if got := exitCode(takeoverError(&refusedError{sentence: "late", errno: unix.ETIMEDOUT})); got != exitTimeout {
		t.Errorf("late: %d", got)
	}
	if got := exitCode(takeoverError(&refusedError{sentence: "busy", errno: unix.EBUSY})); got != exitFailed {
		t.Errorf("refused: %d", got)
	}
	if takeoverError(nil) != nil {
		t.Error("an error for none")
	}
}
