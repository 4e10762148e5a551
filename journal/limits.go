package journal

import "time"

// Sizes that are part of the format; never change, only add.
const (
	// HeaderSize is the size of a record header in bytes, and the unit in which records are placed.
	HeaderSize = 64
	// PageSize is the unit of writes to journal volumes: what a flush wrote is never written again, whatever the device's sectors are.
	PageSize = 4096
	// MaxPayload is the largest payload of one record in bytes: one request of the kernel (MaxWrite 1 MiB) is one record.
	MaxPayload = 1 << 20
	// MaxRecord is the largest record in bytes, header included.
	MaxRecord = HeaderSize + MaxPayload
)

// Bounds of this implementation, each with its reason.
const (
	// MinRingSize leaves room for the largest record, the pad before it at the end of a journal volume, and as much again in flight.
	MinRingSize = 4 << 20
	// MaxRingSize is a site's whole memory bound.
	MaxRingSize = 256 << 20
	// DefaultRingSize absorbs about 30 ms of writes at the speed of a fast disk.
	DefaultRingSize = 64 << 20
	// MinVolumeSize holds the largest record and the pads around it with room to spare, so that a journal that is freed always goes on.
	MinVolumeSize = 4 << 20
	// MaxVolumes bounds the journal volumes of one journal, those that are leaving included; a page of the layout file lists them all.
	MaxVolumes = 64
	// DefaultFlushDelay bounds the time for which a write that nobody syncs stays in memory alone.
	DefaultFlushDelay = 5 * time.Millisecond
	// maxVolumeSize and maxTotal keep sums of sizes far from overflow.
	maxVolumeSize = 1 << 60
	maxTotal      = 1 << 62
	// MaxPosition keeps sums of positions and sizes far from overflow (58 years at 5 GB/s).
	MaxPosition Position = 1 << 63

	// maxUnflushed bounds the bytes between the durable mark and the tail. It is also what recovery looks at behind a tail: no record of
	// an interrupted flush can lie further ahead, whatever the size of the ring was. Not part of a volume's bytes, yet a smaller value
	// must never be read with data written under a larger one: only ever raise it.
	maxUnflushed = 32 << 20
	// maxLookahead is how far recovery looks for proof that a tail is damage and not a torn write: one record behind maxUnflushed.
	maxLookahead = maxUnflushed + 2*MaxRecord
	// flushThreshold is the amount of unflushed bytes that starts a flush without anybody asking: the piece size at which the disks
	// measured reach their full speed.
	flushThreshold = 1 << 20
	// windowSize is the piece in which disks are read: the largest record at any offset in its page, with some more behind it.
	windowSize = 2 << 20
	// aheadSize is the piece in which a start reads ahead, enough for a disk to work on several requests at a time; aheadBuffers pieces are in memory:
	// one that is looked at and one that is read.
	aheadSize    = 4 << 20
	aheadBuffers = 2
	// probeSize is the piece in which headers alone are looked for, one step of the index on a journal of up to 1 GiB.
	probeSize = 64 << 10
	// zeroPiece is the piece in which a new journal volume is written once.
	zeroPiece = 1 << 20
	// zeroFlush pieces are flushed together where the disk is to be left to others as well: what a file system without O_DIRECT gathers would
	// be written all at once in the end.
	zeroFlush = 16
	// indexStep and indexMax bound the index: an entry per 64 KiB, or fewer so that there are never more than about 16384 (400 KiB).
	indexStep = 64 << 10
	indexMax  = 16384
	// floorStep is how far ahead of the tail ring memory is declared overwritten at once, so that Reserve rarely has to say so.
	floorStep = 1 << 20
)
