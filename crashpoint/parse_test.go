package crashpoint

import (
	"slices"
	"strings"
	"testing"
)

// TestParse: every point is found by its name, and what is no point, or at no time, is refused.
func TestParse(t *testing.T) {
	for p := range points {
		got, times, err := parse(p.String() + ":17")
		if got != p || times != 17 || err != nil {
			t.Errorf("%s:17 was read as point %d at time %d: %v", p, got, times, err)
		}
	}
	if p, _, err := parse(""); p != points || err != nil {
		t.Errorf("nothing was read as point %d: %v", p, err)
	}
	for _, text := range []string{"ack-before", "ack-before:", "ack-before:0", "ack-before:-1", "ack-before:x", "ack:1", ":1", "x"} {
		if _, _, err := parse(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
	if _, _, err := parse("x:1"); err == nil || !strings.Contains(err.Error(), "ack-before ack-after") {
		t.Errorf("the refusal does not list the points: %v", err)
	}
}

// TestNames: each point has a name of its own.
func TestNames(t *testing.T) {
	all := slices.Clone(names[:])
	slices.Sort(all)
	if all[0] == "" || len(slices.Compact(all)) != len(names) {
		t.Errorf("names are missing or there twice: %q", names)
	}
}
