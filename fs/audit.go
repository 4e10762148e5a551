package fs

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"pairfs/replica"
)

// hidden stands for a value that is not written down.
const hidden = "*"

// callerOf returns the process behind a request of the kernel.
func callerOf(ctx context.Context) replica.Caller {
	c, ok := fuse.FromContext(ctx)
	if !ok {
		return replica.Caller{}
	}
	return replica.Caller{Host: true, UID: c.Uid, PID: processOf(c.Pid)}
}

// processOf returns the process that a thread is of: the kernel names the thread that made the call, which waits for it now. A thread that
// cannot be looked up is its own process.
func processOf(thread uint32) uint32 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", thread))
	if err != nil {
		return thread
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "Tgid:"); ok {
			if n, err := strconv.ParseUint(strings.TrimSpace(v), 10, 32); err == nil {
				return uint32(n)
			}
		}
	}
	return thread
}

// command carries out one line that was written to the control file of an object, and leaves one line of it in the audit log, whatever
// became of it; a question, which changes nothing, is answered by a list and leaves none. request is the kernel's.
func (t *tree) command(request context.Context, o object, line []byte) (word, said string, list *listing, err error) {
	caller, group := callerOf(request), t.site.GroupOf(o.title())
	var remarks replica.Remarks
	word, q, err := o.run(replica.WithRemarks(replica.WithCaller(context.Background(), caller), &remarks), t.site, line)
	if err == nil && q != nil {
		ctx, cancel := commandContext(context.Background(), commandTime)
		defer cancel()
		list, err = t.answer(ctx, q)
	}
	if err != nil {
		t.refused(o, err)
	}
	if q != nil {
		return word, "", list, err
	}
	if group == "" {
		group = t.site.GroupOf(o.title()) // a create
	}
	e := replica.Entry{Caller: caller, Object: o.title(), Group: group, Result: resultWord(err)}
	e.What, e.Text = auditText(line, err)
	t.site.Audit(e)
	return word, remarks.String(), nil, err
}

// answer carries a question out.
func (t *tree) answer(ctx context.Context, q *question) (*listing, error) {
	if q.marker != nil {
		return t.markerWaits.answer(ctx, t.readers.waiting, q)
	}
	return t.listings.answer(ctx, q)
}

// resultWord returns "ok" or the name of the errno that the write returned.
func resultWord(err error) string {
	if err == nil {
		return "ok"
	}
	return unix.ErrnoName(errnoOf(err))
}

// auditText returns a command as it was written and the sentence that refused it, both on one line of printable text and without the
// values of keys, which belong into no log.
func auditText(line []byte, err error) (command, sentence string) {
	command = strings.TrimSpace(orDash(strings.ToValidUTF8(string(line), "?")))
	if err != nil {
		sentence = orDash(strings.ToValidUTF8(err.Error(), "?"))
	}
	for _, w := range strings.Fields(command) {
		name, value, ok := strings.Cut(w, "=")
		if !ok || value == "" || !strings.EqualFold(name, "key") {
			continue
		}
		command = strings.ReplaceAll(command, w, name+"="+hidden)
		sentence = strings.ReplaceAll(sentence, value, hidden)
	}
	return command, sentence
}

// maxHistory bounds the text of .ctl/history in bytes, the newest lines of it: half of what the command line reads of one file.
const maxHistory = 4 << 20

// formatHistory writes .ctl/history, oldest first.
func formatHistory(all []replica.Entry) string {
	var b strings.Builder
	texts := make([]string, len(all))
	first, size := len(all), 0
	for first > 0 {
		texts[first-1] = formatEntry(&all[first-1])
		if size += len(texts[first-1]); size > maxHistory {
			break
		}
		first--
	}
	for _, line := range texts[first:] {
		b.WriteString(line)
	}
	return b.String()
}

// formatEntry writes one line of .ctl/history.
func formatEntry(e *replica.Entry) string {
	uid, pid := "-", "-"
	if e.Host {
		uid, pid = strconv.FormatUint(uint64(e.UID), 10), strconv.FormatUint(uint64(e.PID), 10)
	}
	return fmt.Sprintf("%s kind=%s by=%s uid=%s pid=%s object=%s group=%s what=%s result=%s code=%s text=%s\n", orDash(stamp(e.Time)), e.Kind,
		quoted(e.Caller.String()), uid, pid, quoted(e.Object), quoted(e.Group), quoted(e.What), quoted(e.Result), quoted(e.Code), quoted(e.Text))
}
