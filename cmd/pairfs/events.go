package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// eventsCmd shows events.
type eventsCmd struct {
	Follow bool `default:"true" negatable:"" help:"Go on with what happens; without it only the recent events are shown."`
	jsonFlag
}

// Run prints the recent events and then, following, each one as it happens, until interrupted or until the site stops.
func (c *eventsCmd) Run(a *app) error {
	s, err := a.site()
	if err != nil {
		return err
	}
	r, err := s.openEvents(c.Follow)
	if err != nil {
		return err
	}
	lines := make(chan string)
	done := make(chan error, 1)
	go func() { done <- r.each(func(line string) { lines <- line }) }()
	for {
		select {
		case line := <-lines:
			if err := c.print(a.stdout, line); err != nil {
				return err
			}
		case err := <-done:
			return err
		case <-a.ctx.Done():
			return nil
		}
	}
}

// event is one line of .ctl/events: "ID TIME LEVEL OBJECT: TEXT", with a code behind the object where there is one.
type event struct {
	ID     json.Number `json:"id"`
	Time   string      `json:"time"`
	Level  string      `json:"level"`
	Object string      `json:"object"` // pair/NAME, group/NAME, peer/NAME, volume/NAME or site
	Code   *string     `json:"code"`   // as storage arrays have it: 2180, DC0x; null for what has none
	Text   string      `json:"text"`
}

// parseEvent reads one line.
func parseEvent(line string) (event, error) {
	head, text, ok := strings.Cut(line, ": ")
	f := strings.Fields(head)
	if !ok || len(f) < 4 || len(f) > 5 || !isNumber(f[0]) {
		return event{}, fmt.Errorf("the site wrote an event that is none: %q", line)
	}
	e := event{ID: json.Number(f[0]), Time: f[1], Level: f[2], Object: f[3], Text: text}
	if len(f) == 5 {
		e.Code = &f[4]
	}
	return e, nil
}

// print prints one event as it is or as one JSON object.
func (c *eventsCmd) print(w io.Writer, line string) error {
	if !c.JSON {
		_, err := fmt.Fprintln(w, line)
		return err
	}
	e, err := parseEvent(line)
	if err != nil {
		return err
	}
	return printJSON(w, e)
}

// eventReader reads .ctl/events. A blocked read ends with the process, or when the site answers the interrupt.
type eventReader struct {
	fd int
}

// openEvents opens the events; without follow, reading ends where it would block.
func (s site) openEvents(follow bool) (*eventReader, error) {
	flags := unix.O_RDONLY | unix.O_CLOEXEC
	if !follow {
		flags |= unix.O_NONBLOCK
	}
	fd, err := unix.Open(s.path("events"), flags, 0)
	if err != nil {
		return nil, s.openError("events", err)
	}
	return &eventReader{fd: fd}, nil
}

// Read returns what there is, or blocks for the next event.
func (r *eventReader) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(r.fd, p)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return 0, io.EOF
		case err != nil:
			return 0, os.NewSyscallError("read events", err)
		case n == 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

// each calls f for every event until there are no more, then closes the file. A site that stops ends them without an error.
func (r *eventReader) each(f func(line string)) error {
	defer unix.Close(r.fd)
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxText)
	for lines.Scan() {
		if lines.Text() != "" {
			f(lines.Text())
		}
	}
	err := lines.Err()
	if errors.Is(err, unix.ENOTCONN) || errors.Is(err, unix.ECONNABORTED) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// news gives a word whenever something happened, and is closed when the site goes away. The words are not counted.
func (s site) news() (<-chan struct{}, error) {
	r, err := s.openEvents(true)
	if err != nil {
		return nil, err
	}
	c := make(chan struct{}, 1)
	go func() {
		defer close(c)
		_ = r.each(func(string) {
			select {
			case c <- struct{}{}:
			default:
			}
		})
	}()
	return c, nil
}
