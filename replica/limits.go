package replica

import "time"

// Every bound of this package, with its reason. Sizes are bytes.
const (
	// memoryDefault bounds rings and buffers of a site: a file system must not take its host's memory.
	memoryDefault = 256 << 20
	// memoryMin holds one small ring and the buffers of one mirror.
	memoryMin = 32 << 20
	// ringMax is one group's staging ring at most: more than a second of writing at the speed of a disk, so that restore can fold.
	ringMax = 64 << 20
	// ringMin holds four of the largest records, so that writers and the flush do not wait for each other.
	ringMin = 4 << 20
	// mirrorBuffers is what one mirror may hold outside of rings: a batch being read from the journal, the records of it that are sent, and these
	// packed; or one received, and it unpacked.
	mirrorBuffers = 4 << 20
	// ringQuarters of the memory bound are for rings and batches; the last quarter is for QUIC's windows and the requests of the kernel.
	ringQuarters = 3

	// recordMax is the payload of the largest record: one request of the kernel, so that a host write of up to 1 MiB is one record.
	recordMax = 1 << 20
	// discardMax is the range of one discard record: it bounds the regions that one record adds to the overlay (16,384).
	discardMax = 1 << 30
	// overlayRegionsMax bounds the overlay's bookkeeping of one group; a discard past it waits for restore.
	overlayRegionsMax = 128 << 10

	// journalDefault and journalMin are the sizes of a group's journal.
	journalDefault = 1 << 30
	journalMin     = 16 << 20
	// prefillShare is the part of the disk's time that writing an added journal volume once may take, as a copy of low pace: hosts keep three
	// quarters of the time, and a flush of theirs waits for one piece of 1 MiB at most. 1 GiB takes some seconds that way.
	prefillShare = 0.25
	// journalVolumesMax is the reference's number of journal volumes in a group.
	journalVolumesMax = 64

	// batchMax is one batch of a read-journal answer, baseMax one piece of an initial copy: large enough that per-batch costs vanish,
	// small enough that an update waits less than 10 ms behind a base record on a link of 1 Gbit/s.
	batchMax = 1<<20 + 64<<10
	baseMax  = 512 << 10
	// packMin is the shortest batch that is packed: a shorter one costs one packet either way. packShare is the part by which a batch must become
	// shorter, an eighth, see pack.go. packRestMax bounds how many batches rest after attempts in vain, 2^packRestMax-1.
	packMin     = 1 << 10
	packShare   = 8
	packRestMax = 3
	// pullWindow is what a secondary lets the primary send ahead of what it has stored.
	pullWindow = 8 << 20
	// pathShare of the memory bound is for the further paths of all mirrors: half of the quarter that is for QUIC's windows. 256 MiB let the first
	// mirror have 8 and 16 MiB under way, which is 1 Gbit/s over a round trip of 100 ms twice: what a loss holds up is sent again meanwhile.
	pathShare = 8
	// pathMemoryMax is what one mirror takes of that at most, pathMemoryMin what it needs: the largest records on two paths.
	pathMemoryMax = 64 << 20
	pathMemoryMin = 2 << 20
	// pathBatch is a batch where there are several paths: small enough that all of them have one, and that what waits behind one that a loss holds up
	// is not much more than that.
	pathBatch = 256 << 10
	// pathAhead is how many batches may be sent that the peer has not confirmed, while there is a further path: those that come before their turn have
	// to be remembered. It is part of the protocol.
	pathAhead = 4096
	// pathRTT is the round trip of a link that is worth a second path: below it a processor is what holds a connection up. One of 2 ms was
	// measured to carry twice as much over four of them.
	pathRTT = time.Millisecond
	// pathBusy is the part of a look in which the link held the sender up, for it to say something about paths; pathGain is by how much twice as
	// many must carry more to be worth it. A link that they do not fill carries nearly twice as much.
	pathBusy = 0.75
	pathGain = 1.2
	// pathLook is the time between two looks at what paths carry, pathLookTrips the same in round trips; pathSettle and pathSettleTrips are how long
	// new ones are left alone before: a connection begins slowly.
	pathLook        = 2 * time.Second
	pathLookTrips   = 20
	pathSettle      = time.Second
	pathSettleTrips = 10
	// pathAsk is the time between two looks whether paths that were asked for are there.
	pathAsk = 100 * time.Millisecond
	// pathWait is how long a path may take to come about: a dial that is lost once.
	pathWait = 15 * time.Second
	// pathPause is how long nothing more is tried behind a trial that brought nothing.
	pathPauseMin = 30 * time.Second
	pathPauseMax = 10 * time.Minute
	// baseZeroMax bounds the range of one base record that stands for zeroes, as discardMax does for a discard.
	baseZeroMax = 1 << 30

	// restoreShare of the ring in use starts a restore pass at once: early enough that writers do not meet a full ring.
	restoreShare = 4 // a quarter
	// restoreTick is how often it is looked at whether a pass or a checkpoint is due by the clock, while more than restoreLittle waits for one or
	// somebody waits for its marks: a quiet group does not wake its host ten times a second.
	restoreTick   = 100 * time.Millisecond
	restoreLittle = 1 << 20
	// restoreIdle starts a pass for what is older than this, so that a quiet site has nothing left to do, and is how often it is looked at then.
	restoreIdle = 500 * time.Millisecond
	// checkpointIdle and checkpointShare of the journal written since the last checkpoint start the next: they bound the replay after
	// a crash and, on a secondary, how long the primary must keep what is restored.
	checkpointIdle  = 3 * time.Second
	checkpointShare = 8 // an eighth
	// passesAhead of the journal may be restored behind the last checkpoint; then the next has to come first, and hosts wait for ring room. Without
	// it stores that take longer to flush than hosts to write would fill the journal, and suspend pairs whose peer keeps up.
	passesAhead = 4 // a quarter: an eighth that is being flushed, and as much beside it

	// gatherTime is the pause between two looks of a primary for what became durable, and between two requests of a secondary. Hosts that flush each
	// write would cost both sites a packet, and their threads a turn, for each of them otherwise. A burst is sent at once; what follows it within this
	// time goes as one batch. It is shorter than journal.DefaultFlushDelay: what hosts do not flush becomes durable less often, and never waits for
	// it. At a window of pullWindow it lets 2 GB/s pass. One thread of O_DSYNC writes was measured to make 2.0, 2.9, 3.4 and 3.8 thousand a second with
	// 0, 2, 5 and 20 ms, and to cost both sites 600, 270, 215 and 155 µs of processor time a write; hosts that do not flush saw no difference.
	gatherTime = 4 * time.Millisecond

	// drainTimeout is how long a flush goes on while the peer restores nothing; after it the rest is marked in the bitmap.
	drainTimeout = 30 * time.Second
	// drainNoLink is the same while the peer cannot be reached.
	drainNoLink = 2 * time.Second
	// pathWatchDefault is the reference's path watch time.
	pathWatchDefault = 5 * time.Minute
	// overflowReserve of a journal is left to hosts when the rest is drained at least: a record that does not fit into the rest of a journal
	// volume takes that too.
	overflowReserve = 4 * recordMax
	// pressureBand is the least distance of the high-water mark to full, so that inflow control has a way to go.
	pressureBand = 2 * recordMax
	// inflowMin is what hosts may write at least under inflow control, bytes per second: slow, and no stall.
	inflowMin = 256 << 10
	// drainMeterTime is the time over which it is measured how fast the peer takes a journal: some batches, also on a slow link.
	drainMeterTime = time.Second
	// heldTime is how long it counts what the peer held and was not freed: checkpoints are not farther apart.
	heldTime = checkpointIdle
	// pressureIdle and pressureBusy are the pauses between two looks at a journal, below and above half of its room; positions bring a look
	// earlier, see lookAhead.
	pressureIdle = 250 * time.Millisecond
	pressureBusy = 20 * time.Millisecond
	// activeWatch is the reference's active path watch: so long without read-journal a master journal counts as cut off, and so long without a word
	// that it owes a peer counts as mute. It is longer than what a flush of a disk that works takes, and what a primary holds back: keepAlive, fenceMax,
	// or one batch at the lowest line speed.
	activeWatch = 40 * time.Second
	// watchTick is how often it is looked at what only time brings about: so much behind its time path watch time may act.
	watchTick = 250 * time.Millisecond
	// heedMost is what the time between two looks at a peer that owes a word counts at most: some of them, so that a side that stood still
	// itself does not lay that to the peer.
	heedMost = time.Second
	// keepAlive is how long a primary is quiet before a control record moves the sequence number on.
	keepAlive = 5 * time.Second
	// switchedOff is how long a site that ends waits for a peer that takes nothing to take what it lacks, and switchedOffMost for all that do;
	// switchedOffNotice is how long it then tries to say that this was not all, behind what the link still carries. Together they are well below
	// what whoever ends a daemon waits for it.
	switchedOff       = 2 * time.Second
	switchedOffMost   = 20 * time.Second
	switchedOffNotice = 10 * time.Second
	// switchedOffHeard is how many packets of the peer within switchedOff say that a batch is on its way to it, which may take longer on a slow link:
	// the acknowledgements of 5 KB/s. A peer that takes nothing acknowledges what it is told of its lag, twice in that time.
	switchedOffHeard = 4
	// switchedOffBatch is a batch of a site that ends: a slow link brings as many whole ones as it can in the time that is left.
	switchedOffBatch = 64 << 10
	// tellDeleted bounds how long a forced delete tries to tell the peer.
	tellDeleted = 3 * time.Second
	// requestTimeout bounds a command's request to the peer.
	requestTimeout = 20 * time.Second
	// deletePace is what a peer may take for each pair of a delete beyond that: some transactions.
	deletePace = 100 * time.Millisecond
	// takeoverDefault and takeoverMax are how long a takeover waits for the primary and for what it still has to send.
	takeoverDefault = time.Minute
	takeoverMax     = time.Hour
	// silenceMin is how long a primary is silent at least before a takeover goes on without it. On a short link QUIC has asked five times by then. A
	// process that gets no processor for so long is a rare thing on a host that serves volumes, and hosts wait for the end of it at the S-VOL.
	silenceMin = 450 * time.Millisecond
	// silenceProbes is the same in probe timeouts, for a long link or one whose round trip varies: within it what was sent is sent again three
	// times, twice each, and there is time for the answer to the last. Seven packets in a row have to be lost, or their answers.
	silenceProbes = 8
	// silenceLooks is how often it is looked within that time whether something came.
	silenceLooks = 16
	// mirrorWait is how long a takeover waits for the mirror of a primary that is connected: longer than the pause between two attempts.
	mirrorWait = 2*pullRetryMax + time.Second
	// fenceMax bounds how long a primary holds host writes for an exchange of the roles that its peer does not complete: less than the
	// time after which hosts and their file systems take a disk for dead.
	fenceMax = 20 * time.Second
	// answerMax is how long a primary that is heard may take to answer in an exchange of the roles: a command there may be under way for servedWait, and
	// it holds its hosts for fenceMax at most. One that takes longer stands still.
	answerMax = servedWait + fenceMax
	// servedWait is how long a peer's request waits for a command that is under way here: less than the peer waits for the answer.
	servedWait = 5 * time.Second
	// swapNear is how many records may be missing at the secondary when the primary begins to hold host writes.
	swapNear = 64
	// historyWait bounds how long a primary that learns of a takeover asks what was written there.
	historyWait = 5 * time.Second
	// askInterval is how long a primary waits for a connected secondary to open the mirror before it asks what became of the pairs, and
	// between two questions.
	askInterval = 5 * time.Second
	// pullRetry is the pause before a mirror is opened again after it ended.
	pullRetryMin = 20 * time.Millisecond
	pullRetryMax = 2 * time.Second

	// removeRetry is the pause before a group without pairs is removed that a command still holds; removeWait is how long who deletes it by
	// a command waits for that.
	removeRetry = 10 * time.Millisecond
	removeWait  = 2 * time.Second

	// releaseRetry is the pause before a pair that could not be deleted to its end is tried again: hosts wait at its volume meanwhile.
	releaseRetryMin = time.Second
	releaseRetryMax = time.Minute

	// heldRetry is the pause before a group that could not be opened is tried again, which doubles.
	heldRetryMin = 250 * time.Millisecond
	heldRetryMax = 30 * time.Second

	// failRetry is the pause before what a failed journal held is brought to the stores again.
	failRetry = time.Second

	// keptPiece is the longest range of a kept set that has a checksum of its own: what a reader has to take in to check one byte.
	keptPiece = 1 << 20
	// keptLook is the time between two looks whether other volumes are written.
	keptLook = 100 * time.Millisecond
	// keptFlush is how much of an image is written before the disk is told to begin, so that the flush at its end is short.
	keptFlush = 32 << 20
	// keptReserveShare of the file system of kept sets stays free, at most keptReserve: the stores there are sparse and grow as hosts write,
	// and site.db grows with the bitmaps. What nobody needs now must not take that.
	keptReserveShare = 16
	keptReserve      = 1 << 30
	// keptMax is how many kept sets a site has at most: those of the largest group twice. Each costs a look at its list in a listing.
	keptMax = 2 * pairsGroup
	// keptHeadMax bounds the head of a list, which is short lines of text, and keptWhyMax the reason in it.
	keptHeadMax = 8 << 10
	keptWhyMax  = 1 << 10
	// dbSpare is the room that site.db has on the disk beyond what it uses and its bitmaps may come to: some hundred changes of states and options.
	dbSpare = 1 << 20
	// dbSpareRetry is the pause before it is tried again to allocate that room.
	dbSpareRetry = 30 * time.Second
	// startRoom is what a start that found no room asks for: a new site.db with its spare, and a key.
	startRoom = 4 << 20

	// eventsMax is how many events a site remembers.
	eventsMax = 1000
	// Names and counts of the reference, and what keeps a listing readable.
	nameMax    = 100
	groupsMax  = 256
	pairsMax   = 32768
	volumeMax  = 1 << 50 // 1 PiB: offsets stay far from overflow
	pairsGroup = 4096
)
