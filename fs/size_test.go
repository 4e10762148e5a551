package fs

import (
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseSize(t *testing.T) {
	for _, c := range []struct {
		in      string
		want    int64
		refused string // part of the refusal, "" if the size is taken
	}{
		{"0", 0, ""},
		{"4096", 4096, ""},
		{"512K", 512 << 10, ""},
		{"512k", 512 << 10, ""},
		{"10G", 10 << 30, ""},
		{"10GiB", 10 << 30, ""},
		{"10gib", 10 << 30, ""},
		{"1.5TiB", 3 << 39, ""},
		{"0.5K", 512, ""},
		{"1.25", 0, "whole number"},
		{"0.0001K", 0, "whole number"},
		{"7EiB", 7 << 60, ""},
		{"7.999999999EiB", 0, "whole number"},
		{"8EiB", 0, "too large"},
		{"9223372036854775807", math.MaxInt64, ""},
		{"9223372036854775808", 0, "too large"},
		{"10GB", 0, "IEC units"},
		{"10Gi", 0, "unknown unit"},
		{"10B", 0, "unknown unit"},
		{"", 0, "not a size"},
		{"G", 0, "not a size"},
		{".5G", 0, "not a size"},
		{"1.G", 0, "not a size"},
		{"-1", 0, "not a size"},
		{"+1", 0, "not a size"},
		{"1 G", 0, "not a size"},
		{"1_000", 0, "not a size"},
	} {
		got, err := ParseSize(c.in)
		if c.refused == "" && (err != nil || got != c.want) {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", c.in, got, err, c.want)
		}
		if c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)) {
			t.Errorf("ParseSize(%q) = %d, %v; want a refusal with %q", c.in, got, err, c.refused)
		}
	}
}

func TestFormatSizeReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Min(0).Draw(t, "n") &^ (1<<rapid.IntRange(0, 62).Draw(t, "zeroes") - 1)
		s := FormatSize(n)
		if got, err := ParseSize(s); err != nil || got != n {
			t.Fatalf("ParseSize(FormatSize(%d) = %q) = %d, %v", n, s, got, err)
		}
	})
	for n, want := range map[int64]string{0: "0", 1: "1", 1 << 30: "1GiB", 1536 << 20: "1536MiB", 4097: "4097"} {
		if got := FormatSize(n); got != want {
			t.Errorf("FormatSize(%d) = %q, want %q", n, got, want)
		}
	}
}
