package e2e

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// runbookPage is the page whose runbooks are played here, each by a test of its own, with what happens between its blocks.
const runbookPage = "../docs/runbooks.md"

// runbookPlays says which runbooks, and which of their parts in which order, are played in one go. Every part of the page is in one.
var runbookPlays = []struct {
	name  string
	parts []string // "RUNBOOK/PART"
	group string   // options of the group, the first one of its create
	disk  string   // what is on a disk of its own: a site and a folder of its state directory
}{
	{"switchover", []string{"Before it happens/", "Planned switchover/", "Planned switchover/To osaka", "Planned switchover/While tokyo is down", "Planned switchover/And back"}, "--size=32M", ""},
	{"disaster", []string{"Disaster/", "Disaster/Take over", "Failback/", "Failback/Tokyo is back", "Failback/Tokyo follows", "Failback/And back"}, "--size=32M", ""},
	{"split_brain_osaka", []string{"Split brain/", "Split brain/See both histories", "Split brain/Go on from osaka"}, "--size=32M", ""},
	{"split_brain_tokyo", []string{"Split brain/", "Split brain/See both histories", "Split brain/Go on from tokyo"}, "--size=32M", ""},
	{"link_repair", []string{"Link repair/", "Link repair/Resync"}, "--size=32M path-watch=1s", ""},
	{"journal_full", []string{"Journal full/", "Journal full/PFUL: there is time", "Journal full/PFUS: it was full"}, "--size=16M", ""},
	{"primary_journal", []string{"Lost disk at the primary/", "Lost disk at the primary/The journal, and tokyo runs"}, "--size=32M", "tokyo journals"},
	{"primary_journal_crash", []string{"Lost disk at the primary/The journal, and tokyo went down", "Planned switchover/And back"}, "--size=32M", ""},
	{"primary_store_runs", []string{"Lost disk at the primary/The store, and tokyo runs", "Lost disk at the primary/Without the store", "Lost disk at the primary/The pair anew, from osaka"}, "--size=32M", "tokyo volumes"},
	{"primary_store", []string{"Lost disk at the primary/The store, and tokyo went down", "Lost disk at the primary/Without the store", "Lost disk at the primary/The pair anew, from osaka"}, "--size=32M", ""},
	{"primary_state", []string{"Lost disk at the primary/All of the state directory", "Lost disk at the primary/The pair anew, from osaka"}, "--size=32M", ""},
	{"secondary", []string{"Lost disk at the secondary/", "Lost disk at the secondary/The store", "Lost disk at the secondary/The journal"}, "--size=32M", "osaka volumes"},
	{"secondary_state", []string{"Lost disk at the secondary/All of osaka's state directory"}, "--size=32M", ""},
	{"primary_database", []string{"Lost database/", "Lost database/At the primary", "Lost disk at the primary/The pair anew, from osaka"}, "--size=32M", ""},
	{"secondary_database", []string{"Lost database/At the secondary"}, "--size=32M", ""},
	{"damaged_store", []string{"Damaged store/", "Damaged store/Compare", "Damaged store/Mend it"}, "--size=32M", ""},
}

// TestRunbooks plays every runbook of the page as it stands there, on two sites with ext4 on a loop device over the volume. What hosts wrote
// is there in the end, at the site that the runbook leads to, and both volumes are the same.
func TestRunbooks(t *testing.T) {
	t.Parallel()
	books := readRunbooks(t)
	slots := make(chan struct{}, runbooksAtOnce)
	var all sync.WaitGroup
	defer all.Wait()
	for _, play := range runbookPlays {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			t.Run(play.name, func(t *testing.T) {
				s := newStage(t, play.group, play.disk)
				for _, name := range play.parts {
					book, part, _ := strings.Cut(name, "/")
					s.play(findPart(t, books, book, part))
				}
				s.assert(play.name)
			})
		})
	}
}

// runbooksAtOnce is how many are played at a time: most of their time they wait for a link to be taken for lost, so more than there are processors.
const runbooksAtOnce = 5

// TestRunbookPage: no part of the page is left out by the plays, and every link on it leads to a heading.
func TestRunbookPage(t *testing.T) {
	var played []string
	for _, play := range runbookPlays {
		played = append(played, play.parts...)
	}
	anchors := map[string]bool{}
	for _, book := range readRunbooks(t) {
		anchors[strings.ReplaceAll(strings.ToLower(book.Title), " ", "-")] = true
		for _, part := range book.Parts {
			if name := book.Title + "/" + part.Title; !slices.Contains(played, name) && len(part.Steps) > 0 {
				t.Errorf("%q is played by no test", name)
			}
		}
	}
	page, err := os.ReadFile(runbookPage)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`\]\(#([^)]*)\)`).FindAllStringSubmatch(string(page), -1) {
		if !anchors[m[1]] {
			t.Errorf("the link to #%s leads nowhere", m[1])
		}
	}
}

