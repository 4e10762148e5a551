package replica

import (
	"fmt"
	"sort"
	"strings"
	"time"
)

// CopyPace is how much of a link and of a P-VOL's store an initial copy or a resync may take from hosts (the reference's Copy Pace).
type CopyPace uint8

// The paces. Their shares stand in paceShares.
const (
	PaceLow CopyPace = iota
	PaceMedium
	PaceHigh
)

var paceNames = [...]string{"low", "medium", "high"}

// String returns "low", "medium" or "high".
func (p CopyPace) String() string { return paceNames[p] }

// ErrorLevel is what a failure at the secondary suspends (the reference's Error Level).
type ErrorLevel uint8

// The levels.
const (
	LevelGroup ErrorLevel = iota // all pairs of the group: it stays one prefix
	LevelLU                      // the pair of the volume that failed alone
)

var levelNames = [...]string{"group", "lu"}

// String returns "group" or "lu".
func (l ErrorLevel) String() string { return levelNames[l] }

// GroupOptions are the options of a journal group and its mirror on this side. What was set at the primary, but for UseOfCache, is handed on to the
// secondary, which works with it once it is the primary itself, unless something else was set there. Path watch time it takes over at once
// if [GroupOptions.ForwardPathWatch] says so.
type GroupOptions struct {
	InflowControl    bool          // primary: a journal over its high-water mark slows host writes, before it is full
	OverflowWatch    time.Duration // primary: data overflow watch, how long a journal may stay full with inflow control; 0–600 s
	PathWatch        time.Duration // path watch time: how long the mirror may be down before its pairs are suspended; 1 s to 60 days
	ForwardPathWatch bool          // primary: the secondary takes over this side's path watch time
	CopyPace         CopyPace      // primary: see paceShares
	LineSpeed        int64         // primary: bytes per second that the mirror sends at most; 0 for no limit
	Paths            int           // primary: connections over which the batches of the mirror go, 1–16; 0 to find by trial how many carry most
	UseOfCache       bool          // secondary: received records may wait in the ring; if not, each batch is flushed before the next is taken
}

// PairOptions are the options of one pair on this side. What was set at the primary holds at the secondary too, unless something else was set there.
type PairOptions struct {
	Priority   int        // primary: 1 is copied first, 256 last
	ErrorLevel ErrorLevel // both sides
}

// SiteOptions are the options of a whole site.
type SiteOptions struct {
	Copies int // volumes of the site that are copied at a time, 1–128
}

// option is one row of a table of options: a word, what may be said, and where it is kept.
type option[T any] struct {
	name   string
	values string // the range, for a refusal and for help
	set    func(*T, string) bool
	get    func(*T) string
}

// The tables of options, in the order of the reference's. Ranges and defaults are the reference's where it has them.
var (
	groupOptions = []option[GroupOptions]{
		{"inflow-control", "yes or no", yesNoOption(func(o *GroupOptions) *bool { return &o.InflowControl }), func(o *GroupOptions) string { return yesNo(o.InflowControl) }},
		{"overflow-watch", "0s to 600s", timeOption(0, 600*time.Second, func(o *GroupOptions) *time.Duration { return &o.OverflowWatch }), func(o *GroupOptions) string { return timeWords(o.OverflowWatch) }},
		{"path-watch", "1s to 60d, as in 30m, 12h or 1d", timeOption(time.Second, 60*24*time.Hour, func(o *GroupOptions) *time.Duration { return &o.PathWatch }), func(o *GroupOptions) string { return timeWords(o.PathWatch) }},
		{"forward-path-watch", "yes or no", yesNoOption(func(o *GroupOptions) *bool { return &o.ForwardPathWatch }), func(o *GroupOptions) string { return yesNo(o.ForwardPathWatch) }},
		{"copy-pace", "low, medium or high", wordOption(paceNames[:], func(o *GroupOptions, i int) { o.CopyPace = CopyPace(i) }), func(o *GroupOptions) string { return o.CopyPace.String() }},
		{"line-speed", "none, or a rate of bytes a second from 64K to 1T, as in 10M, or of bits, as in 100Mbit", setLineSpeed, func(o *GroupOptions) string { return rateWords(o.LineSpeed) }},
		{"paths", "auto, or 1 to 16 connections", setPaths, func(o *GroupOptions) string { return pathsWord(o.Paths) }},
		{"use-of-cache", "yes or no", yesNoOption(func(o *GroupOptions) *bool { return &o.UseOfCache }), func(o *GroupOptions) string { return yesNo(o.UseOfCache) }},
	}
	pairOptions = []option[PairOptions]{
		{"priority", "1 to 256, 1 is copied first", numberOption(1, 256, func(o *PairOptions) *int { return &o.Priority }), func(o *PairOptions) string { return fmt.Sprint(o.Priority) }},
		{"error-level", "group or lu", wordOption(levelNames[:], func(o *PairOptions, i int) { o.ErrorLevel = ErrorLevel(i) }), func(o *PairOptions) string { return o.ErrorLevel.String() }},
	}
	siteOptions = []option[SiteOptions]{
		{"copies", "1 to 128 volumes at a time", numberOption(1, 128, func(o *SiteOptions) *int { return &o.Copies }), func(o *SiteOptions) string { return fmt.Sprint(o.Copies) }},
	}
)

