package e2e

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseRunbooks(t *testing.T) {
	got, err := ParseRunbooks(strings.NewReader(`# A page
For readers.
## One
<!-- test: it breaks -->
` + "```sh\n# on tokyo\na\nb | c\n# on osaka\n# a comment\nd\n```" + `
prints
` + "```text\nx … y\n```" + `
### Part
## Two
`))
	want := []Runbook{
		{Title: "One", Parts: []RunbookPart{{Steps: []RunbookStep{
			{Line: 4, Deed: "it breaks"},
			{Line: 5, Pastes: []Paste{{"tokyo", "a\nb | c\n"}, {"osaka", "# a comment\nd\n"}}},
			{Line: 14, Prints: []string{"x … y"}},
		}}, {Title: "Part"}}},
		{Title: "Two", Parts: []RunbookPart{{}}},
	}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("(-want +got):\n%s%v", d, err)
	}
	for what, page := range map[string]string{
		"no runbook":      "```sh\n# on tokyo\na\n```\n",
		"a part of none":  "### Part\n",
		"no host":         "## A\n```sh\na\n```\n",
		"another kind":    "## A\n```go\n```\n",
		"not closed":      "## A\n```sh\n# on tokyo\n",
		"output of none":  "## A\n```text\na\n```\n",
		"another comment": "## A\n<!-- todo -->\n",
	} {
		if books, err := ParseRunbooks(strings.NewReader(page)); err == nil {
			t.Errorf("%s: read as %+v", what, books)
		}
	}
}

func TestMissing(t *testing.T) {
	const output = "NAME   ROLE\npair0  S-VOL   PAIR  db\nswap: at 17, held for 2ms\n"
	for _, row := range []struct{ prints, missing string }{
		{"pair0 S-VOL …", ""},
		{"NAME ROLE|swap: at …, held for …", ""},
		{"swap: …|NAME …", "NAME …"}, // not in this order
		{"pair0 P-VOL …", "pair0 P-VOL …"},
		{"pair0", "pair0"}, // a whole line
	} {
		if got := Missing(strings.Split(row.prints, "|"), output); got != row.missing {
			t.Errorf("%q: %q is missing, want %q", row.prints, got, row.missing)
		}
	}
}
