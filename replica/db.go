package replica

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"pairfs/crashpoint"
	"pairfs/journal"
)

// The site's database, STATE/site.db, is one bbolt file. Everything that must move together moves in one of its transactions:
//
//	bucket    key             value
//	site      "format"        2, little endian uint32; a larger number was written by a newer pairfs and is refused
//	          "name"          the site's name
//	          "sum"           sum of checksums of all other entries, uint64; see db_sum.go
//	          "twins"         1, while both meta pages of the file stand for the same entries
//	          "volumes"       last volume id given, uint64
//	peers     peer name       JSON peerRecord
//	volumes   volume name     JSON volumeRecord
//	groups    group name      JSON groupRecord
//	marks     group name      JSON marksRecord: written by every checkpoint
//	pairs     pair name       JSON pairRecord
//	rings     group name      JSON ringRecord, while its staging ring is in use
//	bitmaps   pair name       a bucket: page number (big endian uint32) to 4096 bytes; a page of zeroes is absent
//
// A checkpoint writes marks and bitmap pages together (I5), a status change pairs and bitmap pages together. Format 1 had no sum; it is made when
// such a database is opened.
const dbFormat = 2

// sumFormat is the first format whose entries have a sum, see db_sum.go.
const sumFormat = 2

var (
	bucketSite    = []byte("site")
	bucketPeers   = []byte("peers")
	bucketVolumes = []byte("volumes")
	bucketGroups  = []byte("groups")
	bucketMarks   = []byte("marks")
	bucketPairs   = []byte("pairs")
	bucketBitmaps = []byte("bitmaps")
)

type peerRecord struct {
	Address     string
	Fingerprint string
	Quota       int64 // bytes of S-VOLs that it may create here
}

type volumeRecord struct {
	ID       uint64
	Reserved string // peer for which the volume was set aside
	MadeBy   string // peer that made it as an S-VOL: counts against its quota
	Written  bool   // hosts here wrote to it since: the peer may not take it again unasked
}

type groupRecord struct {
	Role      Role
	Peer      string
	PeerGroup string
	Size      int64 // bytes of one journal volume
	Volumes   int
	Sizes     []int64 // of the journal volumes, once one was added or removed
	RingSize  int
	NextPair  uint32            // last pair number given in the group; numbers are never used again
	Failed    string            // the journal was given up for this reason; it is made anew at the next start
	Options   map[string]string // those that were set here, by name
	Handed    map[string]string `json:",omitempty"` // those that were set at the other side while that was the primary, see settings.go
}

// marksRecord are a group's marks as of its last checkpoint.
type marksRecord struct {
	Head         journal.Head     // space before it may be reused
	Checkpoint   journal.Position // everything before it is in the stores, flushed
	Known        journal.Position // durable in the journal at that time
	Seq          journal.Seq      // last number before Checkpoint
	LastSeq      journal.Seq      // last number given or received at that time
	PeerRestored journal.Seq      // primary: checkpointed at the peer
	PeerDurable  journal.Seq      // primary: durable at the peer
}

// pairRecord is a pair as stored.
type pairRecord struct {
	State        PairState
	Volume       string
	RemoteVolume string
	Peer         string
	Group        string
	Number       uint32 // of the volume in its group: what records carry
	Generation   uint64
	Parent       uint64 `json:",omitempty"` // the history before the roles were exchanged last, 0 if they never were
	Size         int64
	CopyNone     bool
	Starting     bool        // secondary: a resync was granted, its start record has not come yet
	SplitSeq     journal.Seq // secondary, while Starting: where it was split, for it still is an image of that moment
	StartSeq     journal.Seq // updates from this number on are replicated
	StopSeq      journal.Seq // updates up to this number are; noStop while replicating
	HeldSeq      journal.Seq // primary, suspended: what the peer has confirmed as restored of this pair, as far as was heard; see [group.countHeld]
	PairSeq      journal.Seq // number of the control record that ended the copy, 0 before
	TakenSeq     journal.Seq `json:",omitempty"` // with State.TookOver: the S-VOL had everything up to this number when it was taken over
	TakenTime    int64       `json:",omitempty"` // when the record of TakenSeq was made, 0 if that is not known
	ControlSeq   journal.Seq // secondary: the last control record that was obeyed; primary: the last number before the roles were exchanged, 0 if they never were
	PathLost     bool        `json:",omitempty"` // PSUE because the mirror was down longer than path watch time
	Missing      *missing    `json:",omitempty"` // secondary, PSUE (MCU P/S OFF): what the primary had and could not bring here, nil for nothing
	Torn         bool        `json:",omitempty"` // secondary: its store took no bytes and it was given up, see attachment.torn
	Since        time.Time
	LastError    string
	Options      map[string]string // those that were set here, by name
	Handed       map[string]string `json:",omitempty"` // those that were set at the other side while that was the primary, see settings.go
}

