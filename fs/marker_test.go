package fs

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"pairfs/replica"
)

// TestMarkerAnswer pins the text that a question for a marker is answered with, and what a mark and a split at a marker say.
func TestMarkerAnswer(t *testing.T) {
	c := serve(t)
	if out, err := c.shell("echo 'create volume=db peer=osaka' > .ctl/pair0"); err != nil {
		t.Fatal(out, err)
	}
	for _, q := range []struct{ file, line, want string }{
		{"pair0", "mark", "ok: marker p/0000000000000abc-42 stands behind everything that was acknowledged before\n"},
		{"groups/g", "mark", "ok: marker p/0000000000000abc-42 stands behind everything that was acknowledged before\n"},
		{"site", "wait marker=p/0000000000000abc-42", `ok
marker: p/0000000000000abc-42
state: waiting
group: g
role: P-VOL
peer: osaka
pairs: p,q
seq: 42
restored: 41
note: not yet
`},
		{"site", "wait marker=nonsense", "error: \"nonsense\" is no marker: it is NAME/EPOCH-NUMBER, one word, as `pairfs pair mark` prints it\n"},
	} {
		out, _ := c.shell("exec 3<>.ctl/" + q.file + "; echo '" + q.line + "' 1>&3 2>/dev/null; cat <&3")
		if d := cmp.Diff(strings.TrimSpace(q.want), out); d != "" {
			t.Errorf("%s: %s\n%s", q.file, q.line, d)
		}
	}
	b, err := os.ReadFile(c.path(".ctl/history"))
	if err != nil {
		t.Fatal(err)
	}
	if history := string(b); !strings.Contains(history, "what=mark result=ok") || strings.Contains(history, "what=\"wait marker=p") {
		t.Errorf("a mark is a command and a wait is none:\n%s", b)
	}
}

// TestMarkerWaits: a wait ends when the mount is about to, one too many is refused, each gives its place back, and a signal ends the read
// and not the wait.
func TestMarkerWaits(t *testing.T) {
	s := newFakeSite()
	opts := options{"marker": fakeMarker.String(), "timeout": "1m"}
	life, end := context.WithCancel(context.Background())
	alive := func() context.Context { return life }
	var w markerWaits
	lists := make([]*listing, maxMarkerWaits)
	for i := range lists {
		l, err := w.answer(context.Background(), alive, markerQuestion(s, opts))
		if err != nil {
			t.Fatal(err)
		}
		lists[i] = l
	}
	if _, err := w.answer(context.Background(), alive, markerQuestion(s, opts)); replica.KindOf(err) != replica.KindBusy {
		t.Errorf("one too many: %v", err)
	}
	if l, err := w.answer(context.Background(), alive, markerQuestion(s, options{"marker": fakeMarker.String()})); err != nil || l.waits() {
		t.Errorf("a question that does not wait: %v", err)
	}
	interrupted, cancel := context.WithCancel(context.Background())
	cancel()
	if err := lists[0].await(interrupted); errnoOf(err) != unix.EINTR || !lists[0].waits() {
		t.Errorf("a signal: %v", err)
	}
	texts := make(chan string, len(lists))
	for _, l := range lists {
		go func() {
			if err := l.await(context.Background()); err != nil {
				t.Error(err)
			}
			buf := make([]byte, 4096)
			texts <- string(buf[:l.read(buf)])
			l.close()
		}()
	}
	end()
	for range lists {
		if text := <-texts; !strings.Contains(text, "state: waiting\n") {
			t.Errorf("answered %q", text)
		}
	}
	s.refuse = kindError(replica.KindNotFound, "there is no such marker")
	if _, err := w.answer(context.Background(), alive, markerQuestion(s, opts)); !errors.Is(err, s.refuse) {
		t.Errorf("%v", err)
	}
	for w.waiting.Load() > 0 {
		runtime.Gosched() // the last ones are being closed
	}
}

// TestMarkerWaitHoldsNobodyUp: while a marker is waited for, other commands to the same file are carried out.
func TestMarkerWaitHoldsNobodyUp(t *testing.T) {
	c := serve(t)
	f := c.open(c.path(".ctl/site"), os.O_RDWR)
	if _, err := f.WriteString("wait marker=" + fakeMarker.String() + " timeout=3s"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	if n, err := f.Read(buf); err != nil || string(buf[:n]) != "ok\n" {
		t.Fatalf("%q, %v", buf[:n], err)
	}
	read := make(chan error, 1)
	go func() {
		_, err := f.Read(buf)
		read <- err
	}()
	for _, line := range []string{"set copies=3", "stop"} {
		if out, err := c.shell("echo " + line + " > .ctl/site"); err != nil {
			t.Fatal(out, err)
		}
	}
	if err := <-read; err != nil || !strings.HasPrefix(string(buf), "marker: ") {
		t.Errorf("the wait ended with %q, %v", buf, err)
	}
}
