package journal

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Options say where a journal is and how it behaves.
type Options struct {
	// FS is the disk; nil means OS.
	FS FS
	// Dir is the folder of the journal volumes.
	Dir string
	// RingPath is the file of the staging ring, on tmpfs. "" means memory that dies with the process: then what was not synced is lost with it.
	RingPath string
	// RingSize is the size of the staging ring in bytes, a power of two from MinRingSize to MaxRingSize; 0 means DefaultRingSize.
	RingSize int
	// FlushDelay bounds how long a published record stays unflushed when nobody syncs; 0 means DefaultFlushDelay.
	FlushDelay time.Duration
	// Received says that numbered records come from a peer, which keeps each until it hears that it is durable. Recovery then ends at
	// the first one that the ring holds reserved and not published: the peer sends it again, where a skip would take its place for good.
	// What hosts of this side wrote behind it (FlagLocal) stays, behind the last number that is there.
	Received bool
	// RingNeeded says that a process of this run of the machine was killed with the ring at RingPath, which holds what was acknowledged:
	// without it Open gives ErrRing and changes nothing.
	RingNeeded bool
	// Completed, if set, is called by Open when everything that a ring held is durable and before the ring is emptied. Its error ends Open.
	Completed func() error
	// AddShare is the part of the time for which AddVolume keeps the disk busy, more than 0 and at most 1; 0 means 1.
	AddShare float64
	// Logger gets what an operator should know about recovery and failure; nil means none.
	Logger *slog.Logger
}

func (o *Options) fsys() FS {
	if o.FS == nil {
		return OS
	}
	return o.FS
}

