package fs

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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

// TestMarkerWaits: a wait ends when the mount is about to, one too many is refused before the site is asked, and each gives its place back.
func TestMarkerWaits(t *testing.T) {
	s := newFakeSite()
	opts := options{"marker": fakeMarker.String(), "timeout": "1m"}
	var w markerWaits
	life, end := context.WithCancel(context.Background())
	texts := make(chan string, maxMarkerWaits)
	for range maxMarkerWaits {
		go func() {
			l, err := w.answer(context.Background(), life, markerQuestion(s, opts))
			if err != nil {
				t.Error(err)
			}
			buf := make([]byte, 4096)
			texts <- string(buf[:l.read(buf)])
		}()
	}
	for w.waiting.Load() < maxMarkerWaits {
		runtime.Gosched()
	}
	if _, err := w.answer(context.Background(), life, markerQuestion(s, opts)); replica.KindOf(err) != replica.KindBusy {
		t.Errorf("one too many: %v", err)
	}
	began := time.Now()
	end()
	for range maxMarkerWaits {
		if text := <-texts; !strings.Contains(text, "state: waiting\n") {
			t.Errorf("answered %q", text)
		}
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("waits ended after %v", took)
	}
	s.refuse = kindError(replica.KindNotFound, "there is no such marker")
	if _, err := w.answer(context.Background(), life, markerQuestion(s, opts)); !errors.Is(err, s.refuse) {
		t.Errorf("%v", err)
	}
	if n := w.waiting.Load(); n != 0 {
		t.Errorf("%d wait", n)
	}
}