// noStop is the StopSeq of a pair that is being replicated.
const noStop = ^journal.Seq(0)

type database struct {
	db   *bolt.DB
	path string // db forgets it when it is closed, and an update may fail because of that
	room dbRoom

	writing sync.Mutex  // held for a transaction that writes and what settles it; taken before bbolt's own
	settled func(error) // is told of a commit that was flushed at the second try
	fatal   func(error) // ends the process, see db_settle.go
}

// openDatabase opens or makes the database. It holds the file lock that keeps a second daemon away. What is damaged is refused, and not changed;
// remark is what is to be told of one that is not refused.
func openDatabase(path, site string) (d *database, remark string, err error) {
	if fi, err := os.Lstat(path); err == nil && !fi.Mode().IsRegular() {
		return nil, "", fmt.Errorf("open %s: it is not a regular file; pairfs does not follow links in its state directory", path)
	} else if err == nil && fi.Size() > 0 {
		var meta *brokenMeta
		switch err := verify(path); {
		case errors.Is(err, errInUse):
			return nil, "", openError(path, err)
		case errors.As(err, &meta):
			remark = fmt.Sprintf("%s was damaged: %v", path, err)
		case errors.Is(err, errDamaged):
			return nil, "", refuse(KindInternal, "%s cannot be used, for %v; nothing was changed: keep a copy of %s, and go on as without a site.db (docs/runbooks.md, Lost database)", path, err, filepath.Dir(path))
		case err != nil:
			return nil, "", openError(path, err)
		}
	}
	d = &database{path: path}
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second, FreelistType: bolt.FreelistMapType, NoFreelistSync: true, OpenFile: d.room.openFile})
	if err != nil {
		return nil, "", openError(path, err)
	}
	d.db = db
	if err := d.init(site); err != nil {
		return nil, "", errors.Join(err, db.Close())
	}
	return d, remark, nil
}

// openError says why a database cannot be opened.
func openError(path string, err error) error {
	if errors.Is(err, berrors.ErrTimeout) || errors.Is(err, errInUse) {
		return fmt.Errorf("open %s: another pairfs daemon uses this state directory; stop it first (pairfs umount)", path)
	}
	return fmt.Errorf("open %s: %w", path, err)
}

func (d *database) init(site string) error {
	err := d.db.Update(func(tx *bolt.Tx) error {
		for _, b := range [][]byte{bucketSite, bucketPeers, bucketVolumes, bucketGroups, bucketMarks, bucketPairs, bucketBitmaps, bucketRings} {
			if _, err := tx.CreateBucketIfNotExists(b); err != nil {
				return fmt.Errorf("prepare %s: %w", d.path, err)
			}
		}
		if tx.Bucket(bucketSite).Get(keyFormat) == nil {
			return errors.Join(setSite(tx, keyName, []byte(site)), d.putFormat(tx))
		}
		return errors.Join(d.known(tx, site), setSite(tx, keyTwins, nil))
	})
	if err != nil {
		return err
	}
	return d.db.Update(func(*bolt.Tx) error { return nil }) // the other meta page does not say any more that both stand for the same
}

var (
	keyFormat = []byte("format")
	keyName   = []byte("name")
)

// known refuses a database of a newer program or of another site, and brings one of before this format to it.
func (d *database) known(tx *bolt.Tx, site string) error {
	b := tx.Bucket(bucketSite)
	v := b.Get(keyFormat)
	if len(v) != 4 {
		return fmt.Errorf("%s is damaged: its format number has %d bytes", d.path, len(v))
	}
	f := binary.LittleEndian.Uint32(v)
	if f > dbFormat {
		return fmt.Errorf("%s has format %d, this pairfs knows up to %d: use the newer pairfs that wrote it", d.path, f, dbFormat)
	}
	if have := string(b.Get(keyName)); site != "" && have != site {
		return fmt.Errorf("the state directory belongs to site %q, not %q: give --name=%s or another --state", have, site, have)
	}
	if f == dbFormat {
		return nil
	}
	return errors.Join(sumUp(tx), d.putFormat(tx))
}

func (d *database) putFormat(tx *bolt.Tx) error {
	return setSite(tx, keyFormat, binary.LittleEndian.AppendUint32(nil, dbFormat))
}

// setSite stores an entry of the site bucket, or takes it away for nil.
func setSite(tx *bolt.Tx, key, value []byte) error {
	return setEntry(tx, tx.Bucket(bucketSite), string(bucketSite), key, value)
}

