package replica

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	"pgregory.net/rapid"
)

// optionRows are values of each option: the word that is stored for what is said, "" for what is refused.
var optionRows = map[string]map[string]string{
	"inflow-control":     {"yes": "yes", "NO": "no", "1": "", "": "", "maybe": ""},
	"overflow-watch":     {"0": "0s", "0s": "0s", "600s": "10m", "10m": "10m", "59": "59s", "601s": "", "11m": "", "-1s": "", "": "", "1.5s": "", "5x": ""},
	"path-watch":         {"1s": "1s", "60": "1m", "90m": "90m", "24h": "1d", "60d": "60d", "0": "", "0s": "", "61d": "", "5185e3": "", "": "", "s": ""},
	"forward-path-watch": {"yes": "yes", "no": "no", "on": ""},
	"copy-pace":          {"low": "low", "Medium": "medium", "HIGH": "high", "": "", "0": "", "fast": ""},
	"line-speed": {"none": "none", "None": "none", "64K": "64K", "64k": "64K", "1T": "1T", "10M": "10M", "10m": "10M", "10MiB": "10M", "100Mbit": "100Mbit", "100mbit/s": "100Mbit",
		"1Gbit": "1Gbit", "2.5Gbit": "2500Mbit", "1.5M": "1536K", "525Kbit": "525Kbit", "65536": "64K", "65537": "65537", "10M/s": "10M", "125000000": "1Gbit",
		"65535": "", "524Kbit": "", "2T": "", "0": "", "10MB": "", "10Mb": "", "10P": "", "10bit": "", "10Mbits": "", "10MM": "", "10iB": "", "1e9": "", "0x100000": "", "1_000_000": "",
		"+10M": "", "-1M": "", "Mbit": "", "NaNMbit": "", "InfGbit": "", "inf": "", ".": "", "1.2.3M": "", "99999999999999999999999": "", "10M/s/s": "", "": "", "/s": "", "fast": ""},
	"paths":        {"auto": "auto", "Auto": "auto", "1": "1", "16": "16", "0": "", "17": "", "-1": "", "": "", "many": ""},
	"use-of-cache": {"yes": "yes", "no": "no", "use": ""},
	"priority":     {"1": "1", "256": "256", "32": "32", "0": "", "257": "", "-1": "", "1.0": "", "": "", "high": ""},
	"error-level":  {"group": "group", "LU": "lu", "volume": "", "": ""},
	"copies":       {"1": "1", "128": "128", "0": "", "129": "", "all": ""},
}

// checkOptions checks a table of options against optionRows, and its defaults.
func checkOptions[T any](t *testing.T, table []option[T], defaults T, want string) {
	t.Helper()
	if have := strings.Join(wordsOf(table, defaults), " "); have != want {
		t.Errorf("defaults are %s, want %s", have, want)
	}
	for _, o := range table {
		rows := optionRows[o.name]
		if len(rows) == 0 {
			t.Errorf("option %s has no rows", o.name)
		}
		for said, word := range rows {
			v, err := withOptions(table, defaults, "it", map[string]string{o.name: said})
			if word == "" {
				refused(t, err, KindInvalid)
				if !strings.Contains(err.Error(), o.values) {
					t.Errorf("%s=%s: the refusal %q does not name the range", o.name, said, err)
				}
				if !slices.Equal(wordsOf(table, v), wordsOf(table, defaults)) {
					t.Errorf("%s=%s was refused and changed something", o.name, said)
				}
				continue
			}
			if err != nil || o.get(&v) != word {
				t.Errorf("%s=%s is %s (%v), want %s", o.name, said, o.get(&v), err, word)
			}
			again, unknown := stored(table, defaults, map[string]string{o.name: o.get(&v)})
			if len(unknown) > 0 || !slices.Equal(wordsOf(table, again), wordsOf(table, v)) {
				t.Errorf("%s=%s comes back as %v (%v)", o.name, word, wordsOf(table, again), unknown)
			}
		}
	}
}

func TestOptionTables(t *testing.T) {
	checkOptions(t, groupOptions, defaultGroupOptions(pathWatchDefault),
		"inflow-control=no overflow-watch=1m path-watch=5m forward-path-watch=no copy-pace=low line-speed=none paths=auto use-of-cache=yes")
	checkOptions(t, pairOptions, defaultPairOptions(), "priority=32 error-level=group")
	checkOptions(t, siteOptions, defaultSiteOptions(), "copies=64")
}

