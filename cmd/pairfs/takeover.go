package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// takeoverFlags are the options of a takeover, of a pair and of a group alike.
type takeoverFlags struct {
	Timeout time.Duration `default:"60s" help:"How long to wait for the primary and for what it still has to send, up to an hour. When it is over nothing was changed, and the exit status is 3. A primary of which nothing at all is heard counts as lost after half a second, later on a long link, and after half of this time in any case; so does one that is heard and gives no answer for 25 seconds, if this time leaves it as many."`
	jsonFlag
}

// resyncFlags are the options of a resync, of a pair and of a group alike.
type resyncFlags struct {
	Swap    bool   `help:"Behind a takeover: the side that was taken over becomes the primary, the old one its secondary. It may be given at either side."`
	Discard string `enum:",here,there" default:"" placeholder:"SIDE" help:"Where both sides wrote: here or there, the side whose writes are given up, seen from this one; the other is the primary afterwards. What is given up is kept aside there first."`
	dryRunFlag
}

// line returns the command. What is the default is not said.
func (f resyncFlags) line() string {
	line := "resync"
	if f.Swap {
		line += " mode=swap"
	}
	if f.Discard != "" {
		line += " discard=" + f.Discard
	}
	return line
}

// resync gives the command, or says what it would do.
func (f resyncFlags) resync(a *app, dir, name string) error {
	if f.DryRun {
		options := strings.TrimPrefix(f.line(), "resync")
		return differencesFlags{Summary: options == "", options: options}.print(a, dir, name)
	}
	return a.command(dir, name, f.line(), false)
}

type pairTakeoverCmd struct {
	Name string `arg:"" name:"pair" help:"Name of the pair."`
	takeoverFlags
}

// Run takes the pair over.
func (c *pairTakeoverCmd) Run(a *app) error { return c.takeover(a, "", c.Name) }

type groupTakeoverCmd struct {
	Name string `arg:"" help:"Name of the group."`
	takeoverFlags
}

// Run takes all pairs of the group over.
func (c *groupTakeoverCmd) Run(a *app) error { return c.takeover(a, "groups", c.Name) }

// takeover gives the command and prints which takeover it was.
func (f takeoverFlags) takeover(a *app, dir, name string) error {
	if f.Timeout <= 0 || f.Timeout > takeoverMax {
		return usagef("--timeout=%v is out of range: more than 0 and up to %v, as in 60s or 5m", f.Timeout, takeoverMax)
	}
	s, err := a.siteFor(dir, name)
	if err != nil {
		return err
	}
	kind, sentence, err := s.takeOver(filepath.Join(dir, name), f.Timeout)
	switch {
	case err != nil:
		return takeoverError(err)
	case f.JSON:
		return printJSON(a.stdout, takeoverAnswer{Takeover: kind, Text: sentence})
	}
	_, err = fmt.Fprintf(a.stdout, "%s: %s\n", kind, sentence)
	return err
}

// takeoverError gives its exit status to a refusal of a takeover: one whose time was over may be given again with more.
func takeoverError(err error) error {
	if errors.Is(err, unix.ETIMEDOUT) {
		return &exitError{code: exitTimeout, err: err}
	}
	return err
}

// takeoverAnswer is the answer to a takeover in JSON.
type takeoverAnswer struct {
	Takeover string `json:"takeover"` // nop-takeover, swap-takeover, SVOL-takeover, SVOL-SSUS-takeover
	Text     string `json:"text"`
}

// takeOver gives the command to a pair or group and returns the kind of takeover that it was, which begins the answer, and the sentence.
func (s site) takeOver(object string, limit time.Duration) (kind, sentence string, err error) {
	answer, err := s.ask(object, "takeover timeout="+limit.String())
	if err != nil {
		return "", "", err
	}
	defer answer.Close()
	b, err := io.ReadAll(io.LimitReader(answer, maxText))
	if err != nil {
		return "", "", fmt.Errorf("the takeover was carried out, but its answer could not be read: %w", err)
	}
	kind, sentence = splitAnswer(string(b))
	return kind, sentence, nil
}

// splitAnswer takes the answer "ok: WORD: sentence" apart.
func splitAnswer(text string) (word, sentence string) {
	text = strings.TrimPrefix(strings.TrimSpace(text), "ok:")
	word, sentence, _ = strings.Cut(text, ":")
	return strings.TrimSpace(word), strings.TrimSpace(sentence)
}
