package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// CtlError is a command that was refused: the errno of the write and the sentence that the next read on the same open file gave.
type CtlError struct {
	File, Line string
	Errno      syscall.Errno
	Sentence   string
}

// Error returns all of it in one line.
func (e *CtlError) Error() string {
	return fmt.Sprintf("echo %q > .ctl/%s: %v: %s", e.Line, e.File, e.Errno, e.Sentence)
}

// Unwrap returns the errno.
func (e *CtlError) Unwrap() error { return e.Errno }

// ctlPath is the path of a control file: "pair0", "groups/g", "site".
func (s *Site) ctlPath(file string) string { return filepath.Join(s.Mnt, ".ctl", file) }

// Ctl writes one command to a control file, as echo would, and reads the answer on the same open file. A refusal is a *[CtlError].
func (s *Site) Ctl(file, line string) error { return s.CtlRaw(file, []byte(line+"\n")) }

// CtlRaw is [Site.Ctl] with exactly these bytes in one write.
func (s *Site) CtlRaw(file string, line []byte) error {
	f, err := os.OpenFile(s.ctlPath(file), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return ctlError(file, line, err, "")
	}
	defer f.Close()
	_, werr := f.Write(line)
	answer := make([]byte, 8192)
	n, _ := f.Read(answer)
	text := strings.TrimSpace(string(answer[:n]))
	if werr != nil {
		return ctlError(file, line, werr, strings.TrimPrefix(text, "error: "))
	}
	if text != "ok" && !strings.HasPrefix(text, "ok: ") {
		return fmt.Errorf("echo %q > .ctl/%s succeeded, but its answer is %q", line, file, text)
	}
	return nil
}

func ctlError(file string, line []byte, err error, sentence string) error {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return err
	}
	return &CtlError{File: file, Line: strings.TrimSuffix(string(line), "\n"), Errno: errno, Sentence: sentence}
}

// Do is [Site.Ctl] for a command that must succeed.
func (s *Site) Do(file, line string) {
	s.t.Helper()
	if err := s.Ctl(file, line); err != nil {
		s.t.Fatalf("site %s: %v", s.Name, err)
	}
}

// Text returns the text of a control file.
func (s *Site) Text(file string) (string, error) {
	b, err := os.ReadFile(s.ctlPath(file))
	return string(b), err
}

// Get returns the state in a control file as a map; configuration lines have no colon and are under the key "".
func (s *Site) Get(file string) map[string]string {
	s.t.Helper()
	text, err := s.Text(file)
	if err != nil {
		s.t.Fatalf("site %s: %v", s.Name, err)
	}
	return parseState(text)
}

func parseState(text string) map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if key, value, ok := strings.Cut(line, ": "); ok && !strings.Contains(key, " ") {
			m[key] = value
		} else {
			m[""] += line + "\n"
		}
	}
	return m
}

// Int returns one number of a control file.
func (s *Site) Int(file, key string) int64 {
	s.t.Helper()
	v := s.Get(file)[key]
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		s.t.Fatalf("site %s: %s of .ctl/%s is %q, which is no whole number", s.Name, key, file, v)
	}
	return n
}

// Status returns the status word of a pair, "SMPL" if there is no such pair.
func (s *Site) Status(pair string) string {
	s.t.Helper()
	text, err := s.Text(pair)
	if errors.Is(err, os.ErrNotExist) {
		return "SMPL"
	}
	if err != nil {
		s.t.Fatalf("site %s: %v", s.Name, err)
	}
	return parseState(text)["status"]
}

// Wait waits, through the command line, until the pair has one of the statuses.
func (s *Site) Wait(pair string, limit time.Duration, statuses ...string) {
	s.t.Helper()
	args := append([]string{"pair", "wait", pair}, statuses...)
	out, code := s.CLI(append(args, "--timeout="+limit.String())...)
	if code != 0 {
		s.t.Fatalf("site %s: pair %s did not become %v within %v (exit status %d): %s", s.Name, pair, statuses, limit, code, out)
	}
}

// CLI runs the command line tool on the site's mount and returns what it printed on both streams and its exit status.
func (s *Site) CLI(args ...string) (out string, code int) {
	cmd := exec.Command(Binary(), args...)
	cmd.Env = append(os.Environ(), "PAIRFS_MOUNT="+s.Mnt)
	b, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		code = exit.ExitCode()
	case err != nil:
		return err.Error(), -1
	}
	return string(b), code
}

// Fingerprint returns the site's public key as peers pin it.
func (s *Site) Fingerprint() string {
	s.t.Helper()
	return s.Get("site")["fingerprint"]
}

// Events returns the events that the site remembers, oldest first.
func (s *Site) Events() []string {
	s.t.Helper()
	fd, err := syscall.Open(s.ctlPath("events"), syscall.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		s.t.Fatalf("site %s: open events: %v", s.Name, err)
	}
	defer syscall.Close(fd)
	var all bytes.Buffer
	buf := make([]byte, 64<<10)
	for {
		n, err := syscall.Read(fd, buf)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			break
		}
		all.Write(buf[:n])
	}
	return strings.Split(strings.TrimSpace(all.String()), "\n")
}

// HasEvent reports whether an event of the object ("pair/pair0", "peer/osaka", "site") contains the text.
func (s *Site) HasEvent(object, text string) bool {
	s.t.Helper()
	for _, e := range s.Events() {
		head, said, _ := strings.Cut(e, ": ")
		if strings.Contains(head+" ", " "+object+" ") && strings.Contains(said, text) {
			return true
		}
	}
	return false
}
