package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// snapshot is everything about a site that a refused command must not change.
func (s *Site) snapshot(t *testing.T) string {
	t.Helper()
	var lines []string
	steady := []string{"name", "volume", "remote-volume", "peer", "group", "role", "status", "suspend-type", "size", "generation", "svol-write",
		"pairs", "address", "key", "quota-bytes", "quota-used-bytes", "size-bytes", "pair", "reserved", "writable", "capacity-bytes", "mirror"}
	filepath.WalkDir(s.ctlPath(""), func(path string, d os.DirEntry, err error) error {
		if err != nil {
			t.Errorf("walk the control files: %v", err)
			return nil
		}
		lines = append(lines, strings.TrimPrefix(path, s.Mnt))
		if d.Name() == "kept.d" {
			return filepath.SkipDir // what kept says of them is enough
		}
		if d.IsDir() || slices.Contains([]string{"events", "metrics", "history", "site", "pairs"}, d.Name()) {
			return nil
		}
		state := s.Get(strings.TrimPrefix(path, s.ctlPath("")+"/"))
		lines = append(lines, state[""])
		for _, key := range steady {
			if v, ok := state[key]; ok {
				lines = append(lines, "  "+key+": "+v)
			}
		}
		return nil
	})
	for _, v := range list(t, s.Mnt) {
		st, err := os.Stat(s.Path(v))
		if err != nil {
			t.Error(err)
			continue
		}
		if !st.IsDir() {
			lines = append(lines, fmt.Sprintf("%s %d %v", v, st.Size(), st.Mode()))
		}
	}
	return strings.Join(lines, "\n")
}

// badCommand is one refusal: the errno, and words that the sentence has to contain.
type badCommand struct {
	site  string // "a" or "b"
	file  string
	line  string
	errno unix.Errno
	words []string
}