// close makes both meta pages stand for the same entries before: when one is damaged the other one is enough. An error of that takes nothing away.
func (d *database) close() error {
	err := d.db.Update(func(tx *bolt.Tx) error { return setSite(tx, keyTwins, []byte{1}) })
	if err == nil {
		_ = d.db.Update(func(*bolt.Tx) error { return nil })
	}
	return d.db.Close()
}

// update runs fn in one transaction: it is durable when nil is returned, and has not happened when an error is.
func (d *database) update(fn func(*bolt.Tx) error) error {
	if err := d.transact(fn); err != nil {
		return fmt.Errorf("write %s: %w", d.path, err)
	}
	crashpoint.Hit(crashpoint.CommitAfter)
	d.provide()
	return nil
}

// transact is the transaction itself.
func (d *database) transact(fn func(*bolt.Tx) error) error {
	d.writing.Lock()
	defer d.writing.Unlock()
	id := 0
	err := d.db.Update(func(tx *bolt.Tx) error {
		err := fn(tx)
		if err == nil {
			id = tx.ID()
			crashpoint.Hit(crashpoint.CommitBefore)
		}
		return err
	})
	if err != nil && id != 0 {
		return d.settle(id, err)
	}
	return err
}

// next gives the next number of a counter in the site bucket, within the transaction.
func next(tx *bolt.Tx, counter string) (uint64, error) {
	b := tx.Bucket(bucketSite)
	n := uint64(1)
	if v := b.Get([]byte(counter)); len(v) == 8 {
		n = binary.LittleEndian.Uint64(v) + 1
	}
	return n, setSite(tx, []byte(counter), binary.LittleEndian.AppendUint64(nil, n))
}

func put(tx *bolt.Tx, bucket []byte, key string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s %q: %w", bucket, key, err)
	}
	return setEntry(tx, tx.Bucket(bucket), string(bucket), []byte(key), b)
}

func get[T any](tx *bolt.Tx, bucket []byte, key string) (v T, ok bool, err error) {
	b := tx.Bucket(bucket).Get([]byte(key))
	if b == nil {
		return v, false, nil
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return v, false, fmt.Errorf("%s %q is damaged: %w", bucket, key, err)
	}
	return v, true, nil
}

// load reads a whole bucket of JSON values.
func load[T any](d *database, bucket []byte) (map[string]T, error) {
	all := map[string]T{}
	err := d.db.View(func(tx *bolt.Tx) error {
		return tx.Bucket(bucket).ForEach(func(k, _ []byte) error {
			v, _, err := get[T](tx, bucket, string(k))
			all[string(k)] = v
			return err
		})
	})
	return all, err
}

// putBitmap writes the given pages of a pair's bitmap.
func putBitmap(tx *bolt.Tx, pair string, b *bitmap, pages []int) error {
	if len(pages) == 0 {
		return nil
	}
	bk, err := tx.Bucket(bucketBitmaps).CreateBucketIfNotExists([]byte(pair))
	if err != nil {
		return fmt.Errorf("bitmap of pair %s: %w", pair, err)
	}
	for _, n := range pages {
		key := binary.BigEndian.AppendUint32(nil, uint32(n))
		if err := setEntry(tx, bk, bitmapName(pair), key, b.page(n)); err != nil {
			return fmt.Errorf("bitmap of pair %s: %w", pair, err)
		}
	}
	return nil
}

// bitmapName is the name of the bucket of a pair's bitmap.
func bitmapName(pair string) string { return string(bucketBitmaps) + "/" + pair }

// loadBitmap reads what is stored of a pair's bitmap into b.
func (d *database) loadBitmap(pair string, b *bitmap) error {
	return d.db.View(func(tx *bolt.Tx) error {
		bk := tx.Bucket(bucketBitmaps).Bucket([]byte(pair))
		if bk == nil {
			return nil
		}
		return bk.ForEach(func(k, v []byte) error {
			if len(k) != 4 {
				return fmt.Errorf("bitmap of pair %s is damaged: a key has %d bytes", pair, len(k))
			}
			return b.loadPage(int(binary.BigEndian.Uint32(k)), v)
		})
	})
}

// dropPair removes a pair and its bitmap.
func dropPair(tx *bolt.Tx, name string) error {
	if err := remove(tx, bucketPairs, name); err != nil {
		return err
	}
	bits := tx.Bucket(bucketBitmaps).Bucket([]byte(name))
	if bits == nil {
		return nil
	}
	gone := uint64(0)
	err := bits.ForEach(func(k, v []byte) error { gone += entrySum(bitmapName(name), k, v); return nil })
	if err = errors.Join(err, addToSum(tx, -gone)); err != nil {
		return err
	}
	return tx.Bucket(bucketBitmaps).DeleteBucket([]byte(name))
}
