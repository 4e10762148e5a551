package journal

import (
	"time"
)

// flush writes everything reserved so far and makes it durable: whole pages straight from the ring, the last one filled with a pad,
// so that no page is ever written twice. flushMu is held. An error is final for the journal.
func (j *Journal) flush() error {
	if err := j.Err(); err != nil {
		return err
	}
	j.mu.Lock()
	if rest := j.tail.Load() % PageSize; rest != 0 {
		j.pad(PageSize - rest)
	}
	end, seq := Position(j.tail.Load()), j.last
	j.mu.Unlock()
	start := Position(j.durable.Load())
	if start == end {
		return nil
	}
	j.waitPublished(end)
	if err := j.vols.write(start, j.ring.at(start, uint64(end-start))); err != nil {
		return j.fail(err)
	}
	j.ring.setDurable(end)
	j.front.mu.Lock()
	j.front.durable, j.front.durableSeq = end, seq
	j.front.flush.flushes++
	j.front.flush.bytes += uint64(end - start)
	j.durable.Store(uint64(end))
	j.front.mu.Unlock()
	j.ringRoom.ring()
	j.newly.ring()
	j.wakeDurable()
	return nil
}

// lead flushes on behalf of everybody. flushMu is held and is given back. Those who came meanwhile and are not covered are left to the
// committer: the caller has what it wants, and a goroutine of its own commits faster for many than the callers in turns.
func (j *Journal) lead() error {
	err := j.flush()
	j.flushMu.Unlock()
	if j.settle() {
		j.kickCommitter()
	}
	return err
}

// kickCommitter asks for a flush. It never waits; one request waiting is as good as many.
func (j *Journal) kickCommitter() {
	if len(j.kick) == 0 {
		select {
		case j.kick <- struct{}{}:
		default:
		}
	}
}

// commit is the committer goroutine: it flushes on request and when FlushDelay has passed since the first publish after the last alarm.
func (j *Journal) commit() {
	defer close(j.stopped)
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	for {
		select {
		case <-j.stop:
			timer.Stop()
			return
		case <-j.arm:
			timer.Reset(j.opts.FlushDelay)
			continue
		case <-timer.C:
			// Before the flush takes its end: a publish that it does not cover arms the timer again.
			j.armed.Store(false)
		case <-j.kick:
		}
		for more := true; more; {
			j.flushMu.Lock()
			err := j.flush()
			j.flushMu.Unlock()
			more = j.settle() && err == nil
		}
	}
}
