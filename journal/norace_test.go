//go:build !race

package journal_test

// stride is the step from one interrupted operation to the next; 1 visits all.
const stride = 1