// TestOptionsAllOrNone: a command that names one option that is not there changes none.
func TestOptionsAllOrNone(t *testing.T) {
	v := defaultGroupOptions(time.Minute)
	for _, set := range []map[string]string{{}, {"copy-pace": "high", "colour": "red"}, {"copy-pace": "high", "overflow-watch": "601s"}} {
		next, err := withOptions(groupOptions, v, "group g", set)
		if refused(t, err, KindInvalid); next != v {
			t.Errorf("%v: %+v", set, next)
		}
	}
}

// TestTimesAndRatesComeBack: what is shown is read as what it was, for every time and rate in range.
func TestTimesAndRatesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := defaultGroupOptions(time.Duration(rapid.Int64Range(1, 60*24*3600).Draw(t, "seconds")) * time.Second)
		o.LineSpeed = rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(lineSpeedMin, lineSpeedMax)).Draw(t, "rate")
		words := map[string]string{}
		for _, w := range wordsOf(groupOptions, o) {
			name, value, _ := strings.Cut(w, "=")
			words[name] = value
		}
		back, unknown := stored(groupOptions, GroupOptions{}, words)
		if back != o || unknown != nil {
			t.Fatalf("%+v is shown as %v and comes back as %+v (%v)", o, words, back, unknown)
		}
	})
}

// optionWords gives all options of a site, its group and its pair, as status shows them.
func (n *node) optionWords(group, pair string) map[string][]string {
	return map[string][]string{"site": n.site.Status().Options, "group": n.groupStatus(group).Options, "pair": n.status(pair).Options}
}

// TestOptionsPersist: options hold over a clean restart and a crash, and the secondary is handed those that the primary works with.
func TestOptionsPersist(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	ctx := context.Background()
	d.a.group("g")
	d.a.volume("x")
	d.a.pair("g", "x")
	there := d.b.optionWords("g@tokyo", "x")
	must(t, d.a.site.SetSite(ctx, map[string]string{"copies": "7"}))
	must(t, d.a.site.SetGroup(ctx, "g", map[string]string{"copy-pace": "high", "line-speed": "10M", "paths": "3", "path-watch": "90m", "overflow-watch": "0", "inflow-control": "no", "use-of-cache": "no"}))
	must(t, d.a.site.SetPair(ctx, "x", map[string]string{"priority": "3", "error-level": "lu"}))
	want := map[string][]string{
		"site":  {"copies=7"},
		"group": {"inflow-control=no", "overflow-watch=0s", "path-watch=90m", "forward-path-watch=no", "copy-pace=high", "line-speed=10M", "paths=3", "use-of-cache=no"},
		"pair":  {"priority=3", "error-level=lu"},
	}
	same := func(when string) {
		t.Helper()
		if have := d.a.optionWords("g", "x"); !maps.EqualFunc(have, want, slices.Equal[[]string]) {
			t.Fatalf("%s: %v, want %v", when, have, want)
		}
		g := d.a.site.groupByName("g")
		if limit := float64(g.line.lim.Limit()); !g.line.on.Load() || limit != 10<<20 || d.a.site.slots.most != 7 {
			t.Fatalf("%s: the options are shown and do not hold: line %v, copies %d", when, limit, d.a.site.slots.most)
		}
	}
	same("set")
	d.a.reopen()
	same("after a restart")
	d.a.crash(nil)
	d.a.open()
	same("after a crash")
	there["group"] = []string{"inflow-control=no", "overflow-watch=0s", "path-watch=1h", "forward-path-watch=no", "copy-pace=high", "line-speed=10M", "paths=3", "use-of-cache=yes"}
	there["pair"] = want["pair"]
	d.wait("the peer has what is the primary's", func() bool {
		return maps.EqualFunc(d.b.optionWords("g@tokyo", "x"), there, slices.Equal[[]string])
	})
	refused(t, d.a.site.SetGroup(ctx, "nix", map[string]string{"copy-pace": "low"}), KindNotFound)
	refused(t, d.a.site.SetPair(ctx, "nix", map[string]string{"priority": "1"}), KindNotFound)
	refused(t, d.a.site.SetPair(ctx, "x", map[string]string{"priority": "0"}), KindInvalid)
	refused(t, d.a.site.SetSite(ctx, map[string]string{"copies": "0"}), KindInvalid)
	same("after refusals")
}

