package fs

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// sizeUnits are the letters of the IEC units, each 1024 times the one before: KiB, MiB … EiB.
const sizeUnits = "KMGTPE"

// ParseSize reads a size in bytes: a whole or decimal number with an optional IEC unit, as in "4096", "512K", "10G", "10GiB", "1.5TiB".
// A bare letter means the IEC unit, as truncate(1) reads it; letters may be of either case. Decimal units ("10GB") are refused, for
// whoever writes them may mean either. The result is within [0, 2^63), and a fraction must come to whole bytes.
func ParseSize(s string) (int64, error) {
	digits := strings.TrimRight(s, "kKmMgGtTpPeEiIbB")
	unit := s[len(digits):]
	whole, frac, hasFrac := strings.Cut(digits, ".")
	if !allDigits(whole) || hasFrac && (!allDigits(frac) || len(frac) > 9) {
		return 0, fmt.Errorf("%q is not a size; write a number of bytes or one with an IEC unit, as in 10GiB", s)
	}
	mult, err := unitFactor(s, unit)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || n > math.MaxInt64/mult {
		return 0, fmt.Errorf("size %q is too large; the largest is below 8EiB", s)
	}
	n *= mult
	if !hasFrac {
		return n, nil
	}
	rest, ok := fraction(frac, mult)
	if !ok {
		return 0, fmt.Errorf("size %q is no whole number of bytes", s)
	}
	if n > math.MaxInt64-rest {
		return 0, fmt.Errorf("size %q is too large; the largest is below 8EiB", s)
	}
	return n + rest, nil
}

// FormatSize writes n bytes exactly, in the largest IEC unit of which n is a multiple: "10GiB", "1536MiB", "4097". [ParseSize] reads it
// back to n for every n >= 0. It is the form of configuration lines; for a rounded figure use a humanizer.
func FormatSize(n int64) string {
	i := -1
	for n != 0 && n%1024 == 0 && i+1 < len(sizeUnits) {
		n /= 1024
		i++
	}
	if i < 0 {
		return strconv.FormatInt(n, 10)
	}
	return strconv.FormatInt(n, 10) + sizeUnits[i:i+1] + "iB"
}

// unitFactor returns the bytes of one unit of the size s.
func unitFactor(s, unit string) (int64, error) {
	if unit == "" {
		return 1, nil
	}
	i := strings.IndexByte(sizeUnits, unit[0]&^0x20)
	switch rest := unit[1:]; {
	case i >= 0 && (rest == "" || strings.EqualFold(rest, "ib")):
		return 1 << (10 * (i + 1)), nil
	case i >= 0 && strings.EqualFold(rest, "b"):
		return 0, fmt.Errorf("size %q has a decimal unit; write it in IEC units, as in 10GiB or 10G (both are 10 x 1024^3 bytes)", s)
	}
	return 0, fmt.Errorf("size %q has an unknown unit %q; known are K, M, G, T, P and E, with or without iB", s, unit)
}

// allDigits reports whether s is one or more decimal digits.
func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// fraction returns 0.frac × mult for at most nine digits, if that is a whole number.
func fraction(frac string, mult int64) (n int64, ok bool) {
	num, err := strconv.ParseInt(frac, 10, 64)
	if err != nil {
		return 0, false
	}
	den := int64(1)
	for range len(frac) {
		den *= 10
	}
	// num < den <= 10^9 and mult <= 2^60: divide the common factor out first, so that nothing overflows.
	for den > 1 && mult > 1 && den%2 == 0 && mult%2 == 0 {
		den, mult = den/2, mult/2
	}
	if num%den != 0 {
		return 0, false
	}
	return num / den * mult, true
}