// complete fills in the defaults and checks the bounds.
func (o *Options) complete() error {
	o.FS = o.fsys()
	if o.RingSize == 0 {
		o.RingSize = DefaultRingSize
	}
	if o.FlushDelay <= 0 {
		o.FlushDelay = DefaultFlushDelay
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.AddShare == 0 {
		o.AddShare = 1
	}
	if !(o.AddShare > 0 && o.AddShare <= 1) {
		return fmt.Errorf("%w: an added journal volume may take %v of the disk's time; more than 0 and at most 1 is needed", ErrInvalid, o.AddShare)
	}
	if n := o.RingSize; n < MinRingSize || n > MaxRingSize || n&(n-1) != 0 {
		return fmt.Errorf("%w: staging ring of %d bytes; a power of two from %d to %d is needed", ErrInvalid, n, MinRingSize, MaxRingSize)
	}
	return nil
}

// Journal is an open journal. All methods may be called from any goroutine at any time, except where their comment says otherwise.
// Lock order: layoutMu, life, flushMu, mu, front.mu, index.mu; waitMu and the bells come last and are held alone.
type Journal struct {
	opts Options
	log  *slog.Logger
	vols *volumes
	ring *ring

	// life is held for reading while ring memory or files are used on behalf of readers; Close takes it to end them.
	life      sync.RWMutex
	closed    bool // guarded by life
	ringStays bool // guarded by life: see KeepRing

	// mu is the reserve lock: it gives positions and sequence numbers.
	mu      sync.Mutex
	last    Seq      // number of the last reserved record
	volEnd  Position // end of the volume span in which tail lies, or tail itself at a boundary
	claimed Position // ring memory below is declared overwritten, see floor; multiple of PageSize, >= tail
	limit   Position // end of the room in the journal volumes; multiple of PageSize, >= tail
	bound   Position // limit, or the nearest alarm before it
	alarms  []Alarm  // by position
	barrier Position // nothing is reserved beyond while a layout that begins there is made durable; else MaxPosition
	ending  bool     // Close has begun

	tail    atomic.Uint64 // end of the last reserved record; stored under mu after its header is in the ring
	floor   atomic.Uint64 // the ring still holds every position from here to tail; <= durable
	durable atomic.Uint64 // records before it are on disk; multiple of PageSize; stored under flushMu and front.mu

	released atomic.Uint64
	freed    atomic.Uint64
	freedSeq atomic.Uint64 // number of the last record before freed; stored after freed

	unreadable atomic.Pointer[string] // why it could not be read when that was logged last

	front front // how far everything reserved is published too
	index index

	flushMu   diskLock      // held during a flush
	pubWanted atomic.Bool   // a flush waits for a Publish
	published chan struct{} // rung by Publish when wanted

	armed   atomic.Bool // the committer's timer runs or is about to
	arm     chan struct{}
	kick    chan struct{}
	stop    chan struct{} // closed by Close
	stopped chan struct{} // closed when the committer has ended

	gone     []*volume      // in no layout any more, files still to be removed; guarded by mu
	layoutMu diskLock       // held while the layout changes
	changing sync.WaitGroup // calls that change it; added to under mu unless ending
	tidy     chan struct{}  // asks the keeper goroutine to look for journal volumes that nothing needs
	kept     chan struct{}  // closed when it has ended
	left     bell           // a journal volume has gone

	waitMu  sync.Mutex
	waiters []*waiter // of Sync

	waiterPool sync.Pool // of *waiter

	roomQueue chan struct{} // token: one Reserve at a time waits for ring room, the others behind it, so that a large record is not starved
	roomWants atomic.Int32  // Reserves that wait or queue
	ringRoom  bell          // durable or released moved
	diskRoom  bell          // freed moved
	newly     bell          // durable moved
	waker     atomic.Pointer[wakeCall]

	failure atomic.Pointer[error] // set once, wraps ErrFailed
}

// flushStats count what flushes did.
type flushStats struct{ flushes, bytes uint64 }

// Marks are a journal's marks at one moment: Freed <= Durable <= Appended <= Reserved, and Released <= Appended.
type Marks struct {
	Reserved    Position // end of the last reserved record
	Appended    Position // everything before it is published
	Durable     Position // everything before it is on disk
	Released    Position // ring memory before it may be reused once durable
	Freed       Position // space of the journal volumes before it may be reused
	LastSeq     Seq      // of the last reserved record
	AppendedSeq Seq      // of the last record before Appended
	DurableSeq  Seq      // of the last record before Durable
}

// Marks gives the marks. It takes short locks only and never waits for the disk.
func (j *Journal) Marks() Marks {
	m := Marks{Freed: Position(j.freed.Load()), Released: Position(j.released.Load())}
	m.Durable, m.DurableSeq = j.front.durableMark()
	m.Appended, m.AppendedSeq = j.advance()
	j.mu.Lock()
	m.Reserved, m.LastSeq = Position(j.tail.Load()), j.last
	j.mu.Unlock()
	return m
}

// Usage is how full a journal is, in bytes.
type Usage struct {
	Used, Capacity     int64 // of the data areas of the journal volumes: from the freed mark to the tail, and to where ErrFull begins
	RingUsed, RingSize int64
	Flushes, Flushed   uint64 // number of flushes since Open, and the bytes they wrote
}

// Usage gives how full the journal is. While journal volumes join or leave, the capacity is what fits from the freed mark on just now.
func (j *Journal) Usage() Usage {
	f := j.front.stats()
	// The lock holds the tail still, so that no mark read after it seems too far behind.
	j.mu.Lock()
	low, freed, tail, limit := j.ringLow(), Position(j.freed.Load()), Position(j.tail.Load()), j.limit
	j.mu.Unlock()
	return Usage{Used: int64(tail - freed), Capacity: int64(limit - pageFloor(freed)), RingUsed: int64(tail - low), RingSize: int64(j.ring.size), Flushes: f.flushes, Flushed: f.bytes}
}

// ID is the random id given by Create.
func (j *Journal) ID() [16]byte { return j.vols.id }

// Err is nil while the journal works; otherwise the error that wraps ErrFailed and names the cause. It stays until the journal is opened again.
func (j *Journal) Err() error {
	if p := j.failure.Load(); p != nil {
		return *p
	}
	return nil
}

// fail makes the journal failed for good and wakes everybody. The first cause stands.
func (j *Journal) fail(cause error) error {
	err := fmt.Errorf("%w: %s: what was not durable before may be lost on disk, and the flush is not repeated: %w", ErrFailed, j.opts.Dir, cause)
	if j.failure.CompareAndSwap(nil, &err) {
		j.log.Error("journal has failed", "journal", j.opts.Dir, "cause", cause)
	}
	j.ringRoom.ring()
	j.diskRoom.ring()
	j.newly.ring()
	j.left.ring()
	return j.Err()
}

// usable holds the journal open for a reader; on nil the caller unlocks life.
func (j *Journal) usable() error {
	j.life.RLock()
	if j.closed {
		j.life.RUnlock()
		return ErrClosed
	}
	return nil
}

// KeepRing lets Close leave the staging ring even when nothing is left in it: for who remembers, as [Options].RingNeeded, that there is one, and could
// not note that it is empty.
func (j *Journal) KeepRing() {
	j.life.Lock()
	defer j.life.Unlock()
	j.ringStays = true
}

// Close flushes everything, ends all who wait, and lets memory and files go. Every reservation must be published before or during the
// call; ring memory given out by Reserve and Bytes must not be touched after it. The file of the ring is removed if everything in it is
// durable, and stays otherwise, for the next Open. The error is that of the last flush. A second Close gives ErrClosed.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.ending {
		j.mu.Unlock()
		return ErrClosed
	}
	j.ending = true
	j.mu.Unlock()
	j.ringRoom.ring()
	j.diskRoom.ring()
	close(j.stop)
	<-j.stopped
	<-j.kept
	j.changing.Wait()

	j.flushMu.Lock()
	flushErr := j.flush()
	j.waitPublished(Position(j.tail.Load()))
	j.flushMu.Unlock()
	j.settle()

	j.life.Lock()
	j.closed = true
	j.front.close()
	done := j.durable.Load() == j.tail.Load()
	errs := []error{flushErr, j.ring.close(done && !j.ringStays), j.vols.close()}
	j.life.Unlock()
	j.newly.ring()
	j.left.ring()
	return errors.Join(errs...)
}