func readRunbooks(t *testing.T) []Runbook {
	t.Helper()
	f, err := os.Open(runbookPage)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	books, err := ParseRunbooks(f)
	if err != nil {
		t.Fatalf("%s: %v", runbookPage, err)
	}
	return books
}

func findPart(t *testing.T, books []Runbook, book, part string) *RunbookPart {
	t.Helper()
	for _, b := range books {
		if p := b.Part(part); b.Title == book && p != nil {
			return p
		}
	}
	t.Fatalf("%s has no runbook %q with a part %q", runbookPage, book, part)
	return nil
}

// stage is where a runbook is played: two hosts, the service at tokyo, and what its files are to be.
type stage struct {
	t            *testing.T
	tokyo, osaka *runbookHost
	link         *Link
	said         string   // what the last block printed
	files        []string // that were put
}

// newStage makes two sites with pair0 in PAIR and a file system with files in its volume, mounted at tokyo.
func newStage(t *testing.T, group, disk string) *stage {
	t.Helper()
	a, b, link := runbookHosts(t)
	for _, h := range []*runbookHost{a, b} {
		if site, folder, _ := strings.Cut(disk, " "); site == h.Name {
			h.ownDisk(folder)
		}
	}
	s := &stage{t: t, tokyo: a, osaka: b, link: link}
	create, options, _ := strings.Cut(group, " ")
	a.Must("pairfs mount --state /var/tmp/tokyo --name tokyo --listen 192.0.2.1:7001 /mnt/tokyo")
	b.Must("pairfs mount --state /var/tmp/osaka --name osaka --listen 192.0.2.2:7001 /mnt/osaka")
	b.Must("pairfs peer add tokyo 192.0.2.1:7001 $(pairfs key --state /var/tmp/tokyo) --create=100G")
	a.Must("pairfs peer add osaka 192.0.2.2:7001 $(pairfs key --state /var/tmp/osaka)")
	a.Must("truncate -s 64M /mnt/tokyo/db; mkfs.ext4 -q /mnt/tokyo/db")
	a.Must("pairfs group create default " + create + "\npairfs pair create pair0 --volume=db --peer=osaka\npairfs pair wait pair0 PAIR")
	b.Must("pairfs pair wait pair0 PAIR")
	if options != "" {
		a.Must("pairfs group set default " + options)
		b.Must("pairfs group set default@tokyo " + options)
	}
	a.Must("mount -o loop /mnt/tokyo/db /srv/db")
	s.put(a, "first")
	return s
}

// play does the steps of a part.
func (s *stage) play(part *RunbookPart) {
	s.t.Helper()
	for _, step := range part.Steps {
		at := fmt.Sprintf("%s:%d", runbookPage, step.Line)
		switch {
		case step.Deed != "":
			do := runbookDeeds[step.Deed]
			if do == nil {
				s.t.Fatalf("%s: this test cannot do %q", at, step.Deed)
			}
			do(s)
		case step.Prints != nil:
			if line := Missing(step.Prints, s.said); line != "" {
				s.t.Fatalf("%s: the block does not print %q there, but\n%s", at, line, s.said)
			}
		default:
			s.paste(at, step.Pastes)
		}
	}
}

func (s *stage) paste(at string, pastes []Paste) {
	s.t.Helper()
	s.said = ""
	for _, p := range pastes {
		h := map[string]*runbookHost{"tokyo": s.tokyo, "osaka": s.osaka}[p.Host]
		if h == nil {
			s.t.Fatalf("%s: there is no host %q", at, p.Host)
		}
		out, err := h.Paste(p.Lines)
		s.said += out
		s.t.Logf("%s: on %s\n%s%s", at, p.Host, p.Lines, out)
		if err != nil {
			s.t.Fatalf("%s: on %s: %v", at, p.Host, err)
		}
	}
}

