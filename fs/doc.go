// Package fs shows a site as a FUSE file system: volumes as files, and control files by which everything is commanded and seen. It
// holds no rule of replication; what a call may do is the site's decision, and this package turns the answer into an errno.
//
// # The tree
//
//	MNT/NAME                a volume, mode 0600, or 0400 while hosts may not write to it
//	MNT/.ctl/               mode 0700; the files below have mode 0600
//	    site pairs events metrics history kept
//	    PAIR                one for each pair
//	    groups/NAME peers/NAME volumes/NAME
//	    kept.d/NAME/image kept.d/NAME/list      mode 0400, one folder for each kept set
//
// Creating a file in MNT makes a volume of size 0; truncate(2), fallocate(2) and writing give an unpaired volume its size. Removing and
// renaming work for unpaired volumes (EBUSY otherwise); a rename never replaces a volume (EEXIST). There are no other directories, links or
// special files (EPERM), and no extended attributes. Names are 1 to 100 bytes of letters, digits, '.', '_' and '-', not beginning with '.'
// (EINVAL).
//
// # Volumes
//
// Volumes are opened for direct I/O, with parallel writes and asynchronous direct I/O: every read and write of a host is a request to the
// site, nothing is kept or delayed by the kernel. One write(2) that is aligned to pages and not longer than 1 MiB is one request and one
// record of the journal; the kernel splits others.
//
//   - A write with O_SYNC, O_DSYNC or RWF_DSYNC is durable when it returns. fsync(2) and fdatasync(2) are the same: everything written
//     before is durable. close(2) promises nothing.
//   - A write that waits for room is ended by a signal with EINTR, before it became a record. A write that became one is never reported
//     as interrupted, and neither is an fsync.
//   - Writes that wait take no other volume and no control file with them, up to about a hundred of them at a time on one mount.
//   - Opening for writing what hosts may not write is EROFS, for root as well.
//   - Truncation to another size is the site's to refuse: EBUSY while the volume is paired, of which an event says why, as of a removal or renaming. That includes O_TRUNC, which shells use for >, and a
//     fallocate past the end.
//   - fallocate(2) knows reservation, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE with FALLOC_FL_KEEP_SIZE, and FALLOC_FL_ZERO_RANGE with
//     or without it; others are EOPNOTSUPP. lseek(2) knows SEEK_DATA and SEEK_HOLE, and a paired
//     volume is all data to it until what was written is restored. copy_file_range(2) becomes reads and writes.
//   - mmap(2) works. read(2), O_DIRECT and copy_file_range(2) see at once what was written through a mapping, and a mapping what was written
//     in another way. Until msync(2), fsync(2) or such a read hands a written page over it is the kernel's alone: it is lost if the daemon
//     dies, and lseek(2) may take it for a hole. Pages of a mapped S-VOL are dropped from the kernel's cache some milliseconds after newer bytes were restored; that
//     is the only delay with which a volume can be seen.
//   - Owner and mode are fixed: chown and a chmod of the owner's bits are EPERM, other bits of a mode and times are ignored.
//
// # Control files
//
// One write(2) is one command: one line of at most 4096 bytes, with or without its newline, a word and then options key=value. The offset
// of the write means nothing. A word or option that is not known, given twice, or missing is refused with the list of what is known. The
// write returns once the change is accepted and durable, not when what it began has finished; signals do not end it.
//
// What was refused comes back as an errno with one meaning each:
//
//	EINVAL        the words or values make no sense     ENOSPC        journal, store, memory bound or quota is exhausted
//	ENOENT        no such volume, pair, group or peer   EHOSTUNREACH  the peer cannot be reached
//	EEXIST        the name is taken                     ETIMEDOUT     the time was over first
//	EBUSY         not possible in this state            EACCES        the peer does not allow it
//	EROFS         the volume or pair is secondary here  EIO           a failure of this site
//
// The next reads of the same open file return the answer up to its end, whatever their offset: "ok", "ok: " and a sentence where a command
// that was carried out has something to say, or "error: " and the sentence that says what was wrong and what to do. A refused command is an event too. Reading from offset 0 after that, and any read of a file to which
// nothing was written, gives the state: fixed at the first read of an open file, so that a long text is of one moment.
//
// Opening a name that does not exist in .ctl, groups or peers with O_CREAT gives a file for the command that makes the object. The name
// appears when that command has succeeded. O_EXCL with O_CREAT, a size above 0, and a rename into .ctl are EPERM: they are parts of a mv, which
// would lose the volume that it believes to have copied.
//
//	site          stop
//	              set copies=N
//	              wait marker=M [timeout=TIME]
//	PAIR          create volume=V peer=P [remote=V] [group=G] [copy=full|none] [OPTION=VALUE …]
//	              set OPTION=VALUE …
//	              suspend [mode=flush|purge] [svol-write=enable|disable] [mark=yes|no] [marker=M]
//	              mark
//	              resync [mode=normal|swap] [discard=here|there]
//	              takeover [timeout=60s]
//	              differences [ranges=yes|no] [mode=swap] [discard=here|there]
//	              delete [mode=normal|force]
//	groups/NAME   create [size=SIZE] [volumes=N] [OPTION=VALUE …]
//	              add-volume size=SIZE
//	              remove-volume number=N
//	              set, suspend, mark, resync, takeover, differences, delete as for a pair, each for all pairs at one sequence number
//	peers/NAME    add address=HOST:PORT key=SHA256:… [create=SIZE]
//	              remove
//	volumes/NAME  reserve peer=P
//	              release
//	kept          drop name=NAME | older=AGE
//
// add again without create leaves the space that a peer may take as it is; create=0 takes it away. remote is the volume's own name, group is "default", size 1GiB and volumes 1 unless given. Sizes are read by [ParseSize]. The options of
// groups, pairs and the site, with their ranges, are those of [replica.OptionNames]; a set changes all that it names or, refused, none. The value
// default takes back what was set here.
//
// svol-write=enable lets hosts write the S-VOL while it is split: given on the primary when the split begins, or on the secondary at any
// time before the next resync, which ends it and overwrites what they wrote. disable, the default, is refused where hosts may write already.
//
// takeover lets hosts write the S-VOL. Its answer begins with what it was: "ok: swap-takeover: …" where the primary could be reached in PAIR and
// the roles were exchanged, SVOL-takeover where the pair was split and SVOL-SSUS-takeover where the primary was out of reach (SSWS from then
// on), nop-takeover where hosts write here already. timeout (up to 1h) is how long the primary and what it still has to send are waited for:
// ETIMEDOUT means that it was reached and not all came, and that nothing was changed. resync mode=swap, at either side, joins a pair that was taken over
// again, with the side that was taken over as the primary; discard names the side, seen from where it is given, whose writes are given up
// where both have what the other lacks. They are kept aside first, so that a resync may take its time; EINVAL says that mode and discard
// contradict each other. Roles are exchanged for a whole group: a pair of several in a group is EBUSY.
//
// mark puts a marker into the order of the group: everything that was acknowledged to any host of the group before stands before it, and
// when the write returns it is durable. The answer is "ok: marker M …", M being one word, NAME/EPOCH-NUMBER. It speaks of the pair, or of all
// pairs of the group, which must be in PAIR. suspend mark=yes makes the suspend record of a flush the marker: both sides stop there, and the
// answer begins in the same way. suspend marker=M stops both sides at a marker that was placed before, with what hosts wrote behind it marked as
// different; it is EBUSY once the secondary has records from behind it.
//
// wait is a question, and either side answers it: what became of a marker. Its answer goes on behind "ok" with the text of the marker in the
// form below (marker state group role peer pairs seq restored note). The write returns at once; the read behind "ok" waits, a signal ends it
// (EINTR) and the next one waits on, and the end of the mount ends the wait. 32 open files may wait, further ones are EBUSY. state is
//
//	done      everything before the marker is restored at the secondary, in its stores and checkpointed; it stays done while pairs are split
//	waiting   not yet, and timeout (0s unless given, 60s at most) is over
//	broken    a pair was suspended before the marker was restored, as far as this side knows. The secondary knows where its volume stopped.
//	          The primary counts what it has confirmed; while it is not heard that may be less than it restored, and the note says so
//	changed   the history is another one: a pair of the marker was resynced, swapped, deleted or created anew. A resync counts from when the
//	          secondary grants it, and a pair that joins the group later does not
//
// A marker whose pair or group is not known here at all is ENOENT.
//
// differences is a question and changes nothing: what was changed since a split, as both sides know it. Its answer goes on behind the line
// "ok" with text in the form below for each pair (pair role status peer peer-status p-vol-bytes s-vol-bytes both-bytes overwritten-bytes
// resync-bytes note; "-" is not known) and then, unless ranges=no, one line for each range of bytes: where it was changed (p-vol, s-vol, both),
// offset and length, ascending. A resync copies all of them; what is s-vol or both was written at the S-VOL and loses. note says what is not
// known when the peer cannot be asked, and why there is nothing to list where the pair is not split. With mode=swap or discard= it is what a resync
// with these options would overwrite: only those ranges are listed, overwritten-bytes counts them, a line loses (p-vol, s-vol) says at which side
// they are, and note which side goes on and why the resync would be refused, if it would. The text is of one moment, is made as it is
// read, and as long as there are ranges; four open files may have one that is not read to its end, further ones are EBUSY.
//
// # Kept sets
//
// What hosts wrote on the side that loses a resync is kept aside before it is overwritten, in the state directory. kept lists the sets, one
// per line, as pairs does; bad says why one cannot be read. The answer to drop says what was removed and how much that frees; an age is a
// number with s, m, h or d, and a set that cannot be read has none. kept.d shows each set as it is: image has the size of the volume and
// holds the kept ranges, zeroes elsewhere, which are holes for lseek(2); list is text that says which ranges were kept, with checksums and
// with what is known of the volume (its format is in replica/kept_list.go). Both are only read (EPERM), by sixteen open files at most
// (EBUSY). Every range is checked as it is read: what is damaged is EIO, and an event says what.
//
// # The text of the state
//
// "key: value", one per line, keys in a fixed order to which later versions only append. Bytes are plain integers, percents have one
// decimal, seconds three, times are RFC 3339 in UTC with milliseconds, truth is yes or no, what is empty is "-". A line without ": " is
// configuration, written as the command that makes it; such lines come first, where the object was made here. A journal whose journal volumes
// are of several sizes has more than one.
//
//	site          name fingerprint listen state version pid started memory-limit memory-used volumes pairs groups peers options
//	              kept-sets kept-bytes
//	PAIR          name volume remote-volume peer group role status suspend-type peer-status split-left-seconds size generation consistent linked copied-bytes
//	              copied-percent copy-left-bytes copy-rate eta-seconds lag-records lag-bytes lag-seconds different-bytes svol-write
//	              suspend-seq since options last-error host-write-rate host-byte-rate copy-byte-rate lag-known
//	              kept-sets kept-bytes
//	              lag-p50-seconds lag-p99-seconds lag-max-seconds lag-p50-bytes lag-p99-bytes lag-max-bytes
//	              taken-over taken-over-seq taken-over-time peer-unheard suspend-reason
//	groups/NAME   name role peer peer-group mirror journal-status linked pairs journal-volumes journal-volume-N capacity-bytes used-bytes
//	              used-percent over-high-water-mark unrestored-records heard ring-bytes ring-used-bytes appended durable restored peer-durable peer-restored sent-bytes received-bytes saved-bytes base-sent-bytes
//	              waited-room options failed store-error window-seconds host-write-rate host-byte-rate copy-byte-rate restore-byte-rate
//	              read-journal-rate mirror-byte-rate paths response-seconds response-max-seconds lag-p50-seconds lag-p99-seconds
//	              lag-max-seconds lag-p50-bytes lag-p99-bytes lag-max-bytes header-bytes header-percent different-bytes reconnects
//	              checksum-errors lag-records lag-bytes lag-seconds lag-known adding-bytes
//	peers/NAME    name address key connected since quota-bytes quota-used-bytes last-error
//	volumes/NAME  name size-bytes allocated-bytes role pair reserved open writable
//
// copied-bytes and copied-percent are "-" at an S-VOL whose copy is not complete: only the primary knows what is left, and consistent is no.
// lag-bytes and lag-seconds of a pair are of its own records that the peer does not hold durably, those of a group of all. At an S-VOL they are
// what the primary said last, once a second. lag-known is no at an S-VOL while the mirror is down: lag-bytes is "-" and lag-seconds how long ago
// the primary was heard; what it wrote since is not known. It is no as well where the journal of a group cannot be opened. At an S-VOL whose
// primary was switched off (PSUE, MCU P/S OFF) they are at most what the primary had then and could not bring there, 0 if it brought all.
//
// last-error is the last sentence about the pair: that of a refused command until one is obeyed or the status changes, or of a failure.
// suspend-reason is the one with which a suspended pair was suspended, whatever was refused since.
//
// adding-bytes is what add-volume is writing at this moment: the journal volume is there when that has ended.
//
// taken-over is yes, on both sides once the primary has heard of it, from a takeover that exchanged no roles (SSWS) until it is settled by a
// resync or a delete; taken-over-seq and taken-over-time are of the last record that the S-VOL had then. peer-unheard is yes at a primary that
// was started and has not heard its peer since: a takeover there cannot be ruled out.
//
// pairs has one line for each pair: its name, then role, status, volume, peer, group, copied-percent, lag-seconds, lag-bytes, suspend-type
// and lag-known as key=value, a value with blanks in quotes. kept has one line for each kept set: its name, then pair, volume, peer, site,
// role, size-bytes, generation, sequence, split-sequence, held, kept, ranges, range-bytes, data-bytes, allocated-bytes, why and bad. metrics is in the text form of Prometheus, and begins
// with what the daemon takes of its host: open files, memory, threads and goroutines under their usual names (process_open_fds, go_goroutines …). events gives one line per event,
//
//	ID TIME LEVEL OBJECT: text
//	ID TIME LEVEL OBJECT CODE: text
//
// where OBJECT is one word (pair/pair0, peer/osaka, site, kept) and CODE, where there is one, is that of a storage array for the same: 2180
// path blocked, 2181 path restored; DC0x path lost for good, DC1x failure in the primary, DC2x failure in the secondary, DC4x split and
// DC5x deleted at the secondary, all told by the primary; DC6x path lost for good, DC7x failure here, told by the secondary. It begins with the events that are remembered and then waits for the next one;
// a signal ends the wait (EINTR), O_NONBLOCK asks not to wait (EAGAIN), and the end of the mount is the end of the file.
//
// history gives what was asked for and what became of it, oldest first, the newest 10,000 at most:
//
//	TIME kind=command by="uid 0 pid 4711" uid=0 pid=4711 object=pair/pair0 group=g what="suspend mode=purge" result=EBUSY code=- text="why"
//	TIME kind=status by="peer osaka" uid=- pid=- object=pair/pair0 group=g what=PSUS result="S-VOL by operator" code=DC4x text=-
//
// A command is there with its caller, as it was written but for the values of keys, and with "ok" or the errno that the write returned.
// Status changes say who asked: a process of this host, the peer, or pairfs itself. Each command that is written to a control file, refused
// or not, is one line of the file audit in the state directory too, on the disk before the write returns; a full file is kept as audit.1.
//
// # The process
//
// The process that serves a mount must never touch it, not even by opening a file there. A panic in a handler ends the process. A mount
// whose daemon died answers ENOTCONN to everybody until the next [Mount] at the same place takes it away.
package fs
