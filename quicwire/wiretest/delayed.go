package wiretest

import (
	"container/heap"
	"time"
)

// packet is one that waits for its time.
type packet struct {
	due   time.Time
	order uint64 // of arrival, for packets due at the same time
	data  []byte
	send  func([]byte)
}

// delayed holds packets, the one due first in front.
type delayed struct {
	heap packetHeap
	next uint64
}

func (d *delayed) len() int { return len(d.heap) }

func (d *delayed) put(p packet) {
	d.next++
	p.order = d.next
	heap.Push(&d.heap, p)
}

// first gives the packet due first. There must be one.
func (d *delayed) first() packet { return d.heap[0] }

// take takes it out.
func (d *delayed) take() packet { return heap.Pop(&d.heap).(packet) }

// drop takes out all.
func (d *delayed) drop() { d.heap = nil }

// packetHeap is delayed as container/heap wants it.
type packetHeap []packet

func (h packetHeap) Len() int      { return len(h) }
func (h packetHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *packetHeap) Push(x any)   { *h = append(*h, x.(packet)) }

func (h packetHeap) Less(i, j int) bool {
	if !h[i].due.Equal(h[j].due) {
		return h[i].due.Before(h[j].due)
	}
	return h[i].order < h[j].order
}

func (h *packetHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = packet{}
	*h = old[:len(old)-1]
	return last
}