const goodKey = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// badCommands are given with pair0 of volume db in PAIR, a free volume, an unpaired group g, and a peer on each side.
var badCommands = []badCommand{
	// Syntax, the same for every control file.
	{"a", "pair0", "", unix.EINVAL, nil},
	{"a", "pair0", "   ", unix.EINVAL, nil},
	{"a", "pair0", "frobnicate", unix.EINVAL, []string{"frobnicate", "suspend", "resync"}},
	{"a", "pair0", "suspend now", unix.EINVAL, []string{"now"}},
	{"a", "pair0", "suspend colour=red", unix.EINVAL, []string{"colour", "mode"}},
	{"a", "pair0", "suspend mode=flush mode=purge", unix.EINVAL, []string{"mode"}},
	{"a", "pair0", "suspend mode=sideways", unix.EINVAL, []string{"sideways", "flush", "purge"}},
	{"a", "pair0", "suspend svol-write=perhaps", unix.EINVAL, []string{"perhaps", "enable"}},
	{"a", "pair0", "delete mode=gently", unix.EINVAL, []string{"gently", "force"}},
	{"a", "pair0", "suspend\nresync", unix.EINVAL, nil},
	{"a", "pair0", "suspend \x00", unix.EINVAL, nil},
	{"a", "pair0", "suspend \x1b[2J", unix.EINVAL, nil},
	{"a", "pair0", "suspend " + strings.Repeat("x", 5000), unix.EINVAL, nil},
	{"a", "site", "begin", unix.EINVAL, []string{"begin", "stop"}},

	// Pairs.
	{"a", "pair1", "create", unix.EINVAL, []string{"volume"}},
	{"a", "pair1", "create volume=free", unix.EINVAL, []string{"peer"}},
	{"a", "pair1", "create volume=free peer=osaka copy=maybe", unix.EINVAL, []string{"maybe", "full", "none"}},
	{"a", "pair1", "create volume=free peer=osaka remote=a/b", unix.EINVAL, []string{"a/b"}},
	{"a", "pair1", "create volume=free peer=osaka remote=.hidden", unix.EINVAL, []string{".hidden"}},
	{"a", "pair1", "create volume=nix peer=osaka", unix.ENOENT, []string{"nix"}},
	{"a", "pair1", "create volume=free peer=kyoto", unix.ENOENT, []string{"kyoto"}},
	{"a", "pair1", "create volume=free peer=osaka group=nix", unix.ENOENT, []string{"nix"}},
	{"a", "pair1", "create volume=db peer=osaka", unix.EBUSY, []string{"db", "pair0"}},
	{"a", "pair0", "create volume=free peer=osaka", unix.EEXIST, []string{"pair0"}},
	{"a", "pair1", "create volume=free peer=osaka remote=db", unix.EBUSY, []string{"db"}},
	{"a", "pair1", "create volume=free peer=osaka remote=own", unix.EACCES, []string{"own", "reserve"}},
	{"a", "pair1", "suspend", unix.ENOENT, []string{"pair1"}},
	{"a", "pair1", "resync", unix.ENOENT, []string{"pair1"}},
	{"b", "pair0", "resync", unix.EROFS, []string{"primary"}},
	{"a", "pair0", "takeover timeout=0s", unix.EINVAL, []string{"0s"}},
	{"b", "pair0", "takeover timeout=2h", unix.EINVAL, []string{"2h", "1h"}},
	{"b", "pair0", "takeover mode=now", unix.EINVAL, []string{"mode", "timeout"}},
	{"a", "pair1", "takeover", unix.ENOENT, []string{"pair1"}},
	{"a", "pair0", "resync mode=sideways", unix.EINVAL, []string{"sideways", "swap"}},
	{"a", "pair0", "resync discard=both", unix.EINVAL, []string{"both", "here"}},
	{"a", "pair0", "resync mode=swap discard=there", unix.EINVAL, []string{"swap", "discard=there"}},
	{"b", "pair0", "resync mode=swap discard=here", unix.EINVAL, []string{"swap", "discard=here"}},
	{"a", "groups/default", "resync mode=swap", unix.EBUSY, []string{"osaka", "was not taken over"}},
	{"a", "groups/default", "resync discard=here", unix.EBUSY, []string{"osaka", "was not taken over"}},
	{"b", "pair0", "resync mode=swap", unix.EBUSY, []string{"was not taken over"}},
	{"b", "pair0", "resync discard=there", unix.EBUSY, []string{"was not taken over"}},
	{"b", "pair0", "suspend mode=purge", unix.EROFS, []string{"primary"}},
	{"b", "pair0", "create volume=own peer=tokyo", unix.EEXIST, nil},
	{"b", "pair1", "create volume=db peer=tokyo", unix.EBUSY, []string{"db"}},

	// Groups.
	{"a", "groups/default", "create", unix.EEXIST, []string{"default"}},
	{"a", "groups/g2", "create size=10GB", unix.EINVAL, []string{"10GB", "GiB"}},
	{"a", "groups/g2", "create size=huge", unix.EINVAL, []string{"huge"}},
	{"a", "groups/g2", "create size=-1", unix.EINVAL, nil},
	{"a", "groups/g2", "create size=4K", unix.EINVAL, nil},
	{"a", "groups/g2", "create size=1GiB volumes=0", unix.EINVAL, nil},
	{"a", "groups/g2", "create size=1GiB volumes=65", unix.EINVAL, []string{"64"}},
	{"a", "groups/g2", "create size=1GiB volumes=two", unix.EINVAL, []string{"two"}},
	{"a", "groups/g2", "suspend", unix.ENOENT, []string{"g2"}},
	{"a", "groups/g2", "delete", unix.ENOENT, []string{"g2"}},
	{"a", "groups/g2", "takeover", unix.ENOENT, []string{"g2"}},
	{"a", "groups/g2", "resync mode=swap", unix.ENOENT, []string{"g2"}},
	{"a", "groups/g", "takeover", unix.EBUSY, []string{"no pairs"}},
	{"a", "groups/g", "resync mode=swap", unix.EBUSY, []string{"no pairs"}},
	{"b", "groups/default@tokyo", "resync", unix.EROFS, nil},

	// Peers.
	{"a", "peers/osaka", "add address=127.0.0.1:9 key=" + goodKey, unix.EBUSY, []string{"osaka", "key"}},
	{"a", "peers/kyoto", "add", unix.EINVAL, []string{"address"}},
	{"a", "peers/kyoto", "add address=127.0.0.1:9", unix.EINVAL, []string{"key"}},
	{"a", "peers/kyoto", "add address=nowhere key=" + goodKey, unix.EINVAL, []string{"nowhere"}},
	{"a", "peers/kyoto", "add address=127.0.0.1:70000 key=" + goodKey, unix.EINVAL, []string{"70000"}},
	{"a", "peers/kyoto", "add address=127.0.0.1:9 key=MD5:aa", unix.EINVAL, []string{"SHA256"}},
	{"a", "peers/kyoto", "add address=127.0.0.1:9 key=SHA256:short", unix.EINVAL, nil},
	{"a", "peers/kyoto", "add address=127.0.0.1:9 key=" + goodKey + " create=10GB", unix.EINVAL, []string{"10GB"}},
	{"a", "peers/kyoto", "remove", unix.ENOENT, []string{"kyoto"}},
	{"a", "peers/osaka", "remove", unix.EBUSY, []string{"pair"}},
	{"b", "peers/tokyo", "remove", unix.EBUSY, []string{"pair"}},

	// Volumes.
	{"a", "volumes/free", "reserve", unix.EINVAL, []string{"peer"}},
	{"a", "volumes/free", "reserve peer=kyoto", unix.ENOENT, []string{"kyoto"}},
	{"a", "volumes/free", "format", unix.EINVAL, []string{"format", "reserve"}},
	{"a", "volumes/db", "reserve peer=osaka", unix.EBUSY, []string{"db"}},
	{"a", "volumes/nix", "reserve peer=osaka", unix.ENOENT, nil},

	// Kept sets.
	{"a", "kept", "drop", unix.EINVAL, []string{"name=", "older="}},
	{"a", "kept", "drop name=x older=1d", unix.EINVAL, []string{"one of"}},
	{"a", "kept", "drop older=soon", unix.EINVAL, []string{"soon", "30d"}},
	{"a", "kept", "drop name=../volumes", unix.EINVAL, []string{"../volumes"}},
	{"b", "kept", "drop name=pair0-20260203T040506Z", unix.ENOENT, []string{"pair0-20260203T040506Z", "pairfs kept list"}},
}

