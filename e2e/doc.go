// Package e2e proves the whole product from outside: two (or three) site processes, each with its own state directory and its own
// mount, real QUIC over loopback, a fault proxy in each direction, self-describing writes, and a checker that shares no code with what
// it checks.
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
//     link was cut, after a kill of either side) is explained by one prefix of the history, see [Check];
//   - the promise to the host (I2): after kill -9 every acknowledged write is there; after a kill with loss of the staging ring, which is
//     what a power cut leaves, every write that a sync covered is there, and the rest is a prefix;
//   - the narrow moments: a daemon dies at each of the points that package crashpoint names, before and after a flush, a commit, an
//     acknowledgement, an exchange of the roles, on either side (TestCrashPoints), and at random moments, again and again (TestSoak);
//   - what a takeover gives up: hosts go on from the prefix that had arrived ([History.Fork]), and of the side that loses in the end nothing may come
//     back, while all of it was kept aside;
//   - no silent difference (I5): whatever was suspended, written on either side and resynchronised ends in equal volumes, having moved
//     what changed and not more;
//   - a link that is too slow: two sites on two hosts with a cable of a limited rate between them ([Wire]), hosts that write more than it
//     carries, and the states that their pair passes through, as its events tell them ([Passage]); how long writes took is printed
//     ([Meter]) and never asserted;
//   - load, with PAIRFS_LOAD=duration at length (`make load`): 200 volumes in 20 groups; 64 writers whose writes are in flight over one another, of
//     which [CheckOverlapping] finds one order that both sides have; and an hour of full load, full journals and 10,000 commands, behind which
//     [Flat] finds that no site takes more of its host than after a quarter of it ([Samples]);
//   - the runbooks: every block of docs/runbooks.md is pasted into a shell as it stands there ([ParseRunbooks]), with the failure that it
//     is for in between, and prints what the page says; what hosts wrote is in the files in the end;
//   - a disk that fails below site.db, in each step of a commit (TestDatabaseDisk, package faultfs);
//   - the doors: every command that must be refused is, with its errno and its sentence, and changes nothing;
//   - the volume as a file: everything a host may do to one, file systems on loop devices, mmap, fio with verification;
//   - the day of a disaster, with PAIRFS_APPS=1 (`make apps`): databases that are taken over under load have what they had reported as committed
//     before the last restored marker, file systems are clean after takeovers at random moments, planned switchovers lose nothing of what fio
//     wrote, and how long hosts paused is printed and never asserted;
//   - the power cut of a machine, with PAIRFS_POWERCUT=n (`make powercut`): the primary is in a virtual machine whose disk loses what was not
//     flushed, see package machine. Started again from what is left it has all that a sync covered, as one prefix, the secondary has
//     nothing that it has not, and the pairs go on without a copy.
//
// The parts: [Site] runs one daemon and speaks to it only through its control files and the command line; [Link] holds the proxies of two
// sites; [Workload] writes, from goroutines and from processes of its own ([ServeWriter]), and [History] remembers; [Check] decides. Every test prints its seed; PAIRFS_SEED runs it again with the
// same one. PAIRFS_LONG=1 makes the faults more and the volumes larger. PAIRFS_BIN names a binary to test instead of building one. The
// record of what these tests found is bugs.md.
package e2e
