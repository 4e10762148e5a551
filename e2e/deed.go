package e2e

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// deedKind is what a host does to a volume.
type deedKind uint8

// The kinds of deeds. The first three are writes, by the file that they go through.
const (
	writeDirect   deedKind = iota // O_DIRECT
	writeSync                     // O_DIRECT and O_DSYNC
	writeBuffered                 // neither: an fsync makes it durable
	deedPunch                     // a hole is punched
	deedSync                      // fsync of the buffered file
)

// deed is one request of a host, in the form in which it goes to a writer's process.
type deed struct {
	Kind   deedKind
	Target uint8 // by its place in the workload
	Mark   Mark  // of a write; Offset and Length of a discard too
}

// files are the open files of a volume, one for each way to write.
type files [3]File

// openFiles opens a volume in each way.
func openFiles(t Target) (f files, err error) {
	for i, flag := range []int{writeDirect: unix.O_DIRECT, writeSync: unix.O_DIRECT | unix.O_DSYNC, writeBuffered: 0} {
		if f[i], err = t.open(os.O_RDWR | flag); err != nil {
			f.close()
			return f, err
		}
	}
	return f, nil
}

func (f *files) close() {
	for _, file := range f {
		if file != nil {
			file.Close()
		}
	}
}

// do makes the request; p is what a write has to say.
func (d *deed) do(f *files, p []byte) error {
	switch d.Kind {
	case deedPunch:
		return f[writeDirect].Punch(d.Mark.Offset, d.Mark.Length)
	case deedSync:
		return f[writeBuffered].Sync()
	}
	if n, err := f[d.Kind].WriteAt(p, d.Mark.Offset); err != nil {
		return fmt.Errorf("%d of %d bytes: %w", n, len(p), err)
	}
	return nil
}
