// Command pairfs serves a site of replicated volumes and commands one that runs.
//
//	pairfs mount --state DIR --name SITE --listen HOST:PORT MNT   serve a site; returns when the mount answers
//	pairfs umount MNT                                             flush, stop, unmount
//	pairfs key --state DIR                                        print the site's public key
//	pairfs peer | group | pair | volume …                         commands to a running site
//	pairfs wait --marker M                                        until a marker is restored at the other side
//	pairfs status, events, history                                what a running site does and did
//	pairfs check, journal                                         look into a state directory, offline
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
// the mount is busy it goes on serving and tries again for ten seconds, names in its log who holds the mount, and then cuts them off. What a
// stop could not do is in DIR/stop-error until the next start.
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
// files, numbers are numbers, yes and no are true and false, "-" is null. A status code other than 0 comes with a sentence on stderr; see the
// constants in exit.go.
package main
