package e2e

import (
	"fmt"
	"slices"
)

// flatLeast is how many samples it takes to say that something does not grow: fewer have no quarters worth the name.
const flatLeast = 16

// Flat decides whether a figure that was sampled at equal intervals stopped growing: an error says by how much it grew. The first quarter of the
// samples is warm-up, in which caches, pools and files reach their size. Two things are looked at in the rest, and neither may show growth of
// more than slack:
//
//   - the median of the last quarter against that of the second, which finds what grew in steps, and is blind to single peaks;
//   - the median slope between any two samples, over the length of all three quarters, which finds what grew steadily, under noise of any height
//     that is the same all the time.
//
// What falls is flat. A step in the last eighth is not seen: half of the last quarter has to have it.
func Flat(samples []float64, slack float64) error {
	if len(samples) < flatLeast {
		return fmt.Errorf("%d samples are too few to say whether it grows: %d at least", len(samples), flatLeast)
	}
	quarter := len(samples) / 4
	early, late := median(samples[quarter:2*quarter]), median(samples[len(samples)-quarter:])
	if late-early > slack {
		return fmt.Errorf("it grew from %.0f to %.0f between its second and last quarter, by more than %.0f", early, late, slack)
	}
	rest := samples[quarter:]
	if grown := slope(rest) * float64(len(rest)-1); grown > slack {
		return fmt.Errorf("it grew steadily from %.0f on, by %.0f in all, by more than %.0f", early, grown, slack)
	}
	return nil
}

// median returns the value that half of the values do not exceed.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)-1)/2]
}

// slope returns the median of the slopes between any two values, per step.
func slope(values []float64) float64 {
	var all []float64
	for i, a := range values {
		for j := i + 1; j < len(values); j++ {
			all = append(all, (values[j]-a)/float64(j-i))
		}
	}
	return median(all)
}
