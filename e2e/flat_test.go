package e2e

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// TestFlat holds the judge of a long run against series whose growth is known.
func TestFlat(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(Seed(t), 0))
	noise := func(height float64) float64 { return height * rng.Float64() }
	const n = 360 // an hour, a sample every ten seconds
	rows := []struct {
		name string
		at   func(i int) float64
		want string // part of the error, "" for flat
	}{
		{"constant", func(int) float64 { return 100 }, ""},
		{"noise", func(int) float64 { return 100 + noise(30) }, ""},
		{"a saw, as of a garbage collector", func(i int) float64 { return 100 + float64(i%17)*5 }, ""},
		{"a ramp in the first quarter", func(i int) float64 { return float64(min(i, n/4)) * 10 }, ""},
		{"falling", func(i int) float64 { return 1000 - float64(i) }, ""},
		{"a peak in the last quarter", func(i int) float64 { return map[bool]float64{false: 100, true: 5000}[i >= n*15/16] }, ""},
		{"growth within the slack", func(i int) float64 { return 100 + 9*float64(i)/n }, ""},
		{"steady growth", func(i int) float64 { return 100 + 30*float64(i)/n }, "between its second and last quarter"},
		{"slow growth that only all of it shows", func(i int) float64 { return 100 + 16*float64(i)/n }, "steadily"},
		{"growth under twice its noise", func(i int) float64 { return 100 + 40*float64(i)/n + noise(80) }, "it grew"},
		{"growth under a saw", func(i int) float64 { return 100 + 40*float64(i)/n + float64(i%17)*5 }, "it grew"},
		{"a step in the third quarter", func(i int) float64 { return 100 + 20*float64(i*8/n/5) }, "between its second and last quarter"},
		{"stairs", func(i int) float64 { return 100 + 10*float64(i*4/n) }, "between its second and last quarter"},
		{"growth after a fall", func(i int) float64 { return max(300-10*float64(i), 50+40*float64(i)/n) }, "it grew"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			samples := make([]float64, n)
			for i := range samples {
				samples[i] = row.at(i)
			}
			switch err := Flat(samples, 10); {
			case err == nil && row.want != "":
				t.Error("it counts as flat")
			case err != nil && (row.want == "" || !strings.Contains(err.Error(), row.want)):
				t.Errorf("%v", err)
			}
		})
	}
	if err := Flat(make([]float64, flatLeast-1), 10); err == nil || !strings.Contains(err.Error(), "too few") {
		t.Errorf("of too few samples: %v", err)
	}
}
