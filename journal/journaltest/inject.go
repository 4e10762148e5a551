package journaltest

import "slices"

// OpKind names an operation of FS or of one of its files.
type OpKind string

// The operations.
const (
	OpMkdir       OpKind = "mkdir"
	OpOpen        OpKind = "open"
	OpCreate      OpKind = "create"
	OpRename      OpKind = "rename"
	OpRemove      OpKind = "remove"
	OpList        OpKind = "list"
	OpSyncDir     OpKind = "sync folder"
	OpRead        OpKind = "read"
	OpWrite       OpKind = "write"
	OpSync        OpKind = "sync"
	OpPreallocate OpKind = "preallocate"
	OpTruncate    OpKind = "truncate"
	OpSize        OpKind = "size"
	OpClose       OpKind = "close"
)

// Op is one operation, as Inject's function sees it.
type Op struct {
	Kind OpKind
	Name string
	N    int // operations before it since Inject
}

// Inject lets decide say which operations fail: one fails with the error that it gives. nil ends it. decide is called with the file
// system locked and must not use it.
func (f *FS) Inject(decide func(Op) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inject, f.count, f.injected = decide, 0, false
}

// Injected reports whether an operation was made to fail since Inject.
func (f *FS) Injected() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.injected
}

// op counts an operation and asks whether it fails. mu is held.
func (f *FS) op(kind OpKind, name string) error {
	if f.inject == nil {
		return nil
	}
	err := f.inject(Op{kind, name, f.count})
	f.count++
	if err != nil {
		f.injected = true
	}
	return err
}

// FailNth makes the n-th operation fail, from 0; with kinds only those are counted.
func FailNth(n int, kinds ...OpKind) func(Op) error {
	seen := 0
	return func(op Op) error {
		if len(kinds) > 0 && !slices.Contains(kinds, op.Kind) {
			return nil
		}
		seen++
		if seen == n+1 {
			return ErrInjected
		}
		return nil
	}
}
