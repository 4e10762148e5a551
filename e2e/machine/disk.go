package machine

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// SectorSize is how much a power cut never tears, in bytes.
const SectorSize = 512

// Moment is a point in the life of a [Disk]; later ones are larger.
type Moment uint64

// Disk is a disk with a volatile write cache. Its methods may be called concurrently.
type Disk struct {
	size int64
	base string   // the image that it began as; nobody writes it
	now  *os.File // what the machine reads: the base with all writes
	data *os.File // the bytes of all writes, one behind the other

	mu      sync.Mutex
	clock   Moment
	off     bool
	fill    int           // writes in the cache with which the power goes at a flush
	gone    chan struct{} // closed then; nil if it does not
	writes  []write       // in the order in which they were carried out
	flushes []flush
	end     int64 // of data
}

// write is one write, with the moments at which it came and was answered; done is 0 if it was not.
type write struct {
	begun, done Moment
	off, at     int64 // on the disk and in Disk.data
	n           int
}

// flush is one flush, with the moments at which it came and was answered.
type flush struct{ begun, done Moment }

// Loss says what became of the writes before a power cut.
type Loss struct {
	Flushed int // writes that a flush covers: they are there
	Kept    int // others that are there
	Torn    int // others of which some sectors are there
	Lost    int // others that are not there
}

// String returns it in words.
func (l Loss) String() string {
	return fmt.Sprintf("%d writes flushed; of %d others %d kept, %d torn, %d lost", l.Flushed, l.Kept+l.Torn+l.Lost, l.Kept, l.Torn, l.Lost)
}

// NewDisk makes a disk that holds the image base. Its log is kept in dir, which must be empty. base must not change while the disk is used.
func NewDisk(dir, base string) (*Disk, error) {
	now := filepath.Join(dir, "now")
	if err := copySparse(base, now); err != nil {
		return nil, err
	}
	d := &Disk{base: base}
	var err error
	if d.now, err = os.OpenFile(now, os.O_RDWR, 0); err != nil {
		return nil, err
	}
	if d.data, err = os.OpenFile(filepath.Join(dir, "log"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return nil, err
	}
	st, err := d.now.Stat()
	if err != nil {
		return nil, err
	}
	d.size = st.Size()
	return d, nil
}

// copySparse copies an image and leaves its holes holes.
func copySparse(from, to string) error {
	if out, err := exec.Command("cp", "--sparse=always", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("copy the image %s: %w: %s", from, err, out)
	}
	return nil
}

// Close lets the files of the disk go.
func (d *Disk) Close() error { return errors.Join(d.now.Close(), d.data.Close()) }

// Now returns the moment of the call: whatever was answered before is answered at it.
func (d *Disk) Now() Moment {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clock++
	return d.clock
}

// Off cuts the power: nothing is answered any more. It returns the moment.
func (d *Disk) Off() Moment {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.off = true
	d.clock++
	return d.clock
}

// OffAtFlush cuts the power while a flush is under way, the next one at which so many writes are in the cache. The channel is closed then.
func (d *Disk) OffAtFlush(writes int) <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fill, d.gone = writes, make(chan struct{})
	return d.gone
}

// Fullest returns the moment behind from at which most writes were in the cache: just before a flush was answered. It is from itself if no
// flush was.
func (d *Disk) Fullest(from Moment) Moment {
	d.mu.Lock()
	defer d.mu.Unlock()
	best, most := from, -1
	for _, f := range d.flushes {
		if n := d.cached(f.done - 1); f.done > from && n > most {
			best, most = f.done-1, n
		}
	}
	return best
}

// cached returns how many writes were in the cache at a moment.
func (d *Disk) cached(at Moment) int {
	n, covered := 0, d.covered(at)
	for _, w := range d.writes {
		if w.begun <= at && !w.before(covered) {
			n++
		}
	}
	return n
}

// covered returns the moment before which a write had to be answered to be covered by a flush, at the moment at.
func (d *Disk) covered(at Moment) Moment {
	var covered Moment
	for _, f := range d.flushes {
		if f.done <= at {
			covered = max(covered, f.begun)
		}
	}
	return covered
}

// before reports whether the write was answered before a moment.
func (w write) before(m Moment) bool { return w.done != 0 && w.done < m }

// begin notes that a request came. It reports false when there is no power.
func (d *Disk) begin() (Moment, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clock++
	return d.clock, !d.off
}

// read reads what was written last.
func (d *Disk) read(p []byte, off int64) error {
	_, err := d.now.ReadAt(p, off)
	return err
}

// write carries out a write that came at the moment begun, and returns its number for [Disk.wrote].
func (d *Disk) write(p []byte, off int64, begun Moment) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.data.WriteAt(p, d.end); err != nil {
		return 0, err
	}
	if _, err := d.now.WriteAt(p, off); err != nil {
		return 0, err
	}
	d.writes = append(d.writes, write{begun: begun, off: off, at: d.end, n: len(p)})
	d.end += int64(len(p))
	return len(d.writes) - 1, nil
}

// wrote notes that a write is answered. It reports false when there is no power for that.
func (d *Disk) wrote(i int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off {
		return false
	}
	d.clock++
	d.writes[i].done = d.clock
	return true
}

// flush notes that a flush that came at the moment begun is answered. It reports false when there is no power for that.
func (d *Disk) flush(begun Moment) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gone != nil && !d.off && d.cached(d.clock) >= d.fill {
		d.off = true
		close(d.gone)
	}
	if d.off {
		return false
	}
	d.clock++
	d.flushes = append(d.flushes, flush{begun, d.clock})
	return true
}

// Image writes to path what the disk holds after its power went at the moment: one of the many things that it may hold, as rng has it.
func (d *Disk) Image(path string, at Moment, rng *rand.Rand) (Loss, error) {
	if err := copySparse(d.base, path); err != nil {
		return Loss{}, err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return Loss{}, err
	}
	defer f.Close()
	return d.replay(f, at, rng)
}

// replay writes to a copy of the base what was written and is not lost.
func (d *Disk) replay(f io.WriterAt, at Moment, rng *rand.Rand) (l Loss, err error) {
	writes, covered := d.until(at)
	// How much of the cache had reached the medium: nothing, some, most or all of it.
	reached := []float64{0, 0.2, 0.5, 0.8, 1}[rng.IntN(5)]
	for _, w := range writes {
		p := make([]byte, w.n)
		if _, err := d.data.ReadAt(p, w.at); err != nil {
			return l, err
		}
		sector := len(p)
		switch {
		case w.before(covered):
			l.Flushed++
		case rng.Float64() < reached:
			l.Kept++
		case rng.IntN(4) == 0 && reached > 0 && w.n > SectorSize:
			l.Torn++
			sector = SectorSize
		default:
			l.Lost++
			continue
		}
		for i := 0; i < len(p); i += sector {
			if sector < len(p) && rng.IntN(2) == 0 {
				continue
			}
			if _, err := f.WriteAt(p[i:min(i+sector, len(p))], w.off+int64(i)); err != nil {
				return l, err
			}
		}
	}
	return l, nil
}

// until returns the writes that had come at the moment, and the moment before which those that a flush covers were answered.
func (d *Disk) until(at Moment) (writes []write, covered Moment) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range d.writes {
		if w.begun <= at {
			writes = append(writes, w)
		}
	}
	return writes, d.covered(at)
}
