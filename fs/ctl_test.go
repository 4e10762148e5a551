package fs

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pairfs/replica"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		line    string
		verb    string
		opts    map[string]string
		refused string // part of the refusal, "" if the line is taken
	}{
		{"suspend", "suspend", map[string]string{}, ""},
		{"suspend\n", "suspend", map[string]string{}, ""},
		{"  create\tvolume=a  peer=b ", "create", map[string]string{"volume": "a", "peer": "b"}, ""},
		{"add key=SHA256:a+b/c=", "add", map[string]string{"key": "SHA256:a+b/c="}, ""},
		{"", "", nil, "is empty"},
		{"\n", "", nil, "is empty"},
		{" \t\n", "", nil, "is empty"},
		{"a\nb", "", nil, "more than one line"},
		{"a\n\n", "", nil, "more than one line"},
		{"a\x00", "", nil, "byte 1"},
		{"a\x1b[2J", "", nil, "byte 1"},
		{"a\r\n", "", nil, "byte 1"},
		{"\xff", "", nil, "byte 0"},
		{"a\u0085", "", nil, "byte 1"},
		{"volume=a create", "", nil, "begins with the option"},
		{"create db", "", nil, `"db" is no option`},
		{"create =db", "", nil, `"=db" is no option`},
		{"create a=1 a=2", "", nil, `"a" is given twice`},
		{strings.Repeat("a ", maxArgs+1), "", nil, "17 words"},
		{strings.Repeat("a", maxLine+1), "", nil, "4097 bytes long"},
	} {
		verb, opts, err := parse([]byte(c.line))
		if c.refused != "" {
			if err == nil || !strings.Contains(err.Error(), c.refused) || replica.KindOf(err) != replica.KindInvalid {
				t.Errorf("%q: %v, want a refusal with %q", c.line, err, c.refused)
			}
			continue
		}
		if err != nil || verb != c.verb || !maps.Equal(opts, c.opts) {
			t.Errorf("%q: %q %v %v", c.line, verb, opts, err)
		}
	}
}

// runAll is run, with the questions asked.
func (o object) runAll(c commander, line []byte) error {
	_, q, err := o.run(context.Background(), c, line)
	switch {
	case err == nil && q != nil && q.marker != nil:
		_, err = (&markerWaits{}).answer(context.Background(), context.Background, q)
	case err == nil && q != nil:
		_, err = q.ask(context.Background())
	}
	return err
}

