package replica

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// bbolt has checksums on its two meta pages alone. A bit that turns over elsewhere may change a mark, a state, or take a region out of a bitmap,
// and what follows is a difference that nobody knows of. So the database carries the sum of its entries: site "sum" is the sum, modulo 2^64, of
// a checksum of each entry but itself. A change takes the old entry out of it and brings the new one in, in the same transaction, so it
// costs nothing that grows with the database, and an entry that vanished is missed too. It is looked at when the site starts, and by Check. A database
// of entries without it is one of before format 2, and says so, or is damaged.
//
// A meta page that is damaged makes bbolt go back by one transaction without a word. Where the site ended in good order both meta pages stand for
// the same entries, and site "twins" says so: one of them is enough then. Behind a kill it is not known what the lost one stood for, and the
// database is refused. A disk writes the first 512 bytes of a page, in which all of it stands, whole or not at all.

var (
	keySum   = []byte("sum")
	keyTwins = []byte("twins")
)

var sumTable = crc64.MakeTable(crc64.ECMA)

// entrySum is the checksum of an entry: CRC-64 of the name of its bucket and the key, each behind its length, and of the value.
func entrySum(bucket string, key, value []byte) uint64 {
	b := binary.LittleEndian.AppendUint32(make([]byte, 0, 8+len(bucket)+len(key)), uint32(len(bucket)))
	b = append(b, bucket...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(key)))
	return crc64.Update(crc64.Checksum(append(b, key...), sumTable), sumTable, value)
}

// setEntry stores a value in a bucket of that name, or takes the entry away for nil, and keeps the sum.
func setEntry(tx *bolt.Tx, b *bolt.Bucket, bucket string, key, value []byte) error {
	change := uint64(0)
	if old := b.Get(key); old != nil {
		change -= entrySum(bucket, key, old)
	}
	if value == nil {
		return errors.Join(b.Delete(key), addToSum(tx, change))
	}
	if err := b.Put(key, value); err != nil {
		return err
	}
	return addToSum(tx, change+entrySum(bucket, key, value))
}

// addToSum changes the sum of the entries.
func addToSum(tx *bolt.Tx, change uint64) error {
	site, sum := tx.Bucket(bucketSite), change
	if v := site.Get(keySum); len(v) == 8 {
		sum += binary.LittleEndian.Uint64(v)
	}
	return site.Put(keySum, binary.LittleEndian.AppendUint64(nil, sum))
}

// remove takes an entry away.
func remove(tx *bolt.Tx, bucket []byte, key string) error {
	return setEntry(tx, tx.Bucket(bucket), string(bucket), []byte(key), nil)
}

// sumUp makes the sum of a database that had none: of before format 2.
func sumUp(tx *bolt.Tx) error {
	total := uint64(0)
	var add func(b *bolt.Bucket, name string) error
	add = func(b *bolt.Bucket, name string) error {
		return b.ForEach(func(k, v []byte) error {
			if v == nil {
				return add(b.Bucket(k), name+"/"+string(k))
			}
			total += entrySum(name, k, v)
			return nil
		})
	}
	if err := tx.ForEach(func(name []byte, b *bolt.Bucket) error { return add(b, string(name)) }); err != nil {
		return err
	}
	return addToSum(tx, total)
}

// errDamaged is a database that is not as it was stored.
var errDamaged = errors.New("it is damaged")

// verify reads a database and says what is wrong with it. It refuses one that a daemon uses.
func verify(path string) error {
	f, err := openState(path, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := lockShared(f); err != nil {
		return err
	}
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	return verifyPages(f, fi.Size())
}

// verifyPages is verify of the bytes of a database.
func verifyPages(f io.ReaderAt, size int64) error {
	sum, want, twins, has, entries, format := uint64(0), uint64(0), false, false, 0, uint32(0)
	broken, err := walkPages(f, size, func(bucket string, key, value []byte) {
		entries++
		if bucket == string(bucketSite) {
			switch {
			case string(key) == string(keySum) && len(value) == 8:
				want, has = binary.LittleEndian.Uint64(value), true
				return
			case string(key) == string(keyFormat) && len(value) == 4:
				format = binary.LittleEndian.Uint32(value)
			case string(key) == string(keyTwins):
				twins = true
			}
		}
		sum += entrySum(bucket, key, value)
	})
	newer := format > dbFormat // what its sum is the newer program knows
	switch {
	case errors.Is(err, unix.EIO):
		return fmt.Errorf("%w: mend the disk of the state directory", err)
	case err != nil:
		return fmt.Errorf("%w: %w", errDamaged, err)
	case !newer && !has && entries > 0 && (format == 0 || format >= sumFormat):
		return fmt.Errorf("%w: its checksum, or its format number, is not where it was stored", errDamaged)
	case !newer && has && sum != want:
		return fmt.Errorf("%w: its entries are not those that were stored: their checksums add up to %016x, and not to %016x", errDamaged, sum, want)
	case broken != nil && !twins:
		return fmt.Errorf("%w: %w, and pairfs was not stopped in good order, so what is there may be of before its last change", errDamaged, broken)
	case broken != nil:
		return &brokenMeta{broken}
	}
	return nil
}

// brokenMeta is a meta page that is damaged where the other one is enough.
type brokenMeta struct{ err error }

func (b *brokenMeta) Error() string {
	return fmt.Sprintf("%v; the other one stands for the same, so nothing is lost", b.err)
}

// errInUse is a database that another process has open.
var errInUse = errors.New("another pairfs daemon uses it")

// lockShared takes the lock that a running daemon holds alone, or gives up after a second.
func lockShared(f *os.File) error {
	for end := time.Now().Add(time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR):
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		case time.Now().After(end):
			return errInUse
		}
	}
}