// defaultGroupOptions are the reference's defaults; pathWatch is the site's.
func defaultGroupOptions(pathWatch time.Duration) GroupOptions {
	return GroupOptions{OverflowWatch: 60 * time.Second, PathWatch: pathWatch, CopyPace: PaceLow, UseOfCache: true}
}

func defaultPairOptions() PairOptions { return PairOptions{Priority: 32} }

func defaultSiteOptions() SiteOptions { return SiteOptions{Copies: 64} }

// OptionNames lists the options of a scope ("group", "pair" or "site") as NAME=VALUES, for help texts.
func OptionNames(scope string) []string {
	switch scope {
	case "group":
		return rangesOf(groupOptions)
	case "pair":
		return rangesOf(pairOptions)
	case "site":
		return rangesOf(siteOptions)
	}
	return nil
}

func rangesOf[T any](table []option[T]) (all []string) {
	for _, o := range table {
		all = append(all, o.name+"="+o.values)
	}
	return all
}

// wordsOf gives every option of a value as NAME=VALUE, in the order of the table.
func wordsOf[T any](table []option[T], v T) (all []string) {
	for _, o := range table {
		all = append(all, o.name+"="+o.get(&v))
	}
	return all
}

// optionDefault is the value that takes back what was set. What holds then may be handed on by the primary, so only who knows that can tell.
const optionDefault = "default"

// withOptions returns v with the options that set names, but for those that are taken back, which are as they were. A word or value that is not in
// the table is refused with its range, and v stays.
func withOptions[T any](table []option[T], v T, object string, set map[string]string) (T, error) {
	if len(set) == 0 {
		return v, refuse(KindInvalid, "%s: no option is given: %s", object, strings.Join(rangesOf(table), "; "))
	}
	next := v
	names := make([]string, 0, len(set))
	for name := range set {
		names = append(names, name)
	}
	sort.Strings(names) // one answer for one command
	for _, name := range names {
		o := find(table, name)
		if o == nil {
			return v, refuse(KindInvalid, "%s has no option %q; it has %s", object, name, strings.Join(rangesOf(table), "; "))
		}
		if set[name] != optionDefault && !o.set(&next, set[name]) {
			return v, refuse(KindInvalid, "%s: %s=%s is out of range: %s; or %s, for what holds when nothing is set", object, name, set[name], o.values, optionDefault)
		}
	}
	return next, nil
}

func find[T any](table []option[T], name string) *option[T] {
	for i := range table {
		if table[i].name == name {
			return &table[i]
		}
	}
	return nil
}

// stored reads options as a database keeps them: by name, so that one which is not there has its default, whenever it came to be. What
// this version does not know is given back.
func stored[T any](table []option[T], v T, set map[string]string) (_ T, unknown []string) {
	for name, value := range set {
		if o := find(table, name); o == nil || !o.set(&v, value) {
			unknown = append(unknown, name+"="+value)
		}
	}
	return v, unknown
}
