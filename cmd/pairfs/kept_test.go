package main

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
)

// The kept set of the scripts, written by hand as its format says: a volume of a MiB and a bit, of which region 1 has data, region 2 is zeroes
// and the last, region 16 with its 100 bytes, has data.
const (
	keptSize   = 1<<20 + 100
	keptRegion = 64 << 10
)

// keptVolume is the volume that the set was kept of: everything else of it is "-".
func keptVolume() []byte {
	b := bytes.Repeat([]byte("-"), keptSize)
	copy(b[keptRegion:], bytes.Repeat([]byte("k"), keptRegion))
	clear(b[2*keptRegion : 3*keptRegion])
	copy(b[16*keptRegion:], bytes.Repeat([]byte("e"), 100))
	return b
}

// writeKept makes the set in a state directory.
func writeKept(dir, pair string, kept time.Time) error {
	v := keptVolume()
	table := crc32.MakeTable(crc32.Castagnoli)
	stamp := func(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000000Z") }
	list := fmt.Sprintf("pairfs kept set 1\nsite: tokyo\npair: %s\nvolume: db\npeer: osaka\nrole: P-VOL\nsize: %d\ngeneration: 7\nsequence: 12\nsplit-sequence: 9\n"+
		"held: %s\nkept: %s\nwhy: resync with discard=here\n\n", pair, keptSize, stamp(kept), stamp(kept))
	list += fmt.Sprintf("%16d %16d %08x\n", keptRegion, keptRegion, crc32.Checksum(v[keptRegion:2*keptRegion], table))
	list += fmt.Sprintf("%16d %16d %8s\n", 2*keptRegion, keptRegion, "zeroes")
	list += fmt.Sprintf("%16d %16d %08x\n", 16*keptRegion, 100, crc32.Checksum(v[16*keptRegion:], table))
	list += fmt.Sprintf("\nranges: %16d\nbytes: %16d\ndata-bytes: %16d\n", 3, 2*keptRegion+100, keptRegion+100)
	list += fmt.Sprintf("crc32c: %08x\n", crc32.Checksum([]byte(list), table))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	image, err := os.Create(filepath.Join(dir, "image"))
	if err != nil {
		return err
	}
	defer image.Close()
	err = image.Truncate(keptSize)
	for _, r := range [][2]int64{{keptRegion, 2 * keptRegion}, {16 * keptRegion, keptSize}} {
		if err == nil {
			_, err = image.WriteAt(v[r[0]:r[1]], r[0])
		}
	}
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "list"), []byte(list), 0o600)
}

// scriptKeep is the script command "keep STATE NAME PAIR [AGE]": it makes the kept set of that name, kept so long ago.
func scriptKeep(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 || len(args) > 4 {
		ts.Fatalf("usage: keep STATE NAME PAIR [AGE]")
	}
	age := time.Duration(0)
	if len(args) == 4 {
		var err error
		age, err = time.ParseDuration(args[3])
		ts.Check(err)
	}
	ts.Check(writeKept(ts.MkAbs(filepath.Join(args[0], "kept", args[1])), args[2], time.Now().Add(-age)))
	// The files with which exports are compared: all of the volume, the image, its ranges alone, and the rest of the volume.
	v := keptVolume()
	image := make([]byte, keptSize)
	copy(image[keptRegion:3*keptRegion], v[keptRegion:])
	copy(image[16*keptRegion:], v[16*keptRegion:])
	raw := append(bytes.Clone(v[keptRegion:3*keptRegion]), v[16*keptRegion:]...)
	for name, b := range map[string][]byte{"want.volume": v, "want.image": image, "want.raw": raw, "new.volume": bytes.Repeat([]byte("-"), keptSize)} {
		ts.Check(os.WriteFile(ts.MkAbs(name), b, 0o600))
	}
}

func TestParseKept(t *testing.T) {
	all, err := parseKept("a-1 pair=a why=\"b c=\\\"d\\\"\" bad=-\na-2 pair=- bad=\"kept set\"\n")
	if err != nil || len(all) != 2 {
		t.Fatal(all, err)
	}
	if diff := cmp.Diff([]string{"name", "pair", "why", "bad"}, all[0].keys); diff != "" || all[0].get("why") != `b c="d"` || all[1].get("bad") != "kept set" {
		t.Error(diff, all)
	}
	for _, bad := range []string{" pair=a\n", "a pair\n", "a =b\n", "a b=\"c\"d\n", "\n"} {
		if all, err := parseKept(bad); err == nil {
			t.Errorf("%q was read as %v", bad, all)
		}
	}
}

// What is kept is mentioned by the status of its pair, and nowhere else.
func TestStatusMentionsKeptSets(t *testing.T) {
	p := parseState("name: p\nrole: P-VOL\nstatus: PAIR\nlinked: yes\nkept-sets: 2\nkept-bytes: 1610612736\n")
	if n := notes(p); len(n) != 1 || n[0] != "2 kept sets (1.5GiB, pairfs kept list) hold what was overwritten here" {
		t.Errorf("%q", n)
	}
	p.set("kept-sets", "1")
	if n := notes(p); len(n) != 1 || n[0] != "1 kept set (1.5GiB, pairfs kept list) holds what was overwritten here" {
		t.Errorf("%q", n)
	}
	p.set("kept-sets", "0")
	if n := notes(p); len(n) != 0 {
		t.Errorf("%q", n)
	}
	if n := keptNote(1, "512"); !strings.HasPrefix(n, "1 kept set (512B") {
		t.Errorf("%q", n)
	}
}
