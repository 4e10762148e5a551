package fs

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"pairfs/replica"
)

// TestEveryCommandIsAuditedOnce writes commands of every fate through a mount: each leaves one entry, with this process as who asked.
func TestEveryCommandIsAuditedOnce(t *testing.T) {
	c := serve(t)
	c.volume("db", 0)
	me := replica.Caller{Host: true, UID: uint32(os.Geteuid()), PID: uint32(os.Getpid())}
	entry := func(object, what, result, text string) replica.Entry {
		return replica.Entry{Kind: replica.EntryCommand, Caller: me, Object: object, What: what, Result: result, Text: text}
	}
	write := func(file, line string, want unix.Errno) {
		t.Helper()
		f := c.open(c.path(".ctl/"+file), os.O_RDWR|os.O_CREATE)
		_, err := f.WriteString(line)
		if want != 0 || err != nil {
			wantErrno(t, file+": "+line, err, want)
		}
		f.Close()
	}
	write("peers/osaka", "add address=h:7 key=SHA256:abc create=1G\n", 0)
	write("peers/nara", "add address=h:7 key=SHA256:abc Key=hush key=hush", unix.EINVAL)
	write("pair0", "create  volume=db\tpeer=osaka\n", 0)
	write("pair0", "create volume=db\n", unix.EINVAL)
	write("pair0", "sus\x01pend\n", unix.EINVAL)
	write("pairs", "suspend\n", unix.EINVAL)
	c.do(order{Op: "refuse", On: true, Kind: replica.KindBusy, Text: "pair pair0 is COPY here: wait"})
	write("pair0", "suspend mode=purge\n", unix.EBUSY)
	want := []replica.Entry{
		entry("peer/osaka", "add address=h:7 key=* create=1G", "ok", ""),
		entry("peer/nara", "add address=h:7 key=* Key=* key=*", "EINVAL", `option "key" is given twice`),
		entry("pair/pair0", "create  volume=db peer=osaka", "ok", ""),
		entry("pair/pair0", "create volume=db", "EINVAL", `"create" needs the option peer=`),
		entry("pair/pair0", "sus pend", "EINVAL", "byte 3 of the command is no printable text"),
		entry("site", "suspend", "EINVAL", "this file takes no commands; it is only read"),
		entry("pair/pair0", "suspend mode=purge", "EBUSY", "pair pair0 is COPY here: wait"),
	}
	got := c.do(order{Op: "audit"}).Audit
	if d := cmp.Diff(want, got, cmpopts.IgnoreFields(replica.Entry{}, "Group")); d != "" {
		t.Errorf("audit (-want +got):\n%s", d)
	}
	if out, err := c.shell("cat .ctl/history"); err != nil || strings.Count(out, "\n") != len(want)-1 ||
		!strings.Contains(out, fmt.Sprintf(` kind=command by="uid %d pid %d" uid=%d pid=%d object=pair/pair0 group=- what="suspend mode=purge" result=EBUSY `, me.UID, me.PID, me.UID, me.PID)) {
		t.Errorf("%v\n%s", err, out)
	}
	wantErrno(t, "a command to the history", os.WriteFile(c.path(".ctl/history"), []byte("x"), 0o600), unix.EINVAL)
}

// TestEntryLine: what is text is quoted, whatever is in it, and one entry is one line.
func TestEntryLine(t *testing.T) {
	e := replica.Entry{Time: time.Unix(1e9, 0), Kind: replica.EntryStatus, Caller: replica.Caller{Peer: "osaka"}, Object: "pair/x", Group: "g", What: "PSUE", Result: "S-VOL failure", Code: "DC0x", Text: "a \"b\"\nc"}
	want := `2001-09-09T01:46:40.000Z kind=status by="peer osaka" uid=- pid=- object=pair/x group=g what=PSUE result="S-VOL failure" code=DC0x text="a \"b\" c"` + "\n"
	if got := formatEntry(&e); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	e.Text = strings.Repeat("x ", 2000)
	all := make([]replica.Entry, 2000)
	for i := range all {
		all[i] = e
	}
	if got := formatHistory(all); len(got) > maxHistory || len(got) < maxHistory-8192 || !strings.HasPrefix(got, "2001-") {
		t.Errorf("%d bytes", len(got))
	}
}
