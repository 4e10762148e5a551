//go:build race

package journal_test

// stride: the race detector makes the exhaustive tests ten times as slow and has little to see in them, so it gets a part of their points.
var stride = 29
