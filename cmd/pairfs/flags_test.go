package main

import "testing"

// TestInFlags: a refusal says what the command line takes, and what is there in both forms stays.
func TestInFlags(t *testing.T) {
	for said, want := range map[string]string{
		"mode=purge belongs to the primary":                       "--mode=purge belongs to the primary",
		"resync mode=swap makes this side its secondary":          "resync --swap makes this side its secondary",
		"resync discard=there goes on, discard=here from there":   "resync --discard=there goes on, --discard=here from there",
		"mode=swap gives nothing up; discard= does":               "--swap gives nothing up; --discard= does",
		"delete this side alone with --force (mode=force)":        "delete this side alone with --force (mode=force)",
		"suspend it with --svol-write=enable (svol-write=enable)": "suspend it with --svol-write=enable (svol-write=enable)",
		"leave out copy=none, or bring it there":                  "leave out --copy=none, or bring it there",
		"pairfs group resync g --discard=here":                    "pairfs group resync g --discard=here",
		"path-watch=61d is out of range":                          "path-watch=61d is out of range",
	} {
		if got := inFlags(said); got != want {
			t.Errorf("%q is said as %q, want %q", said, got, want)
		}
	}
}

// TestJournalBeingAdded: a group list shows what add-volume is writing.
func TestJournalBeingAdded(t *testing.T) {
	for text, want := range map[string]string{
		"capacity-bytes: 1073741824\nadding-bytes: 0\n":          "1.0GiB",
		"capacity-bytes: 1073741824\nadding-bytes: 2147483648\n": "1.0GiB (adding 2.0GiB)",
		"capacity-bytes: 1073741824\n":                           "1.0GiB",
	} {
		if got := journalText(parseState(text)); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
}

// TestFailedJournalNote says what to do about a journal that failed.
func TestFailedJournalNote(t *testing.T) {
	p := parseState("name: p\nstatus: PSUE\nlinked: yes\n")
	addGroup(&p, parseState("name: g\nfailed: journal has failed: input/output error\nstore-error: -\n"))
	if n := notes(p); len(n) != 1 || n[0] != "journal has failed: input/output error; mend the disk and restart pairfs (pairfs umount, pairfs mount), then resync" {
		t.Errorf("it says %q", n)
	}
	why := "group g is not served, for a part of its journal is missing: put it back, it goes on by itself then"
	p = parseState("name: p\nstatus: PAIR\nlinked: yes\nlast-error: " + why + "\n")
	addGroup(&p, parseState("name: g\nfailed: "+why+"\nstore-error: -\n"))
	if n := notes(p); len(n) != 1 || n[0] != why {
		t.Errorf("of a journal that could not be opened it says %q", n)
	}
}