// put lets a host write a file of a known text through its mounted file system and sync it. The test never opens a file there itself: a process
// that another test starts at that moment would hold it for a while, and umount would find the file system busy.
func (s *stage) put(h *runbookHost, name string) {
	s.t.Helper()
	h.Must(fmt.Sprintf("awk 'BEGIN { for (i = 0; i < 4000; i++) print \"%s\" }' > /srv/db/%s; sync /srv/db/%s", s.textOf(name), name, name))
	s.files = append(s.files, name)
}

// textOf is the line of which a file is made.
func (s *stage) textOf(name string) string { return s.t.Name() + " " + name }

// want wants these of the files that were put, with their texts, and none of the others, in the file system that a host has mounted.
func (s *stage) want(h *runbookHost, names ...string) {
	s.t.Helper()
	for _, name := range s.files {
		out, err := h.Paste("sha256sum < /srv/db/" + name)
		sum := fmt.Sprintf("%x  -\n", sha256.Sum256(bytes.Repeat([]byte(s.textOf(name)+"\n"), 4000)))
		switch there := err == nil; {
		case there != slices.Contains(names, name):
			s.t.Errorf("file %s is there: %v, and should not be: %s", name, there, out)
		case there && out != sum:
			s.t.Errorf("file %s has another text than was written", name)
		}
	}
}

// drained waits until the peer of the primary has all.
func (s *stage) drained(primary *runbookHost) {
	s.t.Helper()
	primary.AwaitDrained("pair0")
}

// end wants the service with these files at the primary, and, when it is stopped, the same bytes on both sides and a clean file system.
func (s *stage) end(primary, secondary *runbookHost, group string, files ...string) {
	s.t.Helper()
	s.put(primary, "last")
	s.want(primary, append(files, "last")...)
	primary.Must("umount /srv/db\npairfs pair wait pair0 PAIR")
	if p, q := primary.Get("pair0"), secondary.Get("pair0"); p["role"] != "P-VOL" || q["role"] != "S-VOL" {
		s.t.Fatalf("%s has the %s and %s the %s", primary.Name, p["role"], secondary.Name, q["role"])
	}
	primary.Must("pairfs group suspend " + group + "\npairfs pair wait pair0 PSUS")
	secondary.Wait("pair0", StatusLimit, "SSUS")
	if err := SameFile(primary.Path("db"), secondary.Path("db")); err != nil {
		s.t.Fatalf("the volumes differ: %v", err)
	}
	Run(s.t, "e2fsck", "-f", "-n", secondary.Path("db"))
	for _, h := range []*runbookHost{primary, secondary} {
		if why := h.Get("pair0")["last-error"]; why != "-" {
			s.t.Errorf("site %s tells an error in the end: %s", h.Name, why)
		}
	}
}

// assert is what has to hold when a play has ended.
func (s *stage) assert(play string) {
	s.t.Helper()
	a, b := s.tokyo, s.osaka
	switch play {
	case "switchover":
		s.end(a, b, "default", "first", "at-osaka")
	case "disaster":
		s.end(a, b, "default", "first", "at-osaka")
	case "split_brain_osaka":
		kept, err := os.ReadFile(filepath.Join(a.Backup, "tokyo-kept.img"))
		if err != nil || !bytes.Contains(kept, []byte(s.textOf("at-tokyo")+"\n")) {
			s.t.Errorf("what tokyo wrote is not in what was kept: %v", err)
		}
		a.Must("mount -o loop /backup/tokyo.img /srv/db")
		s.want(a, "first", "at-tokyo")
		a.Must("umount /srv/db")
		s.end(b, a, "default@tokyo", "first", "at-osaka")
	case "split_brain_tokyo":
		s.end(a, b, "default", "first", "at-tokyo")
	case "link_repair":
		s.end(a, b, "default", "first", "meanwhile", "late")
	case "journal_full":
		s.end(a, b, "default", "first", "late")
	case "primary_journal":
		s.end(a, b, "default", "first", "past-the-journal", "later")
	case "primary_journal_crash":
		s.end(a, b, "default", "first", "at-osaka")
	case "primary_store_runs":
		s.end(a, b, "default@osaka", "first", "in-the-journal", "at-osaka")
	case "primary_store", "primary_state", "primary_database":
		s.end(a, b, "default@osaka", "first", "at-osaka")
	case "secondary":
		s.end(a, b, "default", "first", "in-the-journal", "between")
	case "secondary_database", "secondary_state":
		s.end(a, b, "default", "first")
	case "damaged_store":
		s.end(a, b, "default", "first", "copied")
	default:
		s.t.Fatalf("nothing is known of the end of %s", play)
	}
}
