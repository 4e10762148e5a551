package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// differencesText prints for eyes.
type differencesText struct {
	w     io.Writer
	pairs int
	rows  int // ranges of this pair
}

func (t *differencesText) head(s state) error {
	if t.pairs++; t.pairs > 1 {
		fmt.Fprintln(t.w)
	}
	t.rows = 0
	there := s.get("peer-status")
	if there == "-" {
		there = "not asked"
	}
	loser := "S-VOL"
	if s.get("loses") == "p-vol" {
		loser = "P-VOL"
	}
	_, err := fmt.Fprintf(t.w, "%s: %s, %s here, %s at %s\n", s.get("pair"), s.get("role"), s.get("status"), there, s.get("peer"))
	for _, row := range []struct{ key, text string }{
		{"p-vol-bytes", "changed at the P-VOL only"}, {"s-vol-bytes", "changed at the S-VOL only"}, {"both-bytes", "changed on both sides"},
		{"resync-bytes", "a resync copies"}, {"overwritten-bytes", "of that written at the " + loser + " and overwritten"},
	} {
		if err == nil && s.has(row.key) {
			_, err = fmt.Fprintf(t.w, "  %-45s %s\n", row.text, sizeText(s.get(row.key)))
		}
	}
	if err == nil && s.has("note") {
		_, err = fmt.Fprintf(t.w, "  %s\n", s.get("note"))
	}
	return err
}

func (t *differencesText) changed(where string, offset, length int64) error {
	if t.rows++; t.rows == 1 {
		fmt.Fprintf(t.w, "  %-6s %20s %20s\n", "WHERE", "OFFSET", "LENGTH")
	}
	_, err := fmt.Fprintf(t.w, "  %-6s %20d %20d\n", where, offset, length)
	return err
}

func (t *differencesText) end() error { return nil }

// differencesJSON prints one array with an object for each pair, whose ranges are its last member.
type differencesJSON struct {
	w      io.Writer
	ranges bool
	pairs  int
	rows   int // ranges of this pair
}

func (j *differencesJSON) head(s state) error {
	b, err := json.Marshal(object{state: s, kinds: differencesKinds})
	if err != nil {
		return fmt.Errorf("make JSON: %w", err)
	}
	text := strings.TrimSuffix(string(b), "}")
	if j.ranges {
		text += `,"ranges":[`
	}
	if j.pairs++; j.pairs == 1 {
		text = "[" + text
	} else {
		text = j.close() + "," + text
	}
	j.rows = 0
	_, err = io.WriteString(j.w, text)
	return err
}

// close is what ends the object of a pair.
func (j *differencesJSON) close() string {
	if j.ranges {
		return "]}"
	}
	return "}"
}

func (j *differencesJSON) changed(where string, offset, length int64) error {
	comma := ","
	if j.rows++; j.rows == 1 {
		comma = ""
	}
	_, err := fmt.Fprintf(j.w, `%s{"where":%q,"offset":%d,"length":%d}`, comma, where, offset, length)
	return err
}

func (j *differencesJSON) end() error {
	text := "[]\n"
	if j.pairs > 0 {
		text = j.close() + "]\n"
	}
	_, err := io.WriteString(j.w, text)
	return err
}
