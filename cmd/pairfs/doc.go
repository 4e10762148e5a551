// Command pairfs serves a site of replicated volumes and commands one that runs.
//
//	pairfs mount --state DIR --name SITE --listen HOST:PORT MNT   serve a site; returns when the mount answers
//	pairfs umount MNT                                             flush, stop, unmount
//	pairfs key --state DIR                                        print the site's public key
//	pairfs peer | group | pair | volume …                         commands to a running site
//	pairfs wait --marker M                                        until a marker is restored at the other side
//	pairfs status, events, history                                what a running site does and did
//	pairfs kept list | export | drop                              what was kept aside before a resync overwrote it
//	pairfs check, journal                                         look into a state directory, offline
//	pairfs raid COMMAND …                                         RAID Manager's commands, for scripts that call them
//	pairfs demo                                                   two sites on this host, with a tour
//
// # How a running site is reached
//
// Only through the control files below MNT/.ctl, so that whatever this command can do a shell can do. The mount is the one of --mount or of
// PAIRFS_MOUNT, or else the only mount of type fuse.pairfs on the host. A command is one line written to one control file; when it is
// refused, the sentence printed is the one that a read on the same open file returned.
//
// # The daemon
//
// "pairfs mount" starts itself again as the daemon, in a session of its own, and waits on a pipe until the daemon says that the mount
// answers, or why not. The daemon's log is DIR/log (the one before it DIR/log.1); with --foreground there is no second process and the log
// goes to stderr. The daemon tells a service manager READY=1 and STOPPING=1 where NOTIFY_SOCKET is set; a unit runs it with --foreground.
//
// SIGTERM, SIGINT, SIGHUP, the command "stop" in .ctl/site and umount(8) all end it in the same way: unmount, flush, checkpoint, close. While
// the mount is busy it goes on serving and tries again for ten seconds, names in its log who holds the mount, and then cuts them off; a
// container that was begun meanwhile holds a copy of the mount in its own mount namespace. What a stop could not do is in DIR/stop-error until the next start.
//
// A site does not start while something of it is missing that may be found: --without-ring and --without-store=VOLUME say that the staging ring
// of a killed daemon, or the store of a volume, is lost for good. A volume without a store is given up with its pair, on this side alone.
//
// # Stores at rest
//
// "pairfs check --state DIR" says what of the state directory of a stopped site is missing or damaged: the database, the journals (in which journal volume,
// at which offset), the kept sets. A store has no checksums of its own. But what may differ between the two stores of a pair is known, so with both
// sites stopped
//
//	pairfs check --state DIR --sums=FILE         at one site writes checksums of the regions (64 KiB) of its pairs' stores into FILE
//	pairfs check --state DIR --compare=FILE      at the other one names the ranges of each volume that are not the same, though nothing says that they may differ
//
// Left out is what a bitmap marks on either side and what a record changes that a journal still holds. A pair that is split is compared best: in any other state
// neither site may start between the two commands. FILE is text: "pairfs sums 1", then for each pair "pair NAME GENERATION SIZE SITE VOLUME", a line "OFFSET CRC32C" for each region that is not all zeroes, or
// "OFFSET -" for one that is left out, and "end". Which side is right it cannot tell.
//
// docs/runbooks.md has, command by command, what an administrator does when a site, a link, a disk or a journal fails.
//
// # Application-consistent copies
//
// An S-VOL is always what a crash of the primary would leave: a file system or database recovers from it. A marker makes more of one moment.
// "pair mark PAIR" and "group mark GROUP" put it into the write order of the group: what was acknowledged to any host before the command stands
// before it. The command prints it as one word and returns when it is durable, in some milliseconds and without the peer. So an application needs
// to hold still for that long only:
//
//	fsfreeze --freeze /srv/db            # all that is in the page cache goes to the volume, and nothing changes
//	M=$(pairfs group mark g)             # volumes that belong together are in one group
//	fsfreeze --unfreeze /srv/db
//	pairfs wait --marker "$M" --timeout=5m
//
// A database that has a command of its own for this (a hot standby or backup mode, FLUSH TABLES WITH READ LOCK) takes the place of fsfreeze, or
// goes before it. Have a trap undo the freeze whatever happens, and keep everything that the command needs off the frozen file system.
//
// "wait" works at the primary and at the secondary, and its exit status says what became of the marker: 0 it is restored, 3 not yet, 4 broken: a
// pair was suspended before, 5 changed: a pair was resynced, swapped, deleted or created anew since, so that its history is another one. --nowait
// asks for the state at once; 3 then says that it is not restored yet. After 4 and 5 resync, wait for PAIR and place a new marker.
//
// While the pair goes on, the S-VOL goes on too: a marker that is restored says that nothing before it can be lost any more. For an image that
// stays at the marker, split there:
//
//	fsfreeze --freeze /srv/db
//	M=$(pairfs group suspend g --mark)   # the flush ends at the marker: both sides stop at its number
//	fsfreeze --unfreeze /srv/db          # at once; what is written now is marked as different
//	pairfs wait --marker "$M"            # now the S-VOLs are that image: mount them read-only, back them up
//	pairfs group resync g
//
// An ext4 file system that was split so needs no recovery. "suspend --marker=M" stops both sides at a marker that was placed before, for an
// application whose hook can only place one: what was written behind it is marked as different. It works as long as nothing written behind the
// marker was sent, on a link that lags or with an application that holds still, and is refused otherwise, for a secondary never goes back.
//
// # Output
//
// Tables and sentences are for eyes and may change. With --json a command prints what scripts may rely on: the keys are those of the control
// files, numbers are numbers, yes and no are true and false, "-" is null. "status" adds to a pair what the control files of its group and peer say: group-KEY,
// journal-used-percent, peer-connected, peer-error. A status code other than 0 comes with a sentence on stderr; see the constants in exit.go.
//
// # RAID Manager's commands
//
// Scripts, cluster agents and runbooks for storage arrays call RAID Manager's commands. They are here too, with their options, columns and exit
// statuses: as "pairfs raid COMMAND …", and by their own names, for which "make install" makes links to pairfs.
//
//	paircreate -vl -f async     pair create, with the name that -d has for the volume; -nocopy is --copy=none. The group is there already
//	                            (group create), as the journal has to be on an array; the peer is the group's, else the one of HORCM_INST, else the only one
//	  -cto 1…600, -cto 0        group set overflow-watch=… inflow-control=yes, inflow-control=no: on this side, for each side has its own
//	  -vr                       only sets -cto here: a pair is made at the site of its P-VOL
//	pairsplit, -r               suspend; it returns when the pair is split, or after -t seconds (7200)
//	  -rw                       suspend --svol-write=enable
//	  -P                        suspend --mode=purge
//	  -S                        pair delete, of each pair; the group and its journal stay
//	  -R                        pair delete --force, at the S-VOL's site
//	  -RS                       suspend and then takeover, at the S-VOL's site: SSWS whatever the primary does
//	pairresync                  resync
//	  -swaps, -swapp            resync --swap, at the S-VOL's and at the P-VOL's site
//	pairdisplay                 status; -l, -fc, -fd, -fe, -CLI, and group list with -v jnl, -v jnlt
//	raidvchkscan -v jnl         group list
//	pairvolchk, -ss             status, as an exit status; -c is of the other side
//	pairevtwait -s … -t …       pair wait; -ss waits for the S-VOLs, -nowait and -nowaits tell the status by the exit status
//	pairsyncwait                mark, then wait --marker; -nowait only marks, -m waits for a marker that there is; -t is in tenths of a second
//	horctakeover -t …           takeover; it waits 60 seconds for what the primary still has unless told otherwise
//
// -h behind a command shows its options, those that are taken without effect and those that are refused with the reason. What is not known or
// not finished, or a value out of range, is refused before anything is tried.
//
// -g names a journal group; at the secondary, where the group is GROUP@PEER, GROUP will do. Without -d all its pairs are meant, and a command
// for all of them is one command for the group, at one sequence number. -d names one: by the pair's name, by the name or path of its volume, or
// as SITE VOLUME; -g can be left out then. With -I5, or HORCMINST=5, the site is the one whose mount stands below HORCM_CMD in /etc/horcm5.conf
// (PAIRFS_HORCM_DIR is another directory for those files); it may list the volumes of groups below HORCM_LDEV with names of their own, and the
// peer of a group below HORCM_INST. The form of the file is RAID Manager's, with volumes for LDEVs.
//
// The columns are RAID Manager's. Where an array has numbers, Seq# is the name of the site, LDEV# that of the volume, CTG and JID the place of
// the group in "pairfs group list" from 0, Q-Marker a sequence number; port, TID, LU and the external volume are "-". What is not known of the
// other side is "-", and without a link to it pairdisplay fails with EX_ENORMT after this side's lines.
//
// Exit statuses above 127 are errors and come with their name and a sentence: EX_CMDRJE (221) where the site refuses, EX_INVVOL (222) and
// EX_INVSTP (228) where RAID Manager's table of what a status accepts has "rejected", EX_INCSTG (229) where only some of a group accept it,
// EX_ENORMT (242), EX_EWSTOT (233) and EX_EWSUSE (234), EX_ENOGRP (239), EX_ENODEV (246), EX_ATTHOR (251); raid_codes.go has all. What ends
// normally has 0, or the number that the command's own table has: pairvolchk 1 to 3, or 11 and 42 to 58 with -ss; pairevtwait -nowait 1 to 5;
// pairsyncwait 0 to 3; horctakeover 0 nop, 1 swap, 2 SVOL, 3 PVOL-SMPL, 4 PVOL-PSUE, 5 SVOL-SSUS. A split that is under way is told when it is
// done, PFUL is PAIR and PFUS is PSUS but with pairdisplay -fc and pairvolchk -ss.
package main
