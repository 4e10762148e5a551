package quicwire

import "time"

// Sizes. Each bounds memory that a peer could make this side allocate, so each is checked before anything is allocated.
// They are part of the protocol: a later version may raise one only behind a feature bit or a new version number.
const (
	// MaxName is the longest name of a site, group, pair or volume in bytes: names are file names, and a file name ends at 255.
	MaxName = 255
	// MaxMessage is the longest sentence of a Result or MirrorAccept in bytes. Longer ones are cut by NewResult.
	MaxMessage = 1024
	// MaxDetail is the most opaque bytes a Result carries: a few numbers, not data.
	MaxDetail = 4096
	// MaxPairs is the most pairs in one frame: a journal group has at most 4096 volumes.
	MaxPairs = 4096
	// MaxSettings is the most options of one object in a MirrorSettings: some times what any object has.
	MaxSettings = 32
	// MaxBatchData is the most bytes of records in one Batch, as sent and as unpacked, so that buffers of one size serve both.
	// Twice the largest record keeps a batch near full whatever the sizes in it.
	MaxBatchData = 2 << 20
	// MaxRunBytes is the most encoded bytes of runs in one Bitmap: one write into a stream.
	MaxRunBytes = 64 << 10
	// MaxControlFrame is the longest body of any frame but Batch: MaxPairs pair states with the longest names, and some room.
	MaxControlFrame = 5 << 18
	// MaxFrame is the longest body of any frame, and what a site offers in its Hello.
	MaxFrame = MaxBatchData + BatchOverhead
	// maxHelloFrame bounds the one frame that is read before anything was agreed.
	maxHelloFrame = 1024
)

// Pieces in which streams are read and written.
const (
	// writePiece is the most that goes into a stream at a time: larger pieces were measured slower, 4 KiB ones much slower.
	writePiece = 64 << 10
	// readBuffer holds headers and small frames; the data of a batch goes round it.
	readBuffer = 4 << 10
)

// Flow control. The windows bound what a peer can have in flight toward this side, and so the memory it can fill:
// at most maxConnectionWindow for each connection, and pathWindow for each path connection.
const (
	initialStreamWindow = 4 << 20
	maxStreamWindow     = 16 << 20
	// initialConnectionWindow is twice that of a stream, so that a mirror whose reader stands still leaves room for all others; what grows later
	// keeps to that by half (QUIC widens a connection with its streams).
	initialConnectionWindow = 8 << 20
	maxConnectionWindow     = 32 << 20
	// pathWindow is that of a path connection, for all of its life. A connection that is accepted has to begin like an ordinary one, for what it
	// is is known later. It carries 80 MB a second at a round trip of 100 ms, and there may be MaxPaths of them.
	pathWindow = initialConnectionWindow
)

// initialPacket is the size of the packets that a connection begins with, the least that QUIC asks of a path (RFC 9000, 14): with the headers of IP
// and UDP it passes where an MTU of 1280 is all there is, and drops larger ones without a word. Whether the path carries more is then tried.
const initialPacket = 1200

// Counts.
const (
	// maxStreams is the most streams a peer may have open on one connection: one for each mirror, and requests beside them.
	maxStreams = 512
	// maxMirrors is the most mirror streams of one peer served at a time; a site has at most 256 groups, and while a
	// connection is being replaced a group may have an old stream beside its new one.
	maxMirrors = 384
	// MaxPaths is the most path connections with one peer, and the most paths of one mirror session: eight were measured to be enough for a link that
	// loses one packet in a thousand, more help on worse ones alone, and each costs pathWindow.
	MaxPaths = 16
	// maxPathStreams is the most streams on one path connection: a session has one on each, and a site has at most 256 groups, whose old sessions
	// may have theirs beside the new ones.
	maxPathStreams = 384
	// maxRequests is the most requests of one peer served at a time. Further ones wait on their streams, unread.
	maxRequests = 16
	// maxOpening is the most of these whose first frame is being read: it is as long as the peer likes up to MaxControlFrame, and has its memory
	// from its header on.
	maxOpening = 16
	// maxConnections is the most live connections held with one peer; a new one beyond that closes the oldest.
	maxConnections = 8
	// maxPending is the most accepted connections of all peers which have not yet said Hello.
	maxPending = 64
	// maxKeyFile bounds what is read from a key file in bytes; a real one has about 120.
	maxKeyFile = 16 << 10
)

// Rate of handshakes served without making the caller prove its address first, and the burst above it.
// A restart of all peers stays below it; a flood from forged addresses does not.
const (
	handshakeRate  = 16
	handshakeBurst = 64
)

// Rate of the connections that one peer may dial, and the burst above it. A peer that is restarted again and again dials less often (minDelay
// and maxDelay); one that is let in, breaks the protocol and comes again costs handshakes, lines in the log and events. Path connections are not dialled
// faster than that either, however often a primary asks for paths.
const (
	arrivalRate  = 4
	arrivalBurst = 32
)

// Times.
const (
	// keepAlive is the pause after which a quiet connection is probed, so that three probes fit into idleTimeout.
	keepAlive = 3 * time.Second
	// idleTimeout is how long nothing may arrive before a connection counts as lost: long enough for a route to change,
	// short enough to be well below any path watch time (minutes).
	idleTimeout = 10 * time.Second
	// ackDelay is how long a peer may hold an acknowledgement back: QUIC's own default, which no site changes.
	ackDelay = 25 * time.Millisecond
	// handshakeTimeout bounds a dial to an address that does not answer.
	handshakeTimeout = 5 * time.Second
	// helloTimeout bounds the exchange of Hello after the handshake.
	helloTimeout = 5 * time.Second
	// firstFrameTimeout bounds how long an opened stream may stay without its first frame.
	firstFrameTimeout = 10 * time.Second
	// connectWait is how long a request waits for a connection to come up before it says ErrUnreachable:
	// a restart of the peer's daemon passes unnoticed, a dead link does not hold up a command for long.
	connectWait = 3 * time.Second
	// minDelay and maxDelay bound the pause between two dials of one peer.
	minDelay = 250 * time.Millisecond
	maxDelay = 5 * time.Second
	// PathLinger is how long a path connection stays without a stream: a session that ended for a moment, or tries more paths again, finds it there.
	PathLinger = 45 * time.Second
	// steadyTime is how long a connection must have lived for the next dial to start from minDelay again.
	steadyTime = 10 * time.Second
)
