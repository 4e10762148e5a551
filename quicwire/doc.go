// Package quicwire is the wire between two sites: who may connect, what a connection is, and the frames that travel on it. It
// knows nothing of the states of pairs and does not look into records; it delivers frames whole and in the order of their
// stream, or reports that it cannot.
//
// This comment is the specification of the protocol, version 1. It is enough to write another implementation.
//
// # Identity
//
// A site is an Ed25519 key. Its name is the fingerprint of the public key as ssh prints it: "SHA256:" and the unpadded base64
// of the SHA-256 of the key in ssh's wire form. Connections are QUIC version 1 or 2 with TLS 1.3, ALPN "pairfs/1", without
// 0-RTT and without resumption. Both sides present exactly one certificate with such a key; nothing else in the certificate is
// looked at. A site lets in the keys that it was told, and when it dials, only the one key that belongs to the address.
// Every other handshake fails, so that no byte of a stranger is ever parsed as a frame.
//
// # Connection
//
// Either side dials whenever it has no live connection with a peer and knows an address, at first after 250 ms, then at
// doubling pauses of at most 5 s. Both may succeed: a peer may have up to 8 live connections, of which the oldest is used.
// A quiet connection is probed each 3 s and given up after 10 s of silence. A site restarted says so with a stateless reset,
// and with a new nonce in its Hello, upon which connections with another nonce are closed.
//
// Packets begin with 1200 bytes, which passes where the MTU is 1280; QUIC then tries whether the path carries more, and never finds out that
// it came to carry less: small packets keep the connection alive while the large ones are lost. Who misses a word of the peer that
// is due closes its connections with code 7 and dials anew. The side that moved goes on from its new address, if it is the one that
// dialled; the other one is dialled again, at the address that it was given last.
//
// The dialler opens the first stream, sends Hello and ends its direction; the other side answers with its own Hello and ends
// the stream. Both compute the agreement from the two: the newest common version, the features both have, the smaller of
// the longest frames. If there is none, the connection is closed with code 1. Only then are other streams opened, by either side.
//
// # Path connections
//
// A mirror session may have further paths, on connections of their own: one connection is held up by each packet that it loses, and by its pacing.
// A path connection has the ALPN name "pairfs-path/1", and no Hello: what was agreed on the ordinary connection beside it holds, and it ends when the
// last of those does. It is let in only while there is one that agreed on feature bit 2. A peer may have 16, apart from the 8 ordinary ones; they
// carry no requests, and are never what says that a peer is up. The side that dialled the connection of the mirror dials them, from a socket of its
// own each and to the same address, so that no other way through a firewall is needed. One that carries no stream for 45 s is closed, by
// either side: a path over which nothing came then is opened again.
//
// # Streams
//
// All streams are bidirectional. The first frame says what a stream is for:
//
//	request   CreatePair, DeletePair, SuspendPair, ResyncPairs, SwapPairs, PowerOff or PairStates, then the end of the direction.
//	          The answer is one or more frames, then the end. Result refuses, or answers what has no other answer.
//	          ResyncPairs is answered by ResyncReady and then Bitmap frames; with mode 0 it takes pairs up
//	          again, with mode 2 it only looks, from either side, with mode 3
//	          it takes up an S-VOL that was taken over as well. SwapPairs exchanges the roles of a group: phase 1 (prepare)
//	          and 2 (commit) of a planned exchange and 4 (resync) are answered by ResyncReady, the last one with Bitmap
//	          frames behind it; 3 (abort) and 5 (ask) by Result. It is sent to sites with feature bit 4 only, PowerOff
//	          to those with feature bit 8.
//	mirror    MirrorOpen, from the secondary, and then ReadJournal and PairStates. From the primary MirrorAccept, and then
//	          Batch, PairStates, MirrorOptions, MirrorLag and MirrorSettings. The directions are independent of each other. The stream is over when either
//	          side ends its direction. Each Batch is confirmed by a ReadJournal with its ordinal as soon as it is durable; while any pair of the
//	          mirror is replicated a Batch comes every 5 s at least. A side that hears nothing of that for 40 s takes the mirror for down.
//	path      on path connections alone: MirrorPath, from the secondary, and then nothing. From the primary Batch, and nothing else. It belongs to
//	          the session of this peer that MirrorPath names; there is none: it ends at once. A path that the primary ends is over; one that
//	          ends otherwise ends the session, for what was under way on it is lost.
//
// The primary asks for a path with MirrorPath in the mirror stream; the secondary opens it if it can, or does not. From then on a Batch goes over any of
// them, each ordinal once. At most 4096 of them may be sent and not confirmed while there is a further path. What a PairStates in the
// mirror stream says holds behind all batches with an ordinal up to the last one before it in that stream, and before all others. So before PairStates a
// primary sends a Batch without records (first seq 1, last seq 0) in the mirror stream, if one went over a further path since the last one there, and the
// first Batch behind PairStates goes there too. The secondary waits with PairStates until the Batch before it has had its turn.
//
// A stream that is reset is given up and harms nothing. Any breach of the protocol closes the whole connection with one of these
// application error codes, and a sentence:
//
//	0 shutting down      4 unexpected frame     8 hello timed out
//	1 no common version  5 frame too large      9 too many connections
//	2 malformed frame    6 peer removed
//	3 unknown frame      7 connection replaced
//
// # Frames
//
// All numbers are little endian. There is no padding, no alignment, and for each frame exactly one encoding: a byte too many,
// a flag that is neither 0 nor 1, a number that is not in its shortest form make a frame malformed.
//
//	frame    type u8, length of the body u32, body
//	string   length u16, bytes
//	list     number of elements u16, elements
//	bool     u8, 0 or 1
//	uvarint  base 128, low groups first, high bit set on all bytes but the last
//
// Names have at most 255 bytes, messages 1024, details 4096, lists 4096 elements. Bodies:
//
//	 1 Hello         oldest version u16, newest version u16, features u64, longest body u32, nonce u64, site string
//	 2 Result        code u16, message string, detail string
//	 3 CreatePair    pair string, group string, volume string, number u32, size u64, generation u64, journal size u64, copy u8,
//	                 error level u8
//	 4 DeletePair    list of references, force bool, origin u8
//	 5 SuspendPair   list of references, mode u8, svol-write bool, origin u8
//	 6 ResyncPairs   group string, list of references, mode u8
//	 7 ResyncReady   last sequence number u64, list of states
//	 8 Bitmap        pair string, region bytes u32, regions u64, first region u64, last bool, runs to the end of the body
//	 9 MirrorOpen    group string, session u64, durable seq u64, restored seq u64, list of states
//	10 MirrorAccept  code u16, message string, session u64, journal time u64, list of states
//	11 PairStates    list of states
//	12 ReadJournal   budget u64, durable ordinal u64, restored ordinal u64, durable seq u64, restored seq u64
//	13 Batch         ordinal u64, first seq u64, last seq u64, count u32, newest seq u64, newest time u64, flags u8,
//	                 unpacked length u32, records to the end of the body
//	14 MirrorPath    session u64, path u8 (1 to 16); needs feature bit 2 on both sides
//	15 MirrorOptions path watch time in seconds u32, 0 if it is not handed on
//	16 SwapPairs     group string, list of references, phase u8, token u64, generation u64, wait in milliseconds u32, seq u64, lose u8
//	17 MirrorLag     newest seq u64, bytes u64, age u64, list of lags; needs feature bit 5 on both sides
//	18 MirrorSettings number u32, 0 for the group, P-VOL string, list of at most 32 settings; needs feature bit 7 on both sides
//	19 PowerOff      group string, newest seq u64, list of what is missing; needs feature bit 8 on both sides
//
//	reference        name string, generation u64
//	state            name string, number u32, generation u64, status u8, suspend type u8, consistent bool, seq u64
//	lag              number u32, bytes u64, age u64
//	setting          name string, value string
//	missing          pair string, generation u64, bytes u64, age u64
//	run              equal regions to skip uvarint, regions that may differ uvarint (at least 1)
//
// Bodies are limited by type, before they are read: Hello 1 KiB; Result 16 KiB; CreatePair 4 KiB; ReadJournal, MirrorPath and MirrorOptions 64
// bytes; MirrorLag 128 KiB; MirrorSettings 20 KiB; Bitmap 65 KiB with at most 64 KiB of runs; Batch 2 MiB of records and its 49 bytes; all others 1.25 MiB.
// Hello says how long a body its sender accepts at all, at least 1.25 MiB.
//
// Result codes: 0 done, 1 invalid, 2 not found, 3 exists, 4 busy, 5 secondary, 6 no space, 7 unreachable, 8 timeout,
// 9 access denied, 10 internal error. Batch flags: 0 as they are, 1 packed with s2 (feature bit 0), 2 packed with zstd (feature bit 1). A
// packed batch unpacks to exactly the length that it names, which is bounded before its data is read, and packing that was not agreed ends the
// mirror. No site offers feature bit 1 yet.
// Feature bit 6 says that a side knows of markers among the records; one that does not gets a skip of the same number for each.
// Feature bit 9 says that a side knows of bit 7 in the suspend type of a state: the pair was suspended for path watch time.
// Feature bits that a side does not know are ignored. Every number here keeps its meaning for ever; new ones are added.
//
// # Memory
//
// What a peer can make this side hold is bounded: 32 MiB of flow-control window for each connection and 8 MiB for each path connection, 512
// streams on either, of all its connections 16 requests being read and served, 384 mirror streams, and of these 16 whose first frame is being read,
// 384 paths on each path connection. A mirror that is not read holds up no other one. Whatever a stream's reader does not take
// stays with the sender, which is the back-pressure of the pull. A frame has the memory of its body from its header on, and what is not there after 10 s
// (of the first frame of a stream) is not waited for. A peer that dials more than 4 times a second, but for 32 times at once, is turned away with code 9; path connections are not dialled faster.
//
// # Concurrency
//
// An Endpoint has one goroutine that accepts, two for each peer (dialling, telling the Handler of up and down), one for each
// connection, one for each path connection being dialled, and one for each stream that a peer has opened. All of them end before Close returns nil. No lock is held while
// the Handler is called. Lock order: Endpoint.mu, peer.mu; MirrorStream.closeMu is a leaf.
package quicwire
