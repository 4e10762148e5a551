package fs

import "sync"

// openVolumes knows the volumes that have open handles, by inode number. It is how READ and WRITE find their volume without the node
// tree: the kernel sends them only between the open and the release of a handle.
type openVolumes struct {
	mu     sync.Mutex // held to change entries
	volume sync.Map   // uint64 → *openVolume
}

// openVolume is one entry.
type openVolume struct {
	vol     volume
	handles int // guarded by openVolumes.mu
}

// add counts one more handle of v.
func (o *openVolumes) add(v volume) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if e, ok := o.volume.Load(v.ID()); ok {
		e.(*openVolume).handles++
		return
	}
	o.volume.Store(v.ID(), &openVolume{vol: v, handles: 1})
}

// remove counts one handle less.
func (o *openVolumes) remove(v volume) {
	o.mu.Lock()
	defer o.mu.Unlock()
	e, ok := o.volume.Load(v.ID())
	if !ok {
		return
	}
	if e.(*openVolume).handles--; e.(*openVolume).handles == 0 {
		o.volume.Delete(v.ID())
	}
}

// get returns the volume with that inode number if it is open, else nil.
func (o *openVolumes) get(ino uint64) volume {
	if e, ok := o.volume.Load(ino); ok {
		return e.(*openVolume).vol
	}
	return nil
}
