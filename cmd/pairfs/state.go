package main

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

// state is the text of one control file: an optional line that is a command, then "key: value" lines in the order of the file.
type state struct {
	config string // the commands that would make the object again, one a line, "" if there are none
	keys   []string
	values map[string]string
}

// parseState reads the text. A line without ": " (or ":" at its end) is the configuration.
func parseState(text string) state {
	s := state{values: map[string]string{}}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		key, value, ok := strings.Cut(line, ": ")
		if !ok && strings.HasSuffix(line, ":") {
			key, ok = strings.TrimSuffix(line, ":"), true
		}
		switch {
		case ok && !strings.ContainsAny(key, " ="):
			s.set(key, value)
		case line != "" && s.config == "":
			s.config = line
		case line != "":
			s.config += "\n" + line
		}
	}
	return s
}

// set adds or replaces a value.
func (s *state) set(key, value string) {
	if _, ok := s.values[key]; !ok {
		s.keys = append(s.keys, key)
	}
	s.values[key] = value
}

// get returns a value as it is written, "-" if the key is not there.
func (s state) get(key string) string {
	if v, ok := s.values[key]; ok && v != "" {
		return v
	}
	return "-"
}

// has reports whether the key has a value that is not empty.
func (s state) has(key string) bool { return s.get(key) != "-" }

// number returns a value as a number, and whether it is one.
func (s state) number(key string) (float64, bool) {
	f, err := strconv.ParseFloat(s.get(key), 64)
	return f, err == nil
}

// valueKind says what a value is in JSON.
type valueKind uint8

const (
	asText   valueKind = iota
	asNumber           // written as it stands
	asFlag             // yes and no
	asList             // words
)

// object is a state with what its values are; it becomes one JSON object with the keys in the order of the control file.
type object struct {
	state
	kinds map[string]valueKind
}

// The kinds of the values that are not text, for each kind of object.
var (
	pairKinds = kinds("size generation copied-bytes copied-percent copy-left-bytes copy-rate eta-seconds lag-records lag-bytes lag-seconds"+
		" different-bytes suspend-seq taken-over-seq kept-sets kept-bytes journal-used-percent split-left-seconds host-write-rate host-byte-rate copy-byte-rate "+lagKeys+" "+groupPrefix+strings.ReplaceAll(usageKeys, " ", " "+groupPrefix), "consistent linked svol-write lag-known taken-over peer-unheard peer-connected", "options")
	groupKinds = kinds("journal-volumes capacity-bytes used-bytes used-percent ring-bytes ring-used-bytes appended durable restored"+
		" peer-durable peer-restored sent-bytes received-bytes saved-bytes base-sent-bytes waited-room unrestored-records different-bytes adding-bytes lag-records lag-bytes lag-seconds "+usageKeys, "linked over-high-water-mark lag-known", "pairs options")
	peerKinds   = kinds("quota-bytes quota-used-bytes", "connected", "")
	keptKinds   = kinds("size-bytes generation sequence split-sequence ranges range-bytes data-bytes allocated-bytes", "", "")
	volumeKinds = kinds("size-bytes allocated-bytes open", "writable", "")

	markerKinds = kinds("seq restored", "", "pairs")

	differencesKinds = kinds("p-vol-bytes s-vol-bytes both-bytes overwritten-bytes resync-bytes", "", "")
)

// kinds builds a table from the keys, separated by blanks, of the numbers, flags and lists.
func kinds(numbers, flags, lists string) map[string]valueKind {
	m := map[string]valueKind{}
	for kind, keys := range map[valueKind]string{asNumber: numbers, asFlag: flags, asList: lists} {
		for _, k := range strings.Fields(keys) {
			m[k] = kind
		}
	}
	return m
}

// MarshalJSON writes the object; the configuration line is its "config".
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	add := func(key string, value any) error {
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		k, err := json.Marshal(key)
		if err != nil {
			return err
		}
		v, err := json.Marshal(value)
		if err != nil {
			return err
		}
		b.Write(k)
		b.WriteByte(':')
		b.Write(v)
		return nil
	}
	for _, k := range o.keys {
		if err := add(k, jsonValue(o.get(k), o.kinds[k])); err != nil {
			return nil, err
		}
	}
	if o.config != "" {
		if err := add("config", o.config); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// jsonValue returns what json.Marshal turns into the value. What is not of the kind that it should be stays text.
func jsonValue(v string, kind valueKind) any {
	switch {
	case kind == asList:
		return strings.FieldsFunc(strings.TrimPrefix(v, "-"), func(r rune) bool { return r == ' ' || r == ',' })
	case v == "-":
		return nil
	case kind == asNumber && isNumber(v):
		return json.Number(v)
	case kind == asFlag && (v == "yes" || v == "no"):
		return v == "yes"
	}
	return v
}

// isNumber reports whether v as it stands is a number in JSON: that allows no blanks around it, as a whole text would.
func isNumber(v string) bool {
	return strings.Trim(v, "+-.0123456789eE") == "" && json.Valid([]byte(v))
}

// objects gives each state its kinds.
func objects(states []state, kinds map[string]valueKind) []object {
	all := make([]object, len(states))
	for i, s := range states {
		all[i] = object{state: s, kinds: kinds}
	}
	return all
}