// TestBadCommands gives every control file what it must refuse: each refusal has its errno and its sentence, is an event, and changes
// nothing at either site.
func TestBadCommands(t *testing.T) {
	t.Parallel()
	s := Two(t)
	s.A.MakeVolume("db", 16*mib)
	s.A.MakeVolume("free", 16*mib)
	s.B.MakeVolume("own", 16*mib)
	s.A.Do("groups/g", "create size=64MiB")
	s.CreatePair("pair0", "db", "")
	s.WaitBoth("pair0", "PAIR")
	s.A.AwaitDrained("pair0")
	before := [2]string{s.A.snapshot(t), s.B.snapshot(t)}
	sites := map[string]*Site{"a": s.A, "b": s.B}
	for _, bad := range badCommands {
		err := sites[bad.site].Ctl(bad.file, bad.line)
		var refused *CtlError
		if !errors.As(err, &refused) {
			t.Errorf("%s: %q to %s: %v, want %s", bad.site, bad.line, bad.file, err, unix.ErrnoName(bad.errno))
			continue
		}
		bad.check(t, refused)
	}
	after := [2]string{s.A.snapshot(t), s.B.snapshot(t)}
	for i, name := range []string{"tokyo", "osaka"} {
		if before[i] != after[i] {
			t.Errorf("the refused commands changed %s. Before:\n%s\nAfter:\n%s", name, before[i], after[i])
		}
	}
	for _, want := range [][2]string{{"pair/pair0", "frobnicate"}, {"pair/pair1", "kyoto"}, {"group/g2", "10GB"}, {"peer/kyoto", "nowhere"}, {"kept", "soon"}} {
		if !s.A.HasEvent(want[0], want[1]) {
			t.Errorf("no event of %s tells of the refusal of %q", want[0], want[1])
		}
	}
	// Words that make no sense, and a name that is taken, are no error of the pair.
	if got := s.A.Get("pair0")["last-error"]; got != "-" {
		t.Errorf("last-error of pair0 is %q at tokyo", got)
	}
	if got := s.B.Get("pair0")["last-error"]; !strings.Contains(got, "belongs to the primary") {
		t.Errorf("last-error of pair0 is %q at osaka, want the sentence of the last refused command", got)
	}
}

