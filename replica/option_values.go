package replica

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"pairfs/quicwire"
)

// The kinds of values that options have. A setter reports whether the value is one; it changes nothing otherwise.

func yesNoOption[T any](field func(*T) *bool) func(*T, string) bool {
	return wordOption([]string{"no", "yes"}, func(o *T, i int) { *field(o) = i == 1 })
}

func wordOption[T any](words []string, set func(*T, int)) func(*T, string) bool {
	return func(o *T, s string) bool {
		i := slices.Index(words, strings.ToLower(s))
		if i >= 0 {
			set(o, i)
		}
		return i >= 0
	}
}

func numberOption[T any](low, high int, field func(*T) *int) func(*T, string) bool {
	return func(o *T, s string) bool {
		n, err := strconv.Atoi(s)
		if err != nil || n < low || n > high {
			return false
		}
		*field(o) = n
		return true
	}
}

func timeOption[T any](low, high time.Duration, field func(*T) *time.Duration) func(*T, string) bool {
	return func(o *T, s string) bool {
		d, ok := parseTime(s)
		if !ok || d < low || d > high {
			return false
		}
		*field(o) = d
		return true
	}
}

// parseTime reads a time in seconds (plain or with s), minutes (m), hours (h) or days (d), the units of the reference.
func parseTime(s string) (time.Duration, bool) {
	unit := time.Second
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}
	if n := len(s); n > 0 {
		if u, ok := units[s[n-1]]; ok {
			unit, s = u, s[:n-1]
		}
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0, false
	}
	return time.Duration(n) * unit, n <= uint64(math.MaxInt64/int64(unit))
}

// timeWords writes a time in the largest unit that has no rest, as parseTime reads it.
func timeWords(d time.Duration) string {
	if d%time.Second != 0 {
		return d.String()
	}
	for _, u := range []struct {
		unit time.Duration
		word string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}} {
		if d >= u.unit && d%u.unit == 0 {
			return strconv.FormatInt(int64(d/u.unit), 10) + u.word
		}
	}
	return strconv.FormatInt(int64(d/time.Second), 10) + "s"
}

// lineSpeedMin lets one batch pass within a keep-alive of the connection; lineSpeedMax is no limit in practice.
const (
	lineSpeedMin = 64 << 10
	lineSpeedMax = 1 << 40
)

// rateUnits are the units of rates, the largest first, in the order in which one without a rest is looked for: bytes a second in IEC units,
// bits a second in decimal ones, as lines are sold.
var rateUnits = []struct {
	word string
	unit float64 // bytes a second
}{{"T", 1 << 40}, {"G", 1 << 30}, {"M", 1 << 20}, {"Gbit", 1e9 / 8}, {"Mbit", 1e6 / 8}, {"K", 1 << 10}, {"Kbit", 1e3 / 8}, {"", 1}}

// setLineSpeed reads a rate: a number and a unit of either case, of bytes with or without iB, each with or without /s.
func setLineSpeed(o *GroupOptions, s string) bool {
	s = strings.ToLower(s)
	if s == "none" {
		o.LineSpeed = 0
		return true
	}
	s = strings.TrimSuffix(s, "/s")
	number := strings.TrimRight(s, "kmgtib")
	word := s[len(number):]
	if w := strings.TrimSuffix(word, "ib"); len(w) == 1 {
		word = w
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || strings.Trim(number, "0123456789.") != "" {
		return false
	}
	for _, u := range rateUnits {
		if strings.ToLower(u.word) != word {
			continue
		}
		if n := f * u.unit; n >= lineSpeedMin && n <= lineSpeedMax {
			o.LineSpeed = int64(n)
			return true
		}
	}
	return false
}

func rateWords(n int64) string {
	if n == 0 {
		return "none"
	}
	for _, u := range rateUnits {
		if unit := int64(u.unit); n%unit == 0 {
			return strconv.FormatInt(n/unit, 10) + u.word
		}
	}
	return "" // the last unit is 1
}

// pathsAuto is the word for as many paths as carry most.
const pathsAuto = "auto"

func setPaths(o *GroupOptions, s string) bool {
	if strings.EqualFold(s, pathsAuto) {
		o.Paths = 0
		return true
	}
	return numberOption(1, quicwire.MaxPaths, func(o *GroupOptions) *int { return &o.Paths })(o, s)
}

func pathsWord(n int) string {
	if n == 0 {
		return pathsAuto
	}
	return strconv.Itoa(n)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
