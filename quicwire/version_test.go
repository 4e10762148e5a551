package quicwire

import (
	"errors"
	"testing"
	"time"
)

func TestNegotiate(t *testing.T) {
	hello := func(oldest, newest uint16, f Features, frame uint32) Hello {
		return Hello{MinVersion: oldest, MaxVersion: newest, Features: f, MaxFrame: frame}
	}
	plain := hello(1, 1, FeatureS2, MaxFrame)
	for _, c := range []struct {
		why  string
		a, b Hello
		want Agreement // zero: they do not go together
	}{
		{"equal", plain, plain, Agreement{1, FeatureS2, MaxFrame}},
		{"the newest common version wins", hello(1, 4, 0, MaxFrame), hello(2, 3, 0, MaxFrame), Agreement{3, 0, MaxFrame}},
		{"one version in common", hello(1, 2, 0, MaxFrame), hello(2, 5, 0, MaxFrame), Agreement{2, 0, MaxFrame}},
		{"too old", hello(1, 1, 0, MaxFrame), hello(2, 3, 0, MaxFrame), Agreement{}},
		{"only features of both", hello(1, 1, FeatureS2|FeatureZstd, MaxFrame), hello(1, 1, FeatureZstd|1<<40, MaxFrame), Agreement{1, FeatureZstd, MaxFrame}},
		{"unknown features of both change nothing else", hello(1, 1, 1<<63, MaxFrame), hello(1, 1, 1<<63, MaxFrame), Agreement{1, 1 << 63, MaxFrame}},
		{"the smaller frame", plain, hello(1, 1, 0, MaxControlFrame), Agreement{1, 0, MaxControlFrame}},
		{"a frame larger than ours is not needed", hello(1, 1, 0, 1<<31), hello(1, 1, 0, 1<<30), Agreement{1, 0, MaxFrame}},
		{"a frame that cannot hold the pairs of a group", plain, hello(1, 1, 0, MaxControlFrame-1), Agreement{}},
		{"an empty range", plain, hello(2, 1, 0, MaxFrame), Agreement{}},
		{"version 0", plain, hello(0, 1, 0, MaxFrame), Agreement{}},
	} {
		for _, swap := range []bool{false, true} {
			if swap {
				c.a, c.b = c.b, c.a
			}
			got, err := negotiate(c.a, c.b)
			if got != c.want {
				t.Errorf("%s: %+v, want %+v", c.why, got, c.want)
			}
			if wrong := c.want == (Agreement{}); wrong != errors.Is(err, &ProtocolError{Code: CloseVersion}) {
				t.Errorf("%s: error %v", c.why, err)
			}
		}
	}
}

func TestNextDelay(t *testing.T) {
	for _, c := range []struct {
		failures int
		chance   float64
		want     time.Duration
	}{
		{1, 0, minDelay},
		{1, 0.99, minDelay},
		{2, 0, 500 * time.Millisecond},
		{2, 0.8, 400 * time.Millisecond},
		{3, 0, time.Second},
		{5, 0, 4 * time.Second},
		{6, 0, maxDelay},
		{6, 0.4, 4500 * time.Millisecond},
		{1 << 30, 0, maxDelay},
	} {
		if got := nextDelay(c.failures, c.chance, maxDelay); got != c.want {
			t.Errorf("after %d failures with chance %v: %v, want %v", c.failures, c.chance, got, c.want)
		}
	}
	for failures := range 100 {
		for chance := 0.0; chance < 1; chance += 0.1 {
			if d := nextDelay(failures, chance, maxDelay); d < minDelay || d > maxDelay {
				t.Fatalf("after %d failures with chance %v: %v", failures, chance, d)
			}
		}
	}
}
