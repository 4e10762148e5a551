package replica

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// sumsAt gives the checksums of a closed site, and what was said of them.
func (n *node) sumsAt() (sums []byte, said string) {
	n.t.Helper()
	var b bytes.Buffer
	must(n.t, Sums(n.cfg.StateDir, &b, func(f Finding) { said += fmt.Sprintf("%v %s: %s\n", f.Bad, f.Object, f.Text) }))
	return b.Bytes(), said
}

// compared compares a closed site with the checksums of the other one, and gives what is bad.
func (n *node) compared(sums []byte) (bad []string) {
	n.t.Helper()
	must(n.t, CompareSums(n.cfg.StateDir, bytes.NewReader(sums), func(f Finding) {
		if f.Bad {
			bad = append(bad, f.Object+": "+f.Text)
		}
	}))
	return bad
}

// damageStore turns over a bit of a store at rest.
func (n *node) damageStore(volume string, at int64) {
	n.t.Helper()
	path := filepath.Join(n.cfg.StateDir, "volumes", volume)
	b, err := os.ReadFile(path)
	must(n.t, err)
	must(n.t, os.WriteFile(path, flip(b, int(at)), 0o600))
}

// TestSumsOfASplitPair: two stores of a split pair that hosts wrote on both sides are the same but for what is marked; a flip that nothing
// explains is found with its volume and range, whichever side has it, and one where they may differ is not.
func TestSumsOfASplitPair(t *testing.T) {
	t.Parallel()
	d, w, rng := differ(t)
	must(t, w.write(t.Context(), 0, 64, 64, false)) // regions 4 to 7 have data
	d.a.suspend("g", SuspendOptions{SVOLWrite: true}, "x", "y")
	must(t, w.write(t.Context(), 0, 16*9, 2, false)) // region 9
	w.some(rng, 3)
	there := &writer{t: t, node: d.b, names: w.names, h: newHistory()}
	must(t, there.write(t.Context(), 0, 16*11, 2, false)) // region 11
	free := int64(-1)                                     // one of regions 4 to 7 that nobody wrote since
	for r := int64(4); r < 8; r++ {
		if !d.a.site.pairByName("x").att.bits.test(r) {
			free = r
		}
	}
	if free < 0 {
		t.Fatal("all of them were written again; another seed leaves one")
	}
	d.a.close()
	d.b.close()
	sums, said := d.b.sumsAt()
	if strings.Contains(said, "true") || !bytes.HasPrefix(sums, []byte(sumsHead+"\npair x ")) || !bytes.HasSuffix(sums, []byte("\nend\n")) {
		t.Errorf("%s\n%.200s", said, sums)
	}
	if bad := d.a.compared(sums); bad != nil {
		t.Fatalf("two sound stores: %q", bad)
	}
	for _, n := range []*node{d.a, d.b} {
		at := free*regionSize + 70
		n.damageStore("x", at)
		sums, _ := n.other.sumsAt()
		bad := n.compared(sums)
		if len(bad) != 2 || !strings.Contains(bad[0], fmt.Sprintf("volume/x: 65536 bytes at offset %d ", free*regionSize)) || !strings.Contains(bad[1], "Damaged store") {
			t.Errorf("a flip at %s: %q", n.cfg.Name, bad)
		}
		n.damageStore("x", at)
		for _, marked := range []int64{9, 11} {
			n.damageStore("x", marked*regionSize+5)
			if bad := n.compared(sums); bad != nil {
				t.Errorf("a flip where both may differ: %q", bad)
			}
			n.damageStore("x", marked*regionSize+5)
		}
	}
	own, _ := d.a.sumsAt()
	if bad := d.a.compared(own); len(bad) != 2 || !strings.Contains(bad[0], "are of this site") {
		t.Errorf("its own checksums: %q", bad)
	}
	for name, text := range map[string]string{"nothing": "", "another file": "root:x:0\n", "cut off": string(sums[:len(sums)-4]), "not in order": sumsHead + "\npair x 0 4194304 osaka x\n65536 00000001\n0 00000001\nend\n"} {
		if err := CompareSums(d.a.cfg.StateDir, strings.NewReader(text), func(Finding) {}); err == nil {
			t.Errorf("%s: taken for checksums", name)
		}
	}
	d.a.open()
	d.b.open()
	d.wait("the link is up", d.a.linked)
	d.mend()
}

// TestSumsBehindAKill: what a journal still holds may differ, so killed sites are compared without a false word: a site that was killed in this run
// of the machine only when it has started once more.
func TestSumsBehindAKill(t *testing.T) {
	t.Parallel()
	d, w, rng := differ(t)
	must(t, w.write(t.Context(), 0, 16*40, 64, true)) // regions 40 to 43
	d.a.restoreAll("g")
	d.b.restoreAll("g@tokyo")
	goOn := d.b.site.groupByName("g@tokyo").stopRestore()
	w.some(rng, 8) // the store of the S-VOL lacks it
	must(t, w.sync(t.Context(), 0))
	d.b.crash(goOn)
	if _, said := d.b.sumsAt(); !strings.Contains(said, "true pair/x: has no checksums: the site was killed") {
		t.Errorf("of a killed site: %s", said)
	}
	d.a.close()
	d.b.withDatabase(func(tx *bolt.Tx) error {
		return put(tx, bucketRings, "g@tokyo", ringRecord{Path: "gone", Boot: "an earlier one"})
	})
	sums, said := d.b.sumsAt()
	if strings.Contains(said, "true") {
		t.Errorf("behind a restart of the machine: %s", said)
	}
	if bad := d.a.compared(sums); bad != nil {
		t.Errorf("nothing is damaged: %q", bad)
	}
}
