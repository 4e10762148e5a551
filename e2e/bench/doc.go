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
// With -growth (make growth) something else is measured: what a write of 4 KiB costs, hosts keeping 16 under way, and what the sites cost at rest, with
// 1, 10 and 100 pairs in a group; with volumes of 1 GiB and 1 TiB; with journals from 64 MiB to 64 GiB, or half of what the disk has; and how long a
// site with 100 and with 200 pairs takes to start.
//
// Then: what idle pairs cost; initial copies beside a bare quic-go stream and TLS over TCP of the same bytes; update copies; records replicated, until
// the last is at the peer; the lag beside hosts that write at a steady rate; a restart behind kill -9; exchanges of roles and a takeover. Each section ends
// with memory and goroutines of the daemons. -json writes all of it to a file.
//
// Everything lives in one temporary directory (-dir, by default that of the system, or /var/tmp where that one is in memory) and is
// removed at the end, also after Ctrl-C.
package main
