//go:build race

package e2e

// raceEnabled makes the daemons race-checked where the tests are.
const raceEnabled = true
