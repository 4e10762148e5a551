package main

import (
	"bufio"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const differencesAnswer = `ok
pair: a
role: P-VOL
status: PSUS
peer: osaka
peer-status: SSUS
p-vol-bytes: 65536
s-vol-bytes: 131072
both-bytes: 0
overwritten-bytes: 131072
resync-bytes: 196608
note: -
p-vol 0 65536
s-vol 196608 131072
pair: b
role: P-VOL
status: PAIR
peer: osaka
peer-status: -
p-vol-bytes: -
s-vol-bytes: -
both-bytes: -
overwritten-bytes: -
resync-bytes: -
note: the pair is in PAIR: nothing differs
`

// printed prints an answer.
func printed(t *testing.T, answer string, asJSON, ranges bool) string {
	t.Helper()
	var out strings.Builder
	var p differencesPrinter = &differencesText{w: &out}
	if asJSON {
		p = &differencesJSON{w: &out, ranges: ranges}
	}
	if err := printDifferences(bufio.NewScanner(strings.NewReader(answer)), p); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestDifferencesText(t *testing.T) {
	want := `a: P-VOL, PSUS here, SSUS at osaka
  changed at the P-VOL only                     64KiB
  changed at the S-VOL only                     128KiB
  changed on both sides                         0B
  a resync copies                               192KiB
  of that written at the S-VOL and overwritten  128KiB
  WHERE                OFFSET               LENGTH
  p-vol                     0                65536
  s-vol                196608               131072

b: P-VOL, PAIR here, not asked at osaka
  the pair is in PAIR: nothing differs
`
	if d := cmp.Diff(want, printed(t, differencesAnswer, false, true)); d != "" {
		t.Error(d)
	}
}

func TestDifferencesJSON(t *testing.T) {
	got := printed(t, differencesAnswer, true, true)
	var all []struct {
		Pair   string
		PVOL   *int64 `json:"p-vol-bytes"`
		Copied *int64 `json:"resync-bytes"`
		Note   *string
		Ranges []struct {
			Where          string
			Offset, Length int64
		}
	}
	if err := json.Unmarshal([]byte(got), &all); err != nil || strings.Count(got, "\n") != 1 {
		t.Fatalf("%v in %s", err, got)
	}
	if len(all) != 2 || *all[0].Copied != 196608 || all[0].Note != nil || len(all[0].Ranges) != 2 || all[0].Ranges[1].Offset != 196608 ||
		all[0].Ranges[1].Where != "s-vol" || all[1].PVOL != nil || all[1].Note == nil || all[1].Ranges == nil || len(all[1].Ranges) != 0 {
		t.Errorf("%s", got)
	}
	head, _, _ := strings.Cut(differencesAnswer, "p-vol 0")
	if got := printed(t, head, true, false); !strings.HasSuffix(got, `"note":null}]`+"\n") || strings.Contains(got, "ranges") {
		t.Errorf("the totals alone: %s", got)
	}
	if got := printed(t, "ok\n", true, true); got != "[]\n" {
		t.Errorf("nothing: %q", got)
	}
}

// TestDifferencesOfAnotherForm: a line that nothing is known of is not passed over.
func TestDifferencesOfAnotherForm(t *testing.T) {
	err := printDifferences(bufio.NewScanner(strings.NewReader("ok\nnonsense\n")), &differencesText{w: &strings.Builder{}})
	if err == nil || !strings.Contains(err.Error(), `"nonsense"`) {
		t.Errorf("%v", err)
	}
}
