package fs

import "time"

// The bounds of the package, each with its reason.
const (
	// maxRequest is the largest WRITE and READ in bytes. The kernel splits host writes at this size, and a split write is more than one
	// record; 1 MiB is what Linux allows unless it was tuned.
	maxRequest = 1 << 20

	// maxBackground is how many asynchronous requests the kernel keeps outstanding: twice the queue depth at which the throughput of
	// asynchronous direct I/O stops growing.
	maxBackground = 64

	// maxInflightBytes bounds the buffers of requests being read and served. A WRITE holds a buffer of maxRequest bytes while it waits for
	// room in a journal, whatever its own size; when no buffer is left no request is read, not even the command or the signal that
	// would end the wait. So it is twice maxBackground requests: as many writes of threads may wait as asynchronous ones. Only the
	// pages that data came into take memory: 50 MiB more than with an eighth of it under 64 writes of 1 MiB at a time.
	maxInflightBytes = 2 * maxBackground * maxRequest

	// maxLine is the longest command in bytes with its newline: one page, which no shell splits into two writes.
	maxLine = 4096

	// maxArgs is the number of words in a command; the longest known command has ten.
	maxArgs = 16

	// maxName is the longest name of a volume, pair, group or peer in bytes.
	maxName = 100

	// maxEventReaders is the number of open handles of the events file. Each may have a read waiting, and a waiting read holds its
	// reply buffer (usually 128 KiB, at most maxRequest).
	maxEventReaders = 32

	// maxListings is the number of open control files with a list of differences that is not read to its end. Such a file holds two bitmaps
	// of each pair that it lists, the pages with marks: at most as much as the site's own bitmaps twice over.
	maxListings = 4

	// maxKeptOpen is the number of open files of kept sets. Each may hold the range that was read last, 1 MiB.
	maxKeptOpen = 16

	// maxMarkerWaits is the number of questions that wait for a marker at a time. Each holds a request of the kernel, as a write that waits for
	// room does; writes need most of these.
	maxMarkerWaits = 32

	// maxMarkerWait is how long one of them may wait. Who waits longer asks again.
	maxMarkerWait = time.Minute

	// commandTime bounds one command. Every command is accepted or refused long before; this is for a site that stopped working.
	commandTime = 2 * time.Minute

	// keepTime bounds a resync, before which what it gives up may have to be kept aside, here and at the peer: the site gives up after half an
	// hour at each.
	keepTime = 65 * time.Minute

	// maxTimeout is the longest time that a takeover may wait for the primary.
	maxTimeout = time.Hour

	// attrTime is how long the kernel may keep names and attributes of volumes. Changes that come through the mount are seen at once;
	// this is for S-VOLs that appear, disappear or become writable.
	attrTime = time.Second

	// invalidatePace is the shortest time between two notices of changed pages to the kernel for one volume, so that a fast restore does
	// not spend its processor on them.
	invalidatePace = 5 * time.Millisecond

	// staleProbeTime bounds the question whether a mount that is already there still answers.
	staleProbeTime = 5 * time.Second

	// unmountTries and unmountPause bound how long an unmount waits for handles that are just being closed.
	unmountTries = 10
	unmountPause = 50 * time.Millisecond
	// unmountEnd is how long an unmount waits for the kernel to send no request any more: it does so at once, but for copies of the mount elsewhere.
	unmountEnd = 2 * time.Second
)
