// Command bench measures what a volume costs, beside the raw disk and in the same run. Both sites, the load and the raw file share one machine and one
// disk, so read the ratios and not the figures, and compare only within one table.
//
//	make bench             three rounds of 1.25 seconds for each cell, less than 15 minutes
//	QUICK=1 make bench     one round of 0.7 seconds, less than three minutes
//	make bench ROWS=fsync  only the jobs and sections whose name matches
//
// The first table runs the same jobs of fio, and SQLite on ext4 on a loop device, on five files:
//
//	raw       a file on the disk
//	loopback  the same behind a go-fuse file system that does nothing, with the mount settings of pairfs: what FUSE costs
//	SMPL      an unpaired volume
//	PAIR      a volume that is replicated to a second site
//	cut       a volume in PAIR whose peer is gone: the journal takes everything
//
// Within a round the files take turns, so that what else happens on the machine hits all of them. A cell is the median of its rounds. After each job
// on the pair the bench waits until the secondary holds everything, so that no job pays for the one before; the processor time of a cell, of all
// daemons behind its file and for each 10⁹ bytes of the host's, includes that, and so does what was written to the disk, which a second table
// shows; what is left in the page cache is flushed behind each job. When the journal of the cut volume has no room for another job its pair is made anew.
// A cell with an exclamation mark does not count, and why is said below the table.
//
// Then: what idle pairs cost; initial copies beside a bare quic-go stream and TLS over TCP of the same bytes; update copies; records replicated, until
// the last is at the peer; the lag beside hosts that write at a steady rate; a restart behind kill -9; exchanges of roles and a takeover. Each section ends
// with memory and goroutines of the daemons. -json writes all of it to a file.
//
// With -growth (make growth) something else is measured: what a write of 4 KiB costs, hosts keeping 16 under way, and what the sites cost at rest, with
// 1, 10 and 100 pairs in a group; with volumes of 1 GiB and 1 TiB; with journals from 64 MiB to 64 GiB, or half of what the disk has; and how long a
// site with 100 and with 200 pairs takes to start.
//
// What that showed on one machine of two processors, both sites and the load on one disk (a median of three rounds; flat is what lies within the tenth
// or fifth by which its rounds differ):
//
//	pairs in a group                    1        10       100
//	writes a second                     25 k     24 k     24 k     (flat)
//	processor time a write, both sites  61 µs    69 µs    74 µs    each batch has more volumes, each pass more stores with fewer writes
//	memory, primary and secondary       69+20    82+24    100+29 MiB   bitmaps, overlays' shards, statuses
//	both sites at rest                  0.6 %    0.6 %    0.8 %    of a processor
//
//	size of the volume                  1 GiB    1 TiB    1 TiB, written all over
//	writes a second                     22 k     23 k     19 k     the disk: what is restored lies nowhere together
//	processor time a write              68 µs    60 µs    74 µs
//	resync of 25 MiB                    0.43 s   0.43 s            (flat: it goes by what differs)
//
//	size of the journal                 64 MiB   1 GiB    16 GiB
//	writes a second                     14 k     18 k     18 k     a small one is full more often, and a checkpoint frees it: flushes of the stores
//	processor time a write              93 µs    80 µs    89 µs
//	making it, both sites               1.2 s    5.2 s    37 s     it is written once
//
//	pairs of a site that starts         100      200
//	behind an orderly end, kill -9      0.59, 0.52 s   0.66, 0.54 s    until hosts may write; the mirror is up 5 ms later
//
// And what a volume came to on that machine, as parts of the raw file's figures; reads as parts of the loopback's:
//
//	4 KiB random write, depth 1, depth 16, 16 jobs     PAIR 1.04  0.62  0.79    cut 1.32  1.05  0.99
//	4 KiB and fdatasync, 1 job, 16 jobs                PAIR 0.36  0.21          cut 0.48  0.26          loopback 0.41  0.19
//	4 KiB O_DSYNC, 1 job, 16 jobs                      PAIR 0.38  0.46          cut 0.57  0.77          loopback 0.47  0.43
//	1 MiB sequential write                             PAIR 0.51                cut 0.47
//	reads, 4 KiB depth 1, depth 16, 1 MiB sequential   PAIR 1.10  0.86  1.20
//	initial copy of random data                        0.59 of a bare QUIC stream
//
// What holds them down:
//
//   - One disk for both sites, and two processors for sites, load and disk. With the link up 4 KiB of a host become 1.7 to 1.9 requests to the disk
//     and 3.9 bytes a byte, journal and store here and there, where the raw file has one and one. A site with a disk of its own has half of that:
//     with the link cut it is 0.8 and 1.9, and hosts that keep 16 writes under way are as fast as on the raw file.
//   - An fsync is one request to the site more, which costs what the loopback shows. The kernel sends those of one file one after the other, and locks
//     the file meanwhile; a new write takes that lock before those that wait for it, which get it when they have waited for 4 ms. So nearly each fsync finds
//     a write that is not durable, and 16 jobs are hardly faster than one. To write volumes through whose hosts flush each write was tried, and
//     brought 0.6 flushes of the disk for an fsync and no more of them a second; so was to begin a flush with the write: no gain either.
//   - A copy costs 16.0 seconds of processor time a GB at both sites, the bare stream 9.9, and each takes all that there is: so 0.62 is the most. Of the
//     secondary's part a quarter is the copy into the page cache of the store, of the primary's more than half QUIC. The disk writes two bytes a byte.
//
// Everything lives in one temporary directory (-dir, by default that of the system, or /var/tmp where that one is in memory) and is
// removed at the end, also after Ctrl-C.
package main
