// Command pairfs serves a site of replicated volumes and commands one that runs.
//
//	pairfs mount --state DIR --name SITE --listen HOST:PORT MNT   serve a site; returns when the mount answers
//	pairfs umount MNT                                             flush, stop, unmount
//	pairfs key --state DIR                                        print the site's public key
//	pairfs peer | group | pair | volume …                         commands to a running site
//	pairfs status, events, history                                what a running site does and did
//	pairfs kept list | export | drop                              what was kept aside before a resync overwrote it
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
// # Output
//
// Tables and sentences are for eyes and may change. With --json a command prints what scripts may rely on: the keys are those of the control
// files, numbers are numbers, yes and no are true and false, "-" is null. A status code other than 0 comes with a sentence on stderr; see the
// constants in exit.go.
package main