func TestCommands(t *testing.T) {
	pair, group, peer := object{pairObject, "p"}, object{groupObject, "g"}, object{peerObject, "osaka"}
	vol, site := object{volumeObject, "v"}, object{siteObject, ""}
	for _, c := range []struct {
		object object
		line   string
		call   string // what reaches the site
		err    string // or part of the refusal
	}{
		{pair, "create volume=v peer=osaka", "CreatePair {Name:p Volume:v Peer:osaka RemoteVolume:v Group:default Options:map[] CopyNone:false}", ""},
		{pair, "create volume=v peer=osaka remote=w group=g copy=none", "CreatePair {Name:p Volume:v Peer:osaka RemoteVolume:w Group:g Options:map[] CopyNone:true}", ""},
		{pair, "create volume=v", "", `"create" needs the option peer=`},
		{pair, "create volume=v peer=", "", `option "peer" has no value`},
		{pair, "create volume=../v peer=osaka", "", `"../v" is no name for a volume`},
		{pair, "create volume=v peer=osaka copy=some", "", "copy=some is unknown; known are full, none"},
		{pair, "create volume=v peer=osaka group=g@osaka", "", "group g@osaka is group g of osaka, which takes new pairs there alone"},
		{pair, "create volume=v peer=osaka pace=3", "", `has no option "pace"; known are volume=, peer=, remote=, group=, copy=full|none`},
		{pair, "suspend", "SuspendPair p {Purge:false SVOLWrite:false SVOLRead:false Mark:false At:/0000000000000000-0}", ""},
		{pair, "suspend mode=flush svol-write=disable", "SuspendPair p {Purge:false SVOLWrite:false SVOLRead:true Mark:false At:/0000000000000000-0}", ""},
		{pair, "suspend mode=purge svol-write=enable", "SuspendPair p {Purge:true SVOLWrite:true SVOLRead:false Mark:false At:/0000000000000000-0}", ""},
		{pair, "resync", "ResyncPair p {Swap:false Discard:}", ""},
		{pair, "resync now=yes", "", `"resync" has no option "now"; known are mode=normal|swap, discard=here|there`},
		{pair, "resync mode=swap", "ResyncPair p {Swap:true Discard:}", ""},
		{pair, "resync mode=normal discard=here", "ResyncPair p {Swap:false Discard:here}", ""},
		{pair, "resync discard=both", "", "discard=both is unknown; known are here, there"},
		{group, "resync mode=swap discard=there", "ResyncGroup g {Swap:true Discard:there}", ""},
		{pair, "takeover", "TakeoverPair p 1m0s", ""},
		{pair, "takeover timeout=1h", "TakeoverPair p 1h0m0s", ""},
		{group, "takeover timeout=1.5s", "TakeoverGroup g 1.5s", ""},
		{group, "takeover timeout=0s", "", `"0s" is no time up to 1h0m0s`},
		{group, "takeover timeout=61m", "", "is no time up to"},
		{group, "takeover timeout=60", "", "write it as in 60s"},
		{group, "takeover mode=swap", "", `has no option "mode"; known are timeout=`},
		{pair, "suspend mark=yes", "SuspendPair p {Purge:false SVOLWrite:false SVOLRead:false Mark:true At:/0000000000000000-0}", ""},
		{group, "suspend marker=g/0000000000000abc-42", "SuspendGroup g {Purge:false SVOLWrite:false SVOLRead:false Mark:false At:g/0000000000000abc-42}", ""},
		{group, "suspend marker=42", "", `"42" is no marker`},
		{pair, "suspend mark=42", "", "mark=42 is unknown; known are yes, no"},
		{pair, "mark", "MarkPair p", ""},
		{group, "mark", "MarkGroup g", ""},
		{pair, "mark marker=x", "", `"mark" has no option "marker"; it has none`},
		{site, "wait marker=p/0000000000000abc-42", "WaitMarker p/0000000000000abc-42", ""},
		{site, "wait marker=p/0000000000000abc-42 timeout=10ms", "WaitMarker p/0000000000000abc-42", ""},
		{site, "wait", "", `"wait" needs the option marker=`},
		{site, "wait marker=p/abc-42", "", `"p/abc-42" is no marker`},
		{site, "wait marker=p/0000000000000abc-42 timeout=61s", "", "timeout=61s is no time from 0s to 1m0s"},
		{site, "wait marker=p/0000000000000abc-42 timeout=-1s", "", "is no time"},
		{site, "wait marker=p/0000000000000abc-42 timeout=soon", "", "is no time"},
		{pair, "differences", "PairResyncDifferences p {Swap:false Discard:}", ""},
		{pair, "differences ranges=no", "PairResyncDifferences p {Swap:false Discard:}", ""},
		{pair, "differences mode=swap", "PairResyncDifferences p {Swap:true Discard:}", ""},
		{group, "differences discard=here", "GroupResyncDifferences g {Swap:false Discard:here}", ""},
		{group, "differences discard=both", "", "discard=both is unknown; known are here, there"},
		{pair, "differences ranges=some", "", "ranges=some is unknown; known are yes, no"},
		{group, "differences ranges=yes", "GroupResyncDifferences g {Swap:false Discard:}", ""},
		{pair, "delete", "DeletePair p {Force:false}", ""},
		{pair, "delete mode=force", "DeletePair p {Force:true}", ""},
		{pair, "frobnicate", "", `"frobnicate" is no command of a pair; known are create, set, suspend, mark, resync, takeover, differences, delete`},
		{group, "create", "CreateGroup {Name:g Size:1073741824 Volumes:1 Options:map[]}", ""},
		{group, "create size=10G volumes=4", "CreateGroup {Name:g Size:10737418240 Volumes:4 Options:map[]}", ""},
		{group, "create size=10GB", "", "decimal unit"},
		{group, "create volumes=0", "", "no number from 1"},
		{group, "create size=1G inflow-control=yes", "CreateGroup {Name:g Size:1073741824 Volumes:1 Options:map[inflow-control:yes]}", ""},
		{group, "set path-watch=1d copy-pace=high", "SetGroup g map[copy-pace:high path-watch:1d]", ""},
		{group, "set priority=1", "", `"set" has no option "priority"`},
		{group, "add-volume size=2G", "AddJournalVolume g 2147483648", ""},
		{group, "add-volume", "", `"add-volume" needs the option size=`},
		{group, "remove-volume number=2", "RemoveJournalVolume g 2", ""},
		{group, "remove-volume number=0", "RemoveJournalVolume g 0", ""}, // the site says which there are
		{group, "remove-volume number=x", "", "is not the number of a journal volume"},
		{pair, "set priority=1 error-level=lu", "SetPair p map[error-level:lu priority:1]", ""},
		{site, "set copies=4", "SetSite map[copies:4]", ""},
		{group, "suspend mode=purge", "SuspendGroup g {Purge:true SVOLWrite:false SVOLRead:false Mark:false At:/0000000000000000-0}", ""},
		{group, "resync", "ResyncGroup g {Swap:false Discard:}", ""},
		{group, "delete mode=normal", "DeleteGroup g {Force:false}", ""},
		{peer, "add address=[::1]:7 key=SHA256:x", "AddPeer {Name:osaka Address:[::1]:7 Fingerprint:SHA256:x Quota:0 KeepQuota:true}", ""},
		{peer, "add address=h:7 key=SHA256:x create=0", "AddPeer {Name:osaka Address:h:7 Fingerprint:SHA256:x Quota:0 KeepQuota:false}", ""},
		{peer, "add address=h:7 key=SHA256:x create=1TiB", "AddPeer {Name:osaka Address:h:7 Fingerprint:SHA256:x Quota:1099511627776 KeepQuota:false}", ""},
		{peer, "remove", "RemovePeer osaka", ""},
		{vol, "reserve peer=osaka", `ReserveVolume v for "osaka"`, ""},
		{vol, "release", `ReserveVolume v for ""`, ""},
		{site, "stop", "", ""},
		{site, "suspend", "", `"suspend" is no command of the site; known are stop, set, wait`},
		{object{keptObject, ""}, "drop name=pair0-20260203T040506Z", "DropKept pair0-20260203T040506Z", ""},
		{object{keptObject, ""}, "drop older=30d", "DropKeptOlder 30d", ""},
		{object{keptObject, ""}, "drop", "", `"drop" needs one of the options name= and older=`},
		{object{keptObject, ""}, "drop name=a older=1d", "", `"drop" needs one of the options name= and older=`},
		{object{keptObject, ""}, "export", "", `"export" is no command of the kept sets; known are drop`},
		{object{metricsObject, ""}, "x", "", "takes no commands"},
	} {
		s := newFakeSite()
		err := c.object.runAll(s, []byte(c.line))
		if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%q: %v, want %q", c.line, err, c.err)
		}
		if err != nil && replica.KindOf(err) != replica.KindInvalid {
			t.Errorf("%q: kind %v", c.line, replica.KindOf(err))
		}
		if got := strings.Join(s.calls, ";"); got != c.call {
			t.Errorf("%q: calls %q, want %q", c.line, got, c.call)
		}
	}
}

