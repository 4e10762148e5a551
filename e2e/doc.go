// Package e2e proves the whole product from outside: two (or three) site processes, each with its own state directory and its own
// mount, real QUIC over loopback, a fault proxy in each direction, self-describing writes, and the checker of package prefix, which shares no
// code with what it checks.
//
//	                history (memory of the test)
//	                    ▲ begin, ack, sync
//	  workload ─────────┘                                    checker ◀── history
//	     │ write, fsync, discard (O_DIRECT)                     ▲ read (O_DIRECT)
//	     ▼                                                      │
//	┌── mount ──┐    proxy osaka ─▶ drop, delay, blackhole ─▶ ┌── mount ──┐
//	│   tokyo   │ ──────────────────────────────────────────▶ │   osaka   │
//	│  process  │ ◀────────────────────────────────────────── │  process  │
//	└── state ──┘ ◀─ drop, delay, blackhole ◀─ proxy tokyo    └── state ──┘
//
// A site knows its peer only under the address of a proxy, so that every packet passes one, whichever side dials.
//
// What is proved, in the words of the invariants:
//   - order and prefix (I1, I4): while writers run over three volumes of a group, every look at the S-VOLs (after a suspend, after the
//     link was cut, after a kill of either side) is explained by one prefix of the history, see [CheckFiles];
//   - the promise to the host (I2): after kill -9 every acknowledged write is there; after a kill with loss of the staging ring, which is
//     what a power cut leaves, every write that a sync covered and every synchronous one is there, and the rest is a prefix;
//   - the narrow moments: a daemon dies at each of the points that package crashpoint names, before and after a flush, a commit, an
//     acknowledgement, an exchange of the roles, on either side (TestCrashPoints), and at random moments, again and again (TestSoak);
//   - what a takeover gives up: hosts go on from the prefix that had arrived ([History.Fork]), and of the side that loses in the end nothing may come
//     back, while all of it was kept aside;
//   - no silent difference (I5): whatever was suspended, written on either side and resynchronised ends in equal volumes, having moved
//     what changed and not more;
//   - links that are bad, as a table ([Link], TestBadLinks): loss, reordering, duplicates, damaged bits, 2 s of latency, an MTU of 1280 of which nobody
//     is told, addresses that change in mid-stream: PAIR holds and everything arrives over the link as bad as it is; and links that are
//     lost, in one direction or both (TestDeadLinks): PSUE on both sides, no sooner than path watch time. Memory and threads of the daemons
//     are bounded meanwhile ([Footprint]), and what they take of a processor is printed. Most rows run with PAIRFS_LONG=1 alone; exact
//     moments, and peers that are connected and say nothing, are in virtual time in package replica (make links);
//   - a link that is too slow: two sites on two hosts with a cable of a limited rate between them ([Wire]), hosts that write more than it
//     carries, and the states that their pair passes through, as its events tell them ([Passage]); how long writes took is printed
//     ([Meter]) and never asserted;
//   - load, with PAIRFS_LOAD=duration at length (`make load`): 200 volumes in 20 groups; 64 writers whose writes are in flight over one another, and have
//     one order that both sides have; and an hour of full load, full journals and 10,000 commands, behind which
//     [Flat] finds that no site takes more of its host than after a quarter of it ([Samples]);
//   - the runbooks: every block of docs/runbooks.md is pasted into a shell as it stands there ([ParseRunbooks]), with the failure that it
//     is for in between, and prints what the page says; what hosts wrote is in the files in the end;
//   - a disk that fails below site.db, in each step of a commit (TestDatabaseDisk, package faultfs);
//   - the doors: every command that must be refused is, with its errno and its sentence, and changes nothing;
//   - the volume as a file: everything a host may do to one, file systems on loop devices, fio with verification; random operations by read,
//     write, O_DIRECT, mappings, truncate, fallocate, copy_file_range and lseek against a model, from processes of their own, over kills, restarts,
//     splits and exchanges of the roles (TestFsx; `make fsx` at length); the tests of go-fuse, but those for what volumes are not;
//   - known suites, with PAIRFS_SUITES=1 (`make suites`): fio in every mode, verified again behind a kill -9 and at the other side, and stress-ng on
//     ext4 and xfs with discard, clean and equal on both sides in the end;
//   - the day of a disaster, with PAIRFS_APPS=1 (`make apps`): databases that are taken over under load have what they had reported as committed
//     before the last restored marker, file systems are clean after takeovers at random moments, planned switchovers lose nothing of what fio
//     wrote, and how long hosts paused is printed and never asserted;
//   - the power cut of a machine, with PAIRFS_POWERCUT=n (`make powercut`): the primary is in a virtual machine whose disk loses what was not
//     flushed, see package machine. Started again from what is left it has all that a sync covered, as one prefix, the secondary has
//     nothing that it has not, and the pairs go on without a copy.
//
// The parts: [Site] runs one daemon and speaks to it only through its control files and the command line; [Link] holds the proxies of two
// sites; [Workload] writes, from goroutines and from processes of its own ([ServeWriter]), and [History] remembers; package prefix decides ([CheckFiles]). Every test prints its seed; PAIRFS_SEED runs it again with the
// same one. PAIRFS_LONG=1 makes the faults more and the volumes larger, and stress-ng ten minutes of its work. PAIRFS_BIN names a binary to test instead of building one. The
// record of what these tests found is bugs.md.
package e2e
