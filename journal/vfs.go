package journal

import "io"

// FS is the seam between a journal and the disk, so that tests can crash and fail it. Names are paths. The zero Options use the
// operating system. The staging ring is memory and does not go through FS.
type FS interface {
	// MkdirAll makes a folder (mode 0700) and its parents durable; one that exists is no error.
	MkdirAll(dir string) error
	// Open opens an existing file. With write it is for this process alone; a second such Open of the file is an error.
	Open(name string, write bool) (File, error)
	// Create makes a file (mode 0600) that must not exist.
	Create(name string) (File, error)
	// Rename moves a file; a file of the new name must not exist.
	Rename(from, to string) error
	// Remove deletes a file.
	Remove(name string) error
	// List gives the names in a folder, without the folder, in order. A missing folder gives an error that wraps fs.ErrNotExist.
	List(dir string) ([]string, error)
	// SyncDir makes the names in a folder durable.
	SyncDir(dir string) error
}

// File is a journal volume. Offsets, lengths and the memory given to ReadAt and WriteAt are multiples of PageSize, because real
// files are opened O_DIRECT.
type File interface {
	io.ReaderAt
	io.WriterAt
	// Sync makes written bytes durable (fdatasync). After an error nothing may be assumed of any byte written since the last Sync.
	Sync() error
	// Preallocate gives the file its size and its blocks.
	Preallocate(size int64) error
	// Truncate cuts the file; what it cut is gone for good once Sync has returned.
	Truncate(size int64) error
	// Size is the size in bytes.
	Size() (int64, error)
	// Close lets the file go; it does not make anything durable.
	Close() error
}