// Whatever configuration the state shows can be written back.
func TestConfigurationLinesAreCommands(t *testing.T) {
	st := sampleStatus()
	for _, o := range []object{{pairObject, "pair0"}, {groupObject, "g"}, {peerObject, "osaka"}, {volumeObject, "db"}} {
		text, ok := o.text(&st)
		first, _, _ := strings.Cut(text, "\n")
		if !ok || strings.Contains(first, ": ") {
			t.Errorf("%v has no configuration: %q", o, first)
		}
		s := newFakeSite()
		if err := o.runAll(s, []byte(first+"\n")); err != nil || len(s.calls) != 1 {
			t.Errorf("%q: %v, %v", first, err, s.calls)
		}
	}
}

func FuzzCommand(f *testing.F) {
	for _, line := range []string{"create volume=v peer=p remote=w group=g copy=none\n", "suspend mode=purge", "add address=a:1 key=SHA256:x create=1T", "differences ranges=no", "a\x00=\xff"} {
		f.Add(line, uint8(pairObject))
	}
	f.Fuzz(func(t *testing.T, line string, kind uint8) {
		s := newFakeSite()
		o := object{objectKind(kind % (uint8(volumeObject) + 1)), "x"}
		err := o.runAll(s, []byte(line))
		switch {
		case err != nil && len(s.calls) != 0:
			t.Errorf("%q was refused (%v) and carried out: %v", line, err, s.calls)
		case err != nil && replica.KindOf(err) != replica.KindInvalid:
			t.Errorf("%q: kind %v", line, replica.KindOf(err))
		case err != nil && strings.ContainsFunc(formatAnswer("", err)[:len(formatAnswer("", err))-1], func(r rune) bool { return r < ' ' }):
			t.Errorf("the answer has control characters: %q", formatAnswer("", err))
		case err == nil && o.kind != siteObject && len(s.calls) != 1:
			t.Errorf("%q: calls %v", line, s.calls)
		}
	})
}

func TestCheckName(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "A-1_b.c": true, strings.Repeat("a", maxName): true,
		"": false, ".": false, "..": false, ".a": false, "a/b": false, "a b": false, "ä": false, "a\x00": false, strings.Repeat("a", maxName+1): false,
	} {
		if err := checkName("pair", name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// The tables agree with the names of the objects that carry them.
func TestEveryCommandHasItsOwnWord(t *testing.T) {
	for kind := siteObject; kind <= volumeObject; kind++ {
		table, _ := object{kind, "x"}.verbs()
		var words []string
		for _, v := range table {
			words = append(words, v.name)
		}
		slices.Sort(words)
		if diff := cmp.Diff(slices.Compact(slices.Clone(words)), words); diff != "" {
			t.Error(diff)
		}
	}
}
