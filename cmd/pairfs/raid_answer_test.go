package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// answers makes a directory of control files that know one command each: a plain file gives what is behind the bytes that a write replaces.
func answers(t *testing.T, line string, answer map[string]string) site {
	t.Helper()
	s := site{mnt: t.TempDir()}
	for object, text := range answer {
		path := s.path(object)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.Repeat(".", len(line)+1)+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// asked returns the command that an object was given, "" if none.
func asked(t *testing.T, s site, object string) string {
	t.Helper()
	b, err := os.ReadFile(s.path(object))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.HasPrefix(b, []byte(".")) {
		return ""
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return line
}

// callOf makes a call of a command with its options.
func callOf(t *testing.T, name, options string, out *bytes.Buffer) *raidCall {
	t.Helper()
	for _, c := range raidCommands {
		if c.name != name {
			continue
		}
		args, err := parseRaid(raidOptionsOf(name, c.options), strings.Fields(options))
		if err != nil {
			t.Fatal(err)
		}
		return &raidCall{app: &app{ctx: t.Context(), stdout: out, stderr: out}, name: name, args: args}
	}
	t.Fatalf("no command %s", name)
	return nil
}

// TestTakeoverOfSeveral has volumes of which each is taken over in another way: the exit status is that of the least certain one.
func TestTakeoverOfSeveral(t *testing.T) {
	const line = "takeover timeout=7s"
	for _, row := range []struct {
		a, b string // answers of two pairs
		want int
	}{
		{"ok: nop-takeover: is SSWS already\n", "ok: swap-takeover: 0 bytes lost\n", 1},
		{"ok: swap-takeover: x\n", "ok: SVOL-SSUS-takeover: y\n", 5},
		{"ok: SVOL-SSUS-takeover: y\n", "ok: SVOL-takeover: x\n", 5},
		{"ok: PVOL-PSUE-takeover: x\n", "ok: PVOL-SMPL-takeover: y\n", 4},
		{"ok: nop-takeover: x\n", "nop-takeover: y\n", 0},
	} {
		s := answers(t, line, map[string]string{"a": row.a, "b": row.b, "groups/g@tokyo": row.b})
		var out bytes.Buffer
		r := callOf(t, "horctakeover", "-g g -t 7", &out)
		target := &raidTarget{site: s, group: "g@tokyo", members: []raidMember{memberIn("a", "S-VOL", "PAIR"), memberIn("b", "S-VOL", "PAIR")}}
		code, err := r.takeover(target, r.args.number("-t", takeoverSeconds))
		if code != row.want || err != nil || asked(t, s, "a") != line || asked(t, s, "b") != line || asked(t, s, "groups/g@tokyo") != "" {
			t.Errorf("%q and %q: %d, %v, asked %q and %q; want %d", row.a, row.b, code, err, asked(t, s, "a"), asked(t, s, "b"), row.want)
		}
		if got := strings.Count(out.String(), "horctakeover : "); got != 2 {
			t.Errorf("said %q", out.String())
		}
	}
}

// TestTakeoverOfAGroup has one command for all of a group.
func TestTakeoverOfAGroup(t *testing.T) {
	const line = "takeover timeout=1m0s"
	s := answers(t, line, map[string]string{"a": "", "groups/g@tokyo": "ok: SVOL-takeover: all of it\n"})
	var out bytes.Buffer
	r := callOf(t, "horctakeover", "-g g", &out)
	target := &raidTarget{site: s, group: "g@tokyo", whole: true, members: []raidMember{memberIn("a", "S-VOL", "PAIR"), memberIn("b", "S-VOL", "PAIR")}}
	code, err := r.takeover(target, r.args.number("-t", takeoverSeconds))
	if code != 2 || err != nil || out.String() != "horctakeover : SVOL-takeover: all of it\n" || asked(t, s, "groups/g@tokyo") != line || asked(t, s, "a") != "" {
		t.Errorf("%d, %v, %q", code, err, out.String())
	}
	s = answers(t, line, map[string]string{"groups/g@tokyo": "ok: something: else\n"})
	target.site = s
	var e *raidError
	if _, err := r.takeover(target, 60); !errors.As(err, &e) || e.code != exCMDIOE {
		t.Errorf("an answer that is none: %v", err)
	}
}

// TestMark puts a marker at the P-VOLs in PAIR and nowhere else.
func TestMark(t *testing.T) {
	s := answers(t, "mark", map[string]string{"groups/g": "ok: marker 0000002a.7: in the order of group g\n", "a": "ok\n"})
	var out bytes.Buffer
	r := callOf(t, "pairsyncwait", "-g g -nowait -fq", &out)
	target := &raidTarget{site: s, group: "g", whole: true, members: []raidMember{memberIn("a", "P-VOL", "PAIR"), memberIn("b", "P-VOL", "PFUL")}}
	if marker, err := r.mark(target); marker != "0000002a.7" || err != nil || asked(t, s, "groups/g") != "mark" {
		t.Errorf("%q, %v", marker, err)
	}
	var e *raidError
	target.whole = false
	if _, err := r.mark(target); !errors.As(err, &e) || e.code != exCMDIOE {
		t.Errorf("an answer without a marker: %v", err)
	}
	for _, m := range []raidMember{memberIn("c", "P-VOL", "COPY"), memberIn("c", "P-VOL", "PSUS"), memberIn("c", "S-VOL", "PAIR")} {
		target.members = []raidMember{m}
		if _, err := r.mark(target); !errors.As(err, &e) || e.code != exINVVOL {
			t.Errorf("%s in %s: %v", m.side(), m.status(), err)
		}
	}
}

// TestSwap writes the exchange of roles at the side that the option is for.
func TestSwap(t *testing.T) {
	for _, row := range []struct {
		option, role string
		code         raidCode
	}{
		{"-swaps", "S-VOL", raidCode{}},
		{"-swapp", "P-VOL", raidCode{}},
		{"-swaps", "P-VOL", exINVVOL},
		{"-swapp", "S-VOL", exINVVOL},
		{"-swapp -swaps", "S-VOL", exOPTINV},
	} {
		s := answers(t, "resync mode=swap", map[string]string{"a": "ok\n"})
		var out bytes.Buffer
		r := callOf(t, "pairresync", "-d a "+row.option, &out)
		err := r.swap(&raidTarget{site: s, members: []raidMember{memberIn("a", row.role, "PSUS")}}, r.args.last("-swaps", "-swapp"))
		var e *raidError
		refused := errors.As(err, &e)
		if refused != (row.code != raidCode{}) || refused && e.code != row.code || (asked(t, s, "a") == "resync mode=swap") == refused {
			t.Errorf("%s at the %s: %v, asked %q", row.option, row.role, err, asked(t, s, "a"))
		}
	}
}
