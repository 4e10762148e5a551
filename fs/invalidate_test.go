package fs

import (
	"log/slog"
	"sync"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"pgregory.net/rapid"
)

// slowKernel notes what it is told, and may be held up.
type slowKernel struct {
	hold sync.Mutex
	mu   sync.Mutex
	got  map[uint64][]byteRange
}

func (k *slowKernel) InodeNotify(node uint64, off, length int64) fuse.Status {
	k.hold.Lock()
	defer k.hold.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.got[node] = append(k.got[node], byteRange{off, off + length})
	return fuse.ENOENT
}

func (k *slowKernel) told(id uint64, want byteRange) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range k.got[id] {
		if r.from <= want.from && r.to >= want.to {
			return true
		}
	}
	return false
}

func TestEveryRestoredByteIsTold(t *testing.T) {
	kernel := &slowKernel{got: map[uint64][]byteRange{}}
	var open openVolumes
	for id := range uint64(3) {
		open.add(&fakeVolume{id: id})
	}
	n := newNotifier(kernel, slog.New(slog.DiscardHandler), &open)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { defer close(stopped); n.run(stop) }()
	rapid.Check(t, func(rt *rapid.T) {
		kernel.hold.Lock()
		kernel.mu.Lock()
		kernel.got = map[uint64][]byteRange{}
		kernel.mu.Unlock()
		all := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) [3]int64 {
			return [3]int64{rapid.Int64Range(0, 3).Draw(t, "volume"), rapid.Int64Range(0, 1e6).Draw(t, "off"), rapid.Int64Range(0, 1e6).Draw(t, "n")}
		}), 1, 20).Draw(rt, "restored")
		for _, r := range all {
			n.add(uint64(r[0]), r[1], r[2])
		}
		kernel.hold.Unlock()
		for _, r := range all {
			if r[0] < 3 && r[2] > 0 {
				until(t, "told", func() bool { return kernel.told(uint64(r[0]), byteRange{r[1], r[1] + r[2]}) })
			}
		}
		if kernel.told(3, byteRange{}) {
			rt.Fatal("told of a volume that is not open")
		}
	})
	close(stop)
	<-stopped
}

func TestOpenVolumes(t *testing.T) {
	var open openVolumes
	v := &fakeVolume{id: 20}
	open.add(v)
	open.add(v)
	open.remove(v)
	if open.get(20) != volume(v) || open.get(21) != nil {
		t.Error("not found, or found what is not open")
	}
	open.remove(v)
	open.remove(v)
	if open.get(20) != nil {
		t.Error("found after the last handle")
	}
}
