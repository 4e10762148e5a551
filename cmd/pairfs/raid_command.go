package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// give gives a command to pairs: to their group, at one sequence number, where they are all there is in it; pairs that are in the state
// already do nothing then. Which pairs the S-VOLs of may be written is chosen when a split begins, so that goes to the others alone.
func (r *raidCall) give(t *raidTarget, pairs []raidMember, line string) error {
	if t.whole && len(pairs) > 0 && (len(pairs) == len(t.members) || !strings.Contains(line, "svol-write")) {
		return r.do(t.site, filepath.Join("groups", t.group), line, false)
	}
	return r.giveEach(t, pairs, line)
}

// giveEach gives a command to each pair by itself, until one is refused.
func (r *raidCall) giveEach(t *raidTarget, pairs []raidMember, line string) error {
	for _, m := range pairs {
		if err := r.do(t.site, m.pair, line, false); err != nil {
			return err
		}
	}
	return nil
}

// do gives one command and says what the site adds to its answer.
func (r *raidCall) do(s site, object, line string, create bool) error {
	said, err := s.do(object, line, create)
	if err == nil && said != "" {
		r.say("%s", said)
	}
	return coded(err, exCMDIOE)
}

// answerOf gives a command whose answer begins with a word, and returns that and the sentence behind it.
func (r *raidCall) answerOf(s site, object, line string) (word, sentence string, err error) {
	answer, err := s.ask(object, line)
	if err != nil {
		return "", "", coded(err, exCMDIOE)
	}
	defer answer.Close()
	b, err := io.ReadAll(io.LimitReader(answer, maxText))
	if err != nil {
		return "", "", &raidError{code: exCMDIOE, err: fmt.Errorf("the command was accepted, but its answer could not be read: %w", err)}
	}
	word, sentence = splitAnswer(string(b))
	return word, sentence, nil
}

// objectsOf are the control files that a command for all members goes to: the group, or each pair.
func (t *raidTarget) objectsOf() []string {
	if t.whole {
		return []string{filepath.Join("groups", t.group)}
	}
	objects := make([]string, len(t.members))
	for i, m := range t.members {
		objects[i] = m.pair
	}
	return objects
}

// allPaired refuses a target that has a volume in no pair, or none at all.
func (t *raidTarget) allPaired() error {
	if len(t.members) == 0 {
		return raidf(exINVVOL, "group %s has no pairs: paircreate makes one", t.shown)
	}
	for _, m := range t.members {
		if m.side() == sideSMPL {
			return raidf(exINVVOL, "%s is in no pair: paircreate makes one", m.name())
		}
	}
	return nil
}

// allOn refuses a target that has a volume on another side than wanted; why says what to do instead.
func (t *raidTarget) allOn(side raidSide, code raidCode, why string) error {
	for _, m := range t.members {
		if got := m.side(); got != side && got != sideSMPL {
			return raidf(code, "%s is %s here: %s", m.name(), got, why)
		}
	}
	return nil
}
