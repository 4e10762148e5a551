package replica

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
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

// setLineSpeed reads a rate: IEC sizes are bytes a second, Kbit, Mbit and Gbit are decimal, as lines are sold.
func setLineSpeed(o *GroupOptions, s string) bool {
	if strings.EqualFold(s, "none") {
		o.LineSpeed = 0
		return true
	}
	n, ok := parseBits(s)
	if !ok {
		size := strings.TrimSuffix(s, "/s")
		if l := len(size); l > 0 && strings.ContainsRune("KMGT", rune(size[l-1])) {
			size += "iB"
		}
		b, err := humanize.ParseBytes(size)
		if err != nil {
			return false
		}
		n = b
	}
	if n < lineSpeedMin || n > lineSpeedMax {
		return false
	}
	o.LineSpeed = int64(n)
	return true
}

// parseBits reads a rate of bits and returns bytes.
func parseBits(s string) (uint64, bool) {
	for _, u := range []struct {
		word string
		bits float64
	}{{"Kbit", 1e3}, {"Mbit", 1e6}, {"Gbit", 1e9}} {
		if rest, ok := strings.CutSuffix(s, u.word); ok {
			f, err := strconv.ParseFloat(rest, 64)
			if err != nil || !(f > 0) || f > 1e9 {
				return 0, false
			}
			return uint64(f * u.bits / 8), true
		}
	}
	return 0, false
}

func rateWords(n int64) string {
	if n == 0 {
		return "none"
	}
	for _, u := range []struct {
		unit int64
		word string
	}{{1 << 40, "T"}, {1 << 30, "G"}, {1 << 20, "M"}, {1 << 10, "K"}} {
		if n%u.unit == 0 {
			return strconv.FormatInt(n/u.unit, 10) + u.word
		}
	}
	return strconv.FormatInt(n, 10)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
