// Command bench measures what a volume costs, beside the raw disk and in the same run. Both sites, the load and the raw file share one machine and one
// disk, so read the ratios and not the figures, and compare only within one table.
//
//	make bench             three rounds of 1.5 seconds for each cell, less than 15 minutes
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
// daemons behind its file and for each 10⁹ bytes of the host's, includes that. When the journal of the cut volume has no room for another job its pair is made anew.
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
// Everything lives in one temporary directory (-dir, by default that of the system, or /var/tmp where that one is in memory) and is
// removed at the end, also after Ctrl-C.
package main