func (bad badCommand) check(t *testing.T, refused *CtlError) {
	t.Helper()
	if refused.Errno != bad.errno {
		t.Errorf("%s: %v; want %s", bad.site, refused, unix.ErrnoName(bad.errno))
	}
	// A file of a volume that does not exist cannot be opened, so there is no sentence.
	if refused.Sentence == "" && !strings.HasPrefix(bad.file, "volumes/nix") {
		t.Errorf("%s: %v; there is no sentence", bad.site, refused)
		return
	}
	if strings.ContainsAny(refused.Sentence, "\n\x00\x1b") {
		t.Errorf("%s: %q is not one clean sentence", bad.site, refused.Sentence)
	}
	for _, word := range bad.words {
		if !strings.Contains(refused.Sentence, word) {
			t.Errorf("%s: %v; the sentence does not name %q", bad.site, refused, word)
		}
	}
}

// TestControlFilesByShell uses the control files as a shell does: echo, cat and redirection.
func TestControlFilesByShell(t *testing.T) {
	t.Parallel()
	s := Two(t)
	s.A.MakeVolume("db", 16*mib)
	ctl := filepath.Join(s.A.Mnt, ".ctl")
	Run(t, "sh", "-c", "echo 'create volume=db peer=osaka' > "+ctl+"/pair0")
	s.WaitBoth("pair0", "PAIR")
	for file, want := range map[string]string{
		"pair0": "status: PAIR\n", "site": "name: tokyo\n", "peers/osaka": "connected: yes\n", "groups/default": "role: P-VOL\n",
		"volumes/db": "pair: pair0\n", "pairs": "pair0 ", "metrics": "# ",
	} {
		if out := Run(t, "cat", filepath.Join(ctl, file)); !strings.Contains(out, want) {
			t.Errorf("cat .ctl/%s has no %q:\n%s", file, want, out)
		}
	}
	Run(t, "sh", "-c", "echo suspend > "+ctl+"/pair0")
	s.WaitBoth("pair0", "PSUS")
	Run(t, "sh", "-c", "echo resync >> "+ctl+"/groups/default")
	s.WaitBoth("pair0", "PAIR")
	Run(t, "sh", "-c", "printf delete > "+ctl+"/pair0")
	s.WaitBoth("pair0", "SMPL")
	if names := list(t, ctl); slices.Contains(names, "pair0") {
		t.Errorf("the deleted pair is still listed: %v", names)
	}
	st, err := os.Stat(ctl)
	if err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("mode of .ctl: %v %v", st, err)
	}
}

// TestConfigurationIsCommands writes back the configuration lines of one site to an empty one.
func TestConfigurationIsCommands(t *testing.T) {
	t.Parallel()
	s := Two(t)
	s.A.MakeVolume("db", 16*mib)
	s.A.Do("groups/g", "create size=64MiB volumes=2")
	s.CreatePair("pair0", "db", "group=g remote=db-copy")
	s.WaitBoth("pair0", "PAIR")
	lines := map[string]string{}
	for _, file := range []string{"groups/g", "pair0"} {
		lines[file] = strings.TrimSpace(s.A.Get(file)[""])
	}
	s.A.Do("pair0", "delete")
	s.WaitBoth("pair0", "SMPL")
	s.A.Do("groups/g", "delete")
	if err := os.Remove(s.B.Path("db-copy")); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"groups/g", "pair0"} {
		s.A.Do(file, lines[file])
	}
	s.WaitBoth("pair0", "PAIR")
	for _, file := range []string{"groups/g", "pair0"} {
		if got := strings.TrimSpace(s.A.Get(file)[""]); got != lines[file] {
			t.Errorf("%s made from %q shows %q", file, lines[file], got)
		}
	}
}