// TestOptionsOfAnotherVersion: what this version does not know is not used, is told, and stays for the version that knows it.
func TestOptionsOfAnotherVersion(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	ctx := context.Background()
	must(t, d.a.site.CreateGroup(ctx, GroupSpec{Name: "g", Size: journalMin, Options: map[string]string{"inflow-control": "yes"}}))
	foreign := map[string]string{"inflow-control": "yes", "copy-pace": "warp", "colour": "red"}
	must(t, d.a.site.db.update(func(tx *bolt.Tx) error {
		rec, _, err := get[groupRecord](tx, bucketGroups, "g")
		must(t, err)
		rec.Options = foreign
		must(t, put(tx, bucketSite, siteOptionsKey, map[string]string{"moons": "2"}))
		return put(tx, bucketGroups, "g", rec)
	}))
	d.a.crash(nil)
	d.a.open()
	if o := *d.a.site.groupByName("g").opts.Load(); !o.InflowControl || o.CopyPace != PaceLow {
		t.Errorf("%+v", o)
	}
	for object, words := range map[string][]string{"group/g": {"colour=red", "copy-pace=warp"}, "site": {"moons=2"}} {
		for _, w := range words {
			if len(d.a.told(object, w)) != 1 {
				t.Errorf("%s is told %d times of %s", w, len(d.a.told(object, w)), object)
			}
		}
	}
	must(t, d.a.site.SetGroup(ctx, "g", map[string]string{"overflow-watch": "5"}))
	must(t, d.a.site.db.db.View(func(tx *bolt.Tx) error {
		rec, _, err := get[groupRecord](tx, bucketGroups, "g")
		if want := map[string]string{"inflow-control": "yes", "copy-pace": "warp", "colour": "red", "overflow-watch": "5s"}; !maps.Equal(rec.Options, want) {
			t.Errorf("stored: %v, want %v", rec.Options, want)
		}
		return err
	}))
}

// TestOptionsOfAFailedGroup: options are set while the journal is given up, on both sides, and hold when it is made anew.
func TestOptionsOfAFailedGroup(t *testing.T) {
	t.Parallel()
	here, there := newWatchedFS(), newWatchedFS()
	d := newDuo(t, withJournal("tokyo", here), withJournal("osaka", there))
	ctx := context.Background()
	d.a.group("g")
	d.a.volume("x")
	d.a.pair("g", "x")
	giveUp(here, "sync")
	w := newWriter(d.a, "x")
	w.some(newRand(1), 5)
	d.a.awaitBoth(PSUE, "x")
	giveUp(there, "sync")
	must(t, d.b.site.SuspendPair(ctx, "x", SuspendOptions{SVOLWrite: true}))
	_, _ = d.b.vol("x").WriteAt(ctx, make([]byte, blockSize), 0, true) // its error is the failure
	d.wait("the restore journal is given up", func() bool { return d.b.groupStatus("g@tokyo").Failed != "" })
	group, pair := map[string]string{"copy-pace": "high", "path-watch": "30m", "inflow-control": "yes", "overflow-watch": "5s"}, map[string]string{"priority": "7"}
	must(t, d.a.site.SetGroup(ctx, "g", group))
	must(t, d.b.site.SetGroup(ctx, "g@tokyo", group))
	must(t, d.a.site.SetPair(ctx, "x", pair))
	must(t, d.b.site.SetPair(ctx, "x", pair))
	refused(t, d.a.site.SetGroup(ctx, "g", map[string]string{"copy-pace": "low", "overflow-watch": "-1s"}), KindInvalid)
	want := d.a.optionWords("g", "x")
	if !slices.Contains(want["group"], "copy-pace=high") || !slices.Contains(want["pair"], "priority=7") {
		t.Errorf("set: %v", want)
	}
	for _, n := range []*node{d.a, d.b} {
		n.discard()
	}
	here.failWith(nil)
	there.failWith(nil)
	for _, n := range []*node{d.a, d.b} {
		n.open()
	}
	for n, group := range map[*node]string{d.a: "g", d.b: "g@tokyo"} {
		if have := n.optionWords(group, "x"); !maps.EqualFunc(have, want, slices.Equal[[]string]) {
			t.Errorf("%s has %v, want %v", n.cfg.Name, have, want)
		}
	}
	d.wait("the link is up", d.a.linked)
	d.a.resync("g", "x")
	d.wantEqual("x")
}
