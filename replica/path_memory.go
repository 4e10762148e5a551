package replica

import "sync"

// pathMemory is what the further paths of all mirrors of a site may hold beyond what a mirror without them does: batches that came before their
// turn, and what is under way. It is a part of the quarter of the memory bound that is for QUIC's windows, whose place such batches take.
type pathMemory struct {
	mu          sync.Mutex
	bound, used int64
}

// take takes the share of one more mirror: half of what is left, so that others find something too. 0 is too little to be of use.
func (m *pathMemory) take() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := min((m.bound-m.used)/2, pathMemoryMax)
	if n < pathMemoryMin {
		return 0
	}
	m.used += n
	return n
}

// give gives a share back.
func (m *pathMemory) give(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used -= n
}

// taken is what all mirrors have.
func (m *pathMemory) taken() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used
}
