// Package replica is the product: sites, volumes, journal groups and pairs, and the engine that keeps an S-VOL an image of one moment of
// its P-VOL, at most a moment old.
//
// # Words
//
// A site is one running daemon. A volume is a file of fixed size; in a pair it is a P-VOL (primary) or an S-VOL (secondary). A journal
// group is the set of volumes that share one write order, and its journal: master journal on the primary, restore journal on the
// secondary. A mirror ties the two groups together. Obtain is making a record of a host write; read-journal is the secondary pulling
// records; restore is writing records to a volume's store. A region is 64 KiB, the unit of a difference bitmap.
//
// # The one idea
//
// A write to a paired volume is complete when it is in the journal; the store follows from the journal, in order. So the same engine runs
// on both sides, and what differs is only who feeds it:
//
//	primary     host write ── obtain ──▶ journal ── restore ──▶ P-VOL store
//	                                        │
//	                           read-journal │ (pulled by the secondary)
//	                                        ▼
//	secondary                            journal ── restore ──▶ S-VOL store
//
// Between restored and appended the newest bytes of a volume are in its overlay, which points into the staging ring of the journal; a read
// takes the overlay first and the store for what is left. What a volume shows is therefore always everything that its journal holds.
//
// # Promises
//
//   - I1 order. Each record of a group has a sequence number one higher than the one before. A write that was acknowledged before another
//     one was issued has the lower number, over all volumes of the group. On a secondary the numbers jump only at a start record, over what
//     the bitmaps cover.
//   - I2 host. An acknowledged write survives the death of the daemon. What was acknowledged before an fsync that completed, in the same
//     group, survives a power cut. One request of the kernel, up to 1 MiB, is one record and is never torn.
//   - I3 write-ahead. No byte reaches a store before its record is durable in the journal.
//   - I4 prefix. Outside of COPY, and after any crash, the S-VOLs of a group are the image of one prefix of the group's order.
//   - I5 no silent difference. Where the volumes may differ and the journal no longer holds the difference, the union of both bitmaps covers
//     it. Bitmap pages and the mark that frees the journal move in one transaction.
//   - I6 space. A record is freed when it is restored and checkpointed here and, while its pair is replicated, restored and checkpointed at
//     the peer. (It could go when it is only durable there, at the price of marks for what is not restored yet. The restore journal is as
//     large as the master journal and checkpoints every few seconds, so nothing is won by that; and a peer that loses its journal costs
//     nothing at all this way.)
//   - I7 bytes. The checksum computed when a write enters travels with the record. It is checked when the record is read from the journal,
//     when it arrives, and before any byte of it reaches a store, on both sides.
//   - I8 loud. A failed flush or a wrong checksum is final for that journal: pairs are suspended with the right type, hosts go on writing to
//     the stores with their regions marked first, and an event says what to do.
//
// # Sequence numbers and positions
//
// What both sides speak of is a sequence number. What one side does with its own journal, it does by position: durable, restored, checkpoint,
// freed. Records that take no number (base records of a copy, writes to a split S-VOL) have a position all the same, so the overlay orders
// versions by position.
//
// A pair's start and stop bound the numbers that are replicated. The start record of a create or resync sets start at its own number, the
// suspend record of a flush sets stop at its own. A host write outside of the bounds marks its regions, before it is published. A
// secondary gets every number: records that are none of its business arrive as skips.
//
// # The life of a record
//
// Primary: obtain reserves room in the ring (number, position), copies the data, inserts it into the overlay, publishes: acknowledged. The
// journal's committer flushes it: durable. Only then may restore write it to the store and the mirror send it: a power cut never leaves
// the peer ahead. Secondary: a batch passes the gate in the order of ordinals, each record is checked, put into the ring with the number it
// has, and published. When it is durable the next read-journal request says so, when a checkpoint covers it too.
//
// A checkpoint flushes journal and stores, then moves marks, bitmap pages and the journal's head in one transaction of site.db. After a
// crash the journal is replayed from there, and what only the ring held is appended first. Passes of the restore go on while a checkpoint
// flushes, so that hosts do not wait for the stores behind a full ring: its mark is where they were when it began, and what they bring to the
// stores behind it is in the journal, durable, and comes again with a replay. Behind a quarter of the journal they stop until it has ended: hosts
// that are faster than the stores wait then, and do not fill the journal, which would suspend their pairs.
//
// # What a write costs
//
// One write of 4 KiB to a paired volume, from its request to its answer:
//
//	system calls  two, of package fs: the read of /dev/fuse that brings it and the write that answers. None of the journal: the committer writes
//	              behind the answer, when a megabyte is there or journal.DefaultFlushDelay has passed. A write that is synchronous, or an
//	              fsync, waits for one write and one fdatasync of the journal volume, which all share that came in time for it.
//	copies        two: the kernel's into the request, and one into the ring. The journal volume is written from there with O_DIRECT, the overlay
//	              points there, and a peer that is current is fed from there.
//	checksums     one, CRC-32C, over what stands in the ring.
//	locks         the volume's mode, shared (atomic operations; several writers of one volume go in parallel); the journal's mutex, for number,
//	              position and header; one of the 32 of the overlay, by region. None is held over a system call or the copy but the mode.
//	allocations   none for a record; an overlay's shard takes memory for regions that it has not had.
//
// The parts, and the whole without FUSE, while the ring has room (with more it is the disk that is measured):
//
//	go test -run '^$' -bench 'Obtain/ack' -benchtime 3000x ./replica            2.0 µs, from the call to the acknowledgement
//	go test -run '^$' -bench 'Append/size=4096' -benchtime 3000x ./journal      1.0 µs of it: number, position, copy, checksum, publishing
//	go test -run '^$' -bench 'Encode/size=4096|Parse/size=4096' ./journal       0.37 µs for the checksum and the header; 0.32 µs to check them
//	go test -run '^$' -bench 'OverlayInsert|OverlayParallel|BitmapSet' ./replica 0.19 µs into the overlay, 0.52 beside another writer; 0.01 µs for a bit
//	go test -run '^$' -bench 'Obtain/sync|Pack' ./replica                       170 to 270 µs with a flush; a batch of 1 MiB packed in 1.5 ms, left alone in 50 µs
//
// (two processors of 2026; a read of /dev/fuse, its answer, and the turns of threads between them take 20 to 30 µs there.)
//
// # Markers
//
// A marker is a number in the group's order, given by a control record that is durable when the command returns, or by the suspend record of a
// flush. It is restored when the peer has restored and checkpointed that number. Pairs keep what tells histories apart, generation and start
// record, so a marker needs no state: it carries a checksum over the generations of its pairs, by which both sides find them (marker.go has the
// rules). For that to be true at every moment a secondary tells that a volume was given up or its pair deleted before it confirms a number behind
// which records of it were dropped, no checkpoint passes over a volume that was given up before that is stored, and a primary keeps with a
// suspended pair what was confirmed of it, up to where the secondary says that it stopped: later numbers of the group are none of that pair's.
//
// # States
//
// [Step] decides; it is a pure function over the tables in table.go, which testdata/tables.txt prints. The engine carries out its actions
// in run.go. Both sides tell each other the states of their pairs whenever a mirror opens and whenever one changes; what was missed while
// the link was down follows from comparing states, not from a log of messages.
//
// # A lost mirror, and a mute peer
//
// A mirror is down when its session has ended: with its connection, which QUIC gives up when it has heard nothing for ten seconds (a side that still
// hears the other one, over a link that loses one direction, when that has given up too: at most 23 s), or at once when one side says so.
// Path watch time runs from there, on each side by itself. Pairs are suspended when it is over, never sooner, and later by no more than
// watchTick. Latency, loss, reordering, duplicates and damaged bits are QUIC's to deal with and take no mirror down: a round trip may take 4.5 s,
// above which no connection comes about.
//
// A peer that is connected may be of no use all the same (mute.go): it never opens the mirror, or accepts it and is silent, reads and confirms nothing,
// or does not read; or the path came to lose the large packets. What decides then:
//
//	the peer                                        the mirror is down            and then
//	opens no mirror, answers no request             with the one before           path watch time: PSUE
//	has confirmed nothing that it was sent for 40 s from then on, at the primary  path watch time: PSUE; or a full journal, as without a link: PFUS
//	has sent nothing for 40 s, where 5 s are usual  from then on, at the S-VOL    path watch time: PSUE; its lag is not known from then on
//	confirms, and restores nothing                  never                         a full journal: PFUS
//	answers a command not                           as it is                      the command is refused after requestTimeout
//
// The connection is begun anew once, which mends a path that became narrower (QUIC tries what a path carries upwards only); a mirror that is opened
// again does not end it, a word that was owed does, and when all pairs are suspended anything that the peer says.
//
// # Packing
//
// A batch of a kilobyte or more is packed with s2 if both sites can and it becomes shorter by an eighth (pack.go). After attempts in vain 1, 3, then
// 7 batches rest, so data that does not pack costs next to nothing. The line speed counts what goes over the line; budgets, marks and the
// byte counts of groups what is unpacked, and saved-bytes the difference. A packed batch is unpacked when it has its turn, to exactly the length that it
// names and at most 2 MiB; one that does not is damaged.
//
// # Further paths
//
// One QUIC connection does not fill a link that is long or loses packets, so a mirror may have several: its batches go over up to 16 paths, each on a
// connection of its own (feed_paths.go, feed_steer.go, pull_paths.go). How many is the group's option paths; auto finds out by trial (path_plan.go): where the round
// trip is more than a millisecond and the link is what holds the sender up, it doubles their number as long as that brings a fifth at least, and
// goes back where it does not. On a short link there is one, which is the mirror stream, and its batches take the way that they always did.
//
// With two or more the mirror stream carries no batches but those that say where in the order of batches the states of pairs belong: the
// secondary compares states behind all batches that were sent before them and before all others, as if there were one stream (see package quicwire).
// The gate lets batches pass by their ordinals, whatever way they came; base records are in batches too. What comes early is held, up to the window that was
// granted: 8 MiB, and for further paths a share of an eighth of the memory bound; beside that each path has one batch that is being read. The primary has
// at most as much under way (path_memory.go). A mirror keeps its share until it ends; one that finds none has one path. A mirror whose path breaks ends, and is opened anew behind what is durable at the secondary; path watch time
// runs from there as for any other end, and is over when it is up again, a moment later.
//
// # A full journal
//
// A master journal that the peer does not empty as fast as hosts fill it is dealt with in steps (pressure.go): PFUL, inflow control, a flush
// that leaves hosts the last tenth (Suspending, JNL overflow), PFUS. In the ring order of a journal what the peer needs next is what has to
// go first, so once a record that the peer lacks is given up, all behind it is marked in the bitmaps as well.
//
// What hosts write while a journal that overflowed is drained need not be sent, yet stands in it: as a write-ahead log, behind what the peer is to
// have. It takes the last tenth and whatever the drain frees meanwhile, so hosts may write a ninth more than the link takes and all that the
// journal held gets to the peer (a third more with the smallest journal, which keeps a quarter). Hosts that are faster end the drain: twice the
// link, and a ninth of it got there; ten times, a hundredth. That is left so. The rest is not lost, it is marked, and a resync copies regions,
// each once, which is less than the records were. To take the new writes past the drain they would have to reach the stores without a record
// that is durable (I3), or with a mark made durable before each (two flushes a write, and no cheap fsync any more), or the journal would have
// to free from its middle: two live ranges, two heads, two places at which a recovery begins, for a drain that a link which is too slow
// anyway gets through a little later. Whoever wants more of it drained makes the journal larger, or slows hosts with inflow control.
//
// # Bad disks
//
// A change of site.db that cannot be written is refused and has not happened. Where the flush of its last page fails, which leaves open what a start
// would find, it is flushed once more, and if that fails too the daemon ends as after a kill (db_settle.go, Config.Fatal). A state that a pair has come
// to is different, unless it lets hosts write an S-VOL: it holds in memory, and is stored as soon as that is possible again. Whatever is not stored
// yet, for that reason or because it is about to be, the journal lets go of nothing: a start finds the state before, and what leads on from there.
//
// What a disk does to the bytes of a journal, or of site.db, at rest is found by checksums before anything is made of it: those of the records, and
// the sum of the entries of site.db (db_sum.go), whose pages are looked at before bbolt maps them (db_pages.go). A damaged journal holds its group
// and nothing else; a site whose database is lost, empty or damaged does not start, and no new one begins in its place. A store has no checksums: [Sums]
// and [CompareSums] compare the stores of both sides of a pair (sums.go).
//
// # Bad peers
//
// A peer is let in by its key (quicwire), and may do to its own pairs what their other side may: end them, take them over, write its S-VOLs within
// what it was allowed to create. Beyond that it is not believed: a request names pairs by their history, and one of another peer's is refused; a
// record is taken with the next number alone, inside of the volume, with its checksum; what a secondary confirms is no more than it was sent; a
// name is looked at before it becomes a path, also when it comes from site.db (db_valid.go). What it brings about as often as it likes is told now
// and then (peer_events.go), in one line each. A breach of the protocol ends its connection, and nothing of others. (hostile_test.go plays one.)
//
// # The state directory
//
// It is the site: nobody else may enter it, and nothing in it is a link, a pipe or anything but what pairfs made there (state_dir.go). What lies on
// another disk is mounted at its place. A site whose directory is not so does not start; a journal that is not so holds its group.
//
// # What loses
//
// Where a resync overwrites bytes that hosts wrote on purpose on the side that loses, they are kept aside first: the regions as hosts read
// them, checked, in STATE/kept/PAIR-TIME (kept.go; kept_list.go has the format). The resync does not begin before they would survive a power
// cut, and not at all where they cannot be kept. They stay until an operator drops them.
//
// # Takeover
//
// [Site.TakeoverGroup] lets hosts write the S-VOLs; table_takeover.go has what every state makes of it, takeover.go which kind it is. While the
// primary can be reached and all pairs of the group are in PAIR, roles are exchanged (takeover_swap.go, exchange.go): those of a whole group,
// for it has one write order and one journal. The primary holds its hosts behind a fence (fence.go), in memory alone and for a bounded time, and
// says at which number; when the secondary has that number durably the primary gives its role up, durably, and then the secondary takes it.
// The pairs get a new generation, which names a history, and remember the one before it; numbers go on above all that either side gave.
//
//	what ends in between                        then
//	secondary, before the commit                the fence ends by itself, hosts go on at the primary
//	primary, before its commit is stored        it is the primary still; the secondary goes on without it (SSWS), and it learns of that
//	either, behind that, before the secondary   two secondaries, no host writes; the takeover is given again and finds by the generation
//	took the role                               that the primary gave its role up, or goes on without it
//	new primary, behind its first write         its journal is replayed; what it received before the exchange is not its hosts'
//
// A primary is lost when its connection is, or when nothing at all is heard of it for about half a second or some probe timeouts of QUIC, although it
// is asked all the time (vigil.go): hosts do not wait for the ten seconds of QUIC. One that is only slow is heard; it counts as lost when it does not
// answer for longer than one that works may take (answerMax).
// Without the primary everything that arrived is brought into the stores, and the pair is SSWS. Until that is settled both sides remember it
// ([PairState].TookOver): the S-VOL stays writable whatever happens to the pair, the P-VOL is not written from the moment on when it has
// heard of it, and marks what it has behind the number that the S-VOL named. If that is anything, and hosts of the P-VOL wrote it, there are two
// histories: PSUE (both written) on both sides, and nothing is chosen. [Site.ResyncGroupWith] settles it in either direction; what it gives
// up is kept aside first. A primary that was started and has not heard its peer cannot rule a takeover out, and says so
// ([PairStatus].PeerUnheard): with two sites there is nobody else to ask.
//
// # What is missing at a start
//
// A site does not start without the store of a volume, or without the ring of a killed daemon: an empty one in its place would be taken for the
// volume, and writes that were acknowledged would be gone without a word. Config.WithoutStores and Config.WithoutRing say that they are lost. A
// volume whose store is lost is forgotten with its pair (without_store.go); the peer sees a pair that was deleted. A journal is different: what
// it held is marked, whole volumes if need be, so one that is gone as a whole is made anew (load.go).
//
// # Quiet and off
//
// While hosts are quiet the primary moves the sequence number on every few seconds, so that lag 0 can be told from silence. A primary that is
// stopped in good order ends with a record that says so; one that starts moves the number on at once, so that record only counts while it
// is the last (power.go). Where the link does not carry all that is before it in the time that a stop has, the same is said beside the mirror, with
// what is missing (power_off.go): the S-VOL shows PSUE (MCU P/S OFF) in both cases, and its lag is what it lacks.
//
// # Goroutines
//
// Each group has six: restoreLoop (restore passes), checkpointLoop, work (facts, times), pressureLoop (a journal that fills), usageLoop (the
// usage monitor) and pullLoop (the secondary's mirror session, with two of its own, and where it has further paths one for each and one that stores).
// A primary's mirror session runs in the goroutine that quicwire serves it in, with two of its own; so does each further path. Commands run in the
// caller's goroutine. A journal that failed is given up in a goroutine of its own (failOver). All end with the group's context.
//
// # Locks
//
// Outermost first: Site.cmd (adding and removing things; never held while a peer is waited for or a journal is written), group.cmd (one change of
// states at a time; held while the peer is asked, and never taken by the peer's answer), Volume.mode (shared by each host request and each
// arriving record, alone by a volume joining or leaving its group), group.checkMu, group.restoreMu, group.commitMu, group.mu, Site.mu, then
// group.gateMu, pullSession.gateMu, pullSession.mu, the locks of further paths and those inside of journal, overlay, bitmap, copySlots, pacer
// and event log.
// Facts are queued, so reporting one takes no lock but the queue's own. A sender that ends a copy only tries group.cmd: it must not wait for a
// command that waits for the peer. So does who removes a group, with Site.cmd held. A peer's request that exchanges roles or takes pairs up again
// waits for group.cmd for a bounded time (servedWait): commands of both sides may wait for each other. Site.cmd, group.cmd, Volume.mode,
// group.checkMu and group.restoreMu, which are held while something else is waited for, are of type waitLock.
package replica
