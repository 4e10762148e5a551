// Command bench measures what a volume costs: the same fio jobs on a raw file, on an unpaired volume (SMPL) and on a primary volume
// that is replicated to a second site on this host (PAIR), in one run, on one disk, with the ratios to the raw file. Both sites, fio and
// the raw file share the machine, so read the ratios and not the figures, and compare only within one table.
//
//	make bench            three rounds of four seconds for each cell, less than ten minutes
//	QUICK=1 make bench    three rounds of one second, less than three minutes
//
// Within a round the three targets take turns, so that what else happens on the machine hits all of them. A cell is the median of its
// rounds. After each job on the pair the bench waits until the secondary holds everything, so that no job pays for the one before.
// Everything lives in one temporary directory (-dir, by default that of the system, or /var/tmp where that one is in memory) and is
// removed at the end, also after Ctrl-C.
package main
