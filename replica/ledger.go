package replica

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// The bounds of what a site writes down about itself, all in this place. There are two ledgers, audit and history, of two files each: 10,000
// entries and 4 MiB together, which is what a reader has to take in at most.
const (
	ledgerLines = 2500    // entries of one file
	ledgerBytes = 1 << 20 // bytes of one file
	// ledgerText bounds the command and the sentence of an entry, in bytes each: the longest command, and more than any sentence has.
	ledgerText = 4096
	// ledgerLine bounds one line of a file: both texts with every byte escaped in six.
	ledgerLine = 64 << 10
)

// The kinds of entries.
const (
	EntryCommand = "command" // somebody asked for a change by a control file: in the audit log
	EntryStatus  = "status"  // a pair came to a status: in the history
)

// Entry is one thing that was asked for or that happened. It is written as one line of JSON.
type Entry struct {
	Time   time.Time `json:"time"`
	Kind   string    `json:"kind"` // EntryCommand or EntryStatus
	Caller           // who asked
	Object string    `json:"object"`           // "pair/pair0", "group/default", "site"
	Group  string    `json:"group,omitempty"`  // group of the pair, "" if there is none
	What   string    `json:"what"`             // the command as it was written, without keys; the status word
	Result string    `json:"result,omitempty"` // of a command: "ok" or the name of its errno; of a status: the suspend type, "" if none
	Code   string    `json:"code,omitempty"`   // as in [Event]
	Text   string    `json:"text,omitempty"`   // the sentence of a refusal, or why the pair came to its status
}

// ledger is a file of entries, one a line, that only grows; a full one is kept beside the new one until that is full too. A line that a
// killed daemon left half written is passed over by readers. Its methods may be called from any goroutine.
type ledger struct {
	path string
	sync bool // each entry is on the disk when append returns

	mu    sync.Mutex
	f     *os.File // guarded by mu, nil when closed
	lines int      // guarded by mu: in f
	size  int64    // guarded by mu: of f
	torn  bool     // guarded by mu: f does not end with a whole line
}

// openLedger opens or makes the ledger of that name in a directory.
func openLedger(dir, name string, sync bool) (*ledger, error) {
	l := &ledger{path: filepath.Join(dir, name), sync: sync}
	if err := l.open(); err != nil {
		return nil, fmt.Errorf("open %s of the state directory: %w", name, err)
	}
	return l, nil
}

// open opens the file and counts what is in it. Requires mu, or that nobody else has the ledger yet.
func (l *ledger) open() error {
	f, err := openState(l.path, os.O_CREATE|os.O_RDWR|os.O_APPEND)
	if err != nil {
		return err
	}
	b, err := io.ReadAll(io.LimitReader(f, ledgerBytes+ledgerLine))
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l.f, l.size, l.lines = f, int64(len(b)), bytes.Count(b, []byte{'\n'})
	l.torn = len(b) > 0 && b[len(b)-1] != '\n'
	return nil
}

// append writes one entry.
func (l *ledger) append(e *Entry) error {
	line, err := e.line()
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return os.ErrClosed
	}
	if l.lines >= ledgerLines || l.size+int64(len(line)) > ledgerBytes {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	if l.torn {
		line = append([]byte{'\n'}, line...)
	}
	n, err := l.f.Write(line)
	l.size += int64(n)
	l.torn = n > 0 && n < len(line) || n == 0 && l.torn
	if err != nil {
		return err
	}
	l.lines++
	if l.sync {
		return l.f.Sync()
	}
	return nil
}

// rotate keeps the full file beside a new one. Requires mu.
func (l *ledger) rotate() error {
	if err := l.f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(l.path, l.path+".1"); err != nil {
		return err
	}
	full := l.f
	if err := l.open(); err != nil {
		l.f = full // it takes lines still; the next append tries again
		return errors.Join(err, os.Rename(l.path+".1", l.path))
	}
	return errors.Join(full.Close(), syncDirOf(l.path))
}

// syncDirOf makes the names in the directory of a file durable.
func syncDirOf(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// close ends the ledger. A second close does nothing.
func (l *ledger) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return nil
	}
	err := errors.Join(l.f.Sync(), l.f.Close())
	l.f = nil
	return err
}

// entries returns what both files hold, oldest first.
func (l *ledger) entries() ([]Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []Entry
	for _, path := range []string{l.path + ".1", l.path} {
		f, err := openState(path, os.O_RDONLY)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all, err = readEntries(all, f)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("read %s: %w", filepath.Base(path), err)
		}
	}
	return all, nil
}

// readEntries appends the entries of one file to all; what is no entry is left out.
func readEntries(all []Entry, r io.Reader) ([]Entry, error) {
	lines := bufio.NewScanner(io.LimitReader(r, ledgerBytes+ledgerLine))
	lines.Buffer(nil, ledgerBytes+2*ledgerLine)
	for lines.Scan() {
		var e Entry
		if json.Unmarshal(lines.Bytes(), &e) == nil && !e.Time.IsZero() && (e.Kind == EntryCommand || e.Kind == EntryStatus) {
			all = append(all, e)
		}
	}
	return all, lines.Err()
}

// line writes the entry within its bounds.
func (e *Entry) line() ([]byte, error) {
	short := *e
	short.What, short.Text = clip(e.What, ledgerText), clip(e.Text, ledgerText)
	b, err := json.Marshal(&short)
	if err != nil {
		return nil, fmt.Errorf("write an entry of %s: %w", e.Object, err)
	}
	return append(b, '\n'), nil
}

// clip cuts a text to n bytes and says so.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n-3] + "..."
}
