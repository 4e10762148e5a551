package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
)

// runner is what the harness takes for a test: it keeps the things to undo, and ends the run by a panic that main recovers.
type runner struct {
	ctx context.Context
	dir string // everything is below it

	mu     sync.Mutex
	failed bool
	undo   []func()
}

// stop is the panic that ends a run.
type stop struct{ sentence string }

// Helper does nothing: there are no lines of a test to hide.
func (*runner) Helper() {}

// Name returns the name that seeds and temporary directories carry.
func (*runner) Name() string { return "bench" }

// Logf prints a line on stderr.
func (*runner) Logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// Errorf prints a line on stderr and makes the run fail in the end.
func (r *runner) Errorf(format string, args ...any) {
	r.mu.Lock()
	r.failed = true
	r.mu.Unlock()
	r.Logf(format, args...)
}

// Fatalf ends the run.
func (r *runner) Fatalf(format string, args ...any) {
	r.mu.Lock()
	r.failed = true
	r.mu.Unlock()
	panic(stop{fmt.Sprintf(format, args...)})
}

// Failed reports whether the run has failed.
func (r *runner) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

// Cleanup keeps f for the end of the run; the last is called first.
func (r *runner) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.undo = append(r.undo, f)
}

// TempDir makes a directory below that of the run.
func (r *runner) TempDir() string {
	dir, err := os.MkdirTemp(r.dir, "")
	if err != nil {
		r.Fatalf("make a temporary directory: %v", err)
	}
	return dir
}

// clean undoes everything.
func (r *runner) clean() {
	for _, f := range slices.Backward(r.undo) {
		f()
	}
}
