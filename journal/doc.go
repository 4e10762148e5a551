// Package journal is the write-ahead log of one journal group: records in one order, kept in journal volumes that are filled one after
// the other and reused in a ring, to which volumes are added and from which they are removed while it is in use, and staged in shared memory so that a write is acknowledged at memory speed. It knows nothing of pairs; a data
// volume is a number in a record. This comment is the specification of the format.
//
// # Promises
//
//   - A published record survives the death of the process (kill -9), through the staging ring. Publish is the acknowledgement.
//   - A record before the durable mark, which Sync moves, survives a power cut, and so does every record before it.
//   - After any crash Open gives a prefix of what was published, beginning at the head: nothing before the durable mark is missing,
//     sequence numbers are dense, no record is torn, and nothing that was lost in an earlier crash comes back later.
//   - A change of the journal volumes is durable when it is accepted. A crash at any place of it leaves all of the above as it is, and the
//     old layout or the new one.
//   - A failed flush is final: the journal is failed, every later Reserve and Sync gives ErrFailed, and nothing is written again. After
//     a failed fdatasync nobody knows which pages are on disk, so trying again would only hide that. Cursors go on.
//   - The checksum computed when a record entered is kept and checked, never computed anew.
//
// # Assumptions
//
// After fdatasync returns without error, what was written before is there after a power cut. A write that was not synced may be there
// in any part, by sectors, and in any order. Damage to what was synced is found by checksums, not mended. The header of a record and
// its payload may be torn apart; a page that was synced is never written again until it is freed, so no assumption on atomic sectors is
// made. The staging ring is ordinary memory of this machine: it is trusted after the death of a process, and gone after a restart.
//
// # Positions and numbers
//
// A Position is a byte position in an address space that never ends and is never used twice. Volume spans follow one another in it: journal volume 1,
// 2, … n, 1, …, each as long as its data area, until the layout changes. A record starts at a multiple of 64 and takes 64 bytes and its payload, rounded up to 64. It never
// spans two journal volumes: the rest of one is filled by a pad, so the first bytes of every data area are a record header, once written.
//
// A Seq is the number of a record in its group. The rule, checked on append and on recovery: update, discard, control and skip
// have the number of the record before plus 1; a control or skip with FlagEpoch has any higher number; base records, pads and records
// with FlagLocal have the number of the record before. Before the first record it is 0.
//
// # Marks
//
//	freed ≤ durable ≤ appended ≤ reserved        released ≤ appended
//
// Ring memory is reused when it is both durable and released; space of journal volumes when it is freed: the journal grows up to the first place
// in which something stands that is not, which without changes of the layout is freed + capacity. The caller persists the Head that FreeHead
// gives before it calls Free with it. At most 32 MiB are reserved beyond the durable mark.
//
// # Record
//
// All numbers are little endian. Bytes written as 0 are reserved: a record that has another value there is refused.
//
//	    0      2     3     4            8                       16
//	 0  | magic| ver | kind| volume     | position              |
//	16  | seq                           | offset                |
//	32  | length                        | time                  |
//	48  | flags| 0          | synced    | crc        | hcrc     |
//	64  | payload … zeroes up to a multiple of 64              |
//
//	at  size
//	 0  2  magic     0x4A50 ("PJ")
//	 2  1  version   1
//	 3  1  kind      0 none, 1 pad, 2 base, 3 update, 4 discard, 5 control, 6 skip
//	 4  4  volume    number of the data volume; 0 if none
//	 8  8  position  of this record
//	16  8  seq       by the rule above
//	24  8  offset    in the data volume; offset + length ≤ 2^63
//	32  8  length    bytes affected; base, update, control: the payload, at most 1 MiB; pad: the pad with its header
//	40  8  time      wall clock when the record entered its first journal, Unix nanoseconds; 0 in pads
//	48  2  flags     1 zero (base: no payload, the range is zeroes), 2 local (does not advance seq), 4 epoch (control, skip)
//	50  2  0
//	52  4  synced    (position − durable mark when the record was reserved) / 64; all ones: unknown
//	56  4  crc       CRC32C over bytes 16–47, 4–7, 48–49, 3, a zero byte, and the payload, in that order; end to end
//	60  4  hcrc      CRC32C over the journal id and bytes 0–59: the record belongs to this journal and position
//
// Pad, discard, skip and base with flag zero have no payload. A pad's bytes behind its header are zeroes. A record that travels to a peer keeps its bytes 0–55 and
// crc; position, synced and hcrc mean nothing there and are written anew by the journal that takes it in.
//
// In the ring bytes 56–63 are one aligned word. Reserving a record writes bytes 0–55 and then the word {0, hcrc for crc 0, xor 0xA5A5A5A5};
// publishing stores {crc, hcrc} at once. So whoever walks the ring sees of each record whether it is published, and can step over it.
//
// # Journal volume
//
// Files DIR/000001, 000002, …; page 0 is the header, the data area follows. They are made under the name plus ".new", filled with
// zeroes, synced, and renamed, the first one last: a journal exists if 000001 does. Sizes may differ.
//
//	at  size
//	 0  8  magic     "PAIRFSJV"
//	 8  4  version   1; 2: the journal has a layout file
//	12  4  number    from 1
//	16 16  journal id, random
//	32  8  bytes of the data area, a multiple of 4096
//	40  8  time of creation of the journal, Unix nanoseconds
//	48  4  version 1: number of journal volumes that Create made; version 2: 0
//	52  8  0
//	60  4  CRC32C over bytes 0–59
//	64     zeroes up to 4096
//
// # Layout
//
// A layout is the order in which journal volumes are filled, from a position on, the base: a cycle of them, round after round. Before the
// base lies the past, the spans that were filled under earlier layouts, back to the oldest that is needed. A journal volume in the
// cycle is active (joining, as long as the tail is before the base of the layout that added it); one only in the past is leaving.
//
//	cycle 1 2 3; the tail is in 1, the oldest needed record in 2     … 2 3 1 2 3 1 2 …
//	                                                                   └freed └tail
//	4 is added: it comes next when 1 is full                         … 2 3 1 │ 4 2 3 1 4 2 …       base at │
//	3 is removed: what stands in it is needed until it is freed      … 2 3 1 │ 4 2 1 4 2 1 …
//	1, which is being filled, is removed: its span ends with the     … 2 3 1│ 4 2 4 2 …
//	page in which the tail lies
//
// So a change takes effect at the end of the span that is being filled, and several may be under way. A span always begins at the beginning of a data
// area. An addition makes room as soon as it is accepted, except when the tail has come up behind the freed mark in the same journal volume:
// then when the freed mark leaves it. Numbers are never given twice. A journal volume without a needed byte is not in the layout any more, and its file is removed.
//
// A journal that was never changed has no layout file: its cycle is 1, 2 … n, the head tells where it begins, and an older program can use it. The first
// change makes the file DIR/layout of two pages. Generation g stands in page g modulo 2, and the highest valid one holds. So the page that holds is never
// written over, and no assumption on atomic sectors is made. A layout is written twice, in two generations that follow each other: then both pages stand
// for it, and one that is damaged later is made good from the other at the next Open. Generation 1 stands alone.
//
//	at  size
//	 0  8  magic     "PAIRFSJL"
//	 8  4  version   2
//	12  4  number for the journal volume that is added next
//	16 16  journal id
//	32  8  generation, from 1
//	40  8  time of creation of the journal, Unix nanoseconds
//	48  8  base, a multiple of 4096
//	56  1  entries in the list of journal volumes, 1 to 64
//	57  1  entries in the past, 0 to 65
//	58  1  entries in the cycle, 1 to 64
//	59  1  0
//	60  4  CRC32C over bytes 0–59 and 64–4095
//
//	  64  24 each: journal volumes by number: number 4, 0 4, bytes of the data area 8, first position that it was filled from since it was added (0: Create) 8
//	2048  16 each: the past: first position of the span 8, place of its journal volume in the list from 0 4, 0 4; it ends where the next begins, or at the base
//	3584   4 each: the cycle: place in the list
//
// The steps of a change, each made durable before the next:
//
//	first change only   layout.new written, renamed to layout: generation 1, the layout that holds already
//	                    the header of 000001 gets version 2, by which an older program refuses the journal
//	addition            NNNNNN.new preallocated, filled with zeroes, header written; renamed to NNNNNN
//	addition, removal   the next two generations are written; Reserve waits at the base meanwhile, so that no record stands there before
//	end of a removal    when nothing of it is needed: the next two generations, without it
//	                    its file is removed; 000001 is cut to its header instead, because of the older program
//
// After a crash Open makes what it reads durable, then removes files with this journal's id that the layout does not list. With generation 1 the header of
// 000001 may be torn in version, count and checksum; it is written again. When writing a generation fails, nobody knows which one the next
// Open finds, so the journal is failed. What fails earlier leaves all as it was.
//
// # Staging ring
//
// A file on tmpfs: one header page, then the ring, a power of two from 4 to 256 MiB, mapped twice back to back. Position p stands at p
// modulo its size. It belongs to one run of the machine, so its layout may change with any version; another version is not taken.
//
//	at  size
//	 0  8  magic "PAIRFSR1"   8 4 version 1   12 4 0   16 16 journal id   32 16 boot id   48 8 size   56 4 0   60 4 CRC32C over bytes 0–59
//	64  8  durable mark, stored after each flush
//
// # Flush
//
// A flush ends the last page with a pad, waits until everything reserved before is published, writes whole pages from the ring with
// O_DIRECT, and calls fdatasync once per span touched. A Sync that finds no flush running does it itself; who comes meanwhile waits, and is
// served by the committer goroutine. The committer also flushes when 1 MiB is unflushed and when FlushDelay has passed.
//
// # Recovery
//
// Open walks from the head to the first place where no valid record stands, and looks 34 MiB ahead from there, which is further
// than an interrupted flush can have written. A header is sealed if magic and hcrc are right, whatever its version. What stands at the tail and the three facts
//
//   - the tail lies before a position known to be durable (given by the caller, or from the ring),
//   - proof: a later sealed header of this lap whose synced mark lies beyond the tail,
//   - later: a later sealed header of this lap
//
// decide by this table; testdata/recovery.txt has it written out in full.
//
//	at the tail                               before known  proof  later  outcome
//	a sealed header of a newer version             *          *      *    newer: ErrVersion
//	anything else                                 yes         *      *    damaged: ErrCorrupt
//	anything else                                 no         yes     *    damaged: ErrCorrupt
//	sealed, but fields, place or seq are wrong    no         no      *    damaged: ErrCorrupt
//	sealed, but crc or payload is wrong           no         no      *    torn: cut here
//	zeroes, older lap, or no header               no         no     yes   torn: cut here
//	zeroes, older lap, or no header               no         no     no    clean
//
// A cut also zeroes what the interrupted flush left behind the tail: it has right positions and maybe right numbers, and would be taken for a
// continuation of what is written there next. Then records that only the ring holds are appended: those published
// as they are; one reserved and never published becomes a skip of its number with a pad over its payload, or a pad alone if it has no
// number. A pad ends the page, all is synced, and the ring is emptied.
//
// # Example
//
// A journal of one journal volume of 4 MiB with the id a0…af, and two updates of data volume 7, "hello" at offset 4096 and "world!" at
// 8192, one second after the epoch, each synced. Lines of zeroes are left out.
//
//	00000000  50 41 49 52 46 53 4a 56  01 00 00 00 01 00 00 00  |PAIRFSJV........|
//	00000010  a0 a1 a2 a3 a4 a5 a6 a7  a8 a9 aa ab ac ad ae af  |................|
//	00000020  00 f0 3f 00 00 00 00 00  00 00 00 00 00 00 00 00  |..?.............|
//	00000030  01 00 00 00 00 00 00 00  00 00 00 00 ab 7a 2c 99  |.............z,.|
//	00001000  50 4a 01 03 07 00 00 00  00 00 00 00 00 00 00 00  |PJ..............|
//	00001010  01 00 00 00 00 00 00 00  00 10 00 00 00 00 00 00  |................|
//	00001020  05 00 00 00 00 00 00 00  00 ca 9a 3b 00 00 00 00  |...........;....|
//	00001030  00 00 00 00 00 00 00 00  90 33 6b cc e1 37 d4 c9  |.........3k..7..|
//	00001040  68 65 6c 6c 6f 00 00 00  00 00 00 00 00 00 00 00  |hello...........|
//	00001080  50 4a 01 01 00 00 00 00  80 00 00 00 00 00 00 00  |PJ..............|
//	00001090  01 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|
//	000010a0  80 0f 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|
//	000010b0  00 00 00 00 02 00 00 00  17 7e a8 41 d1 fa 09 6c  |.........~.A...l|
//	00002000  50 4a 01 03 07 00 00 00  00 10 00 00 00 00 00 00  |PJ..............|
//	00002010  02 00 00 00 00 00 00 00  00 20 00 00 00 00 00 00  |......... ......|
//	00002020  06 00 00 00 00 00 00 00  00 ca 9a 3b 00 00 00 00  |...........;....|
//	00002030  00 00 00 00 00 00 00 00  3c 42 9c 49 cf c0 41 5c  |........<B.I..A\|
//	00002040  77 6f 72 6c 64 21 00 00  00 00 00 00 00 00 00 00  |world!..........|
//	00002080  50 4a 01 01 00 00 00 00  80 10 00 00 00 00 00 00  |PJ..............|
//	00002090  02 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|
//	000020a0  80 0f 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|
//	000020b0  00 00 00 00 02 00 00 00  9b 37 04 22 a2 c9 be f0  |.........7."....|
//
// The file layout after a journal volume of 8 MiB was added to it: in generations 2 and 3 position 0 on stands in the first of the list, and from the base
// at 0x3ff000 on the second is filled, then the first.
//
//	00000000  50 41 49 52 46 53 4a 4c  02 00 00 00 03 00 00 00  |PAIRFSJL........|
//	00000010  a0 a1 a2 a3 a4 a5 a6 a7  a8 a9 aa ab ac ad ae af  |................|
//	00000020  02 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|
//	00000030  00 f0 3f 00 00 00 00 00  02 01 02 00 9d 16 bd 6c  |..?............l|
//	00000040  01 00 00 00 00 00 00 00  00 f0 3f 00 00 00 00 00  |..........?.....|
//	00000050  00 00 00 00 00 00 00 00  02 00 00 00 00 00 00 00  |................|
//	00000060  00 f0 7f 00 00 00 00 00  00 f0 3f 00 00 00 00 00  |..........?.....|
//	00000e00  01 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|
//	00001000  50 41 49 52 46 53 4a 4c  02 00 00 00 03 00 00 00  |PAIRFSJL........|
//	00001010  a0 a1 a2 a3 a4 a5 a6 a7  a8 a9 aa ab ac ad ae af  |................|
//	00001020  03 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|
//	00001030  00 f0 3f 00 00 00 00 00  02 01 02 00 e2 1f a2 70  |..?............p|
//	00001040  01 00 00 00 00 00 00 00  00 f0 3f 00 00 00 00 00  |..........?.....|
//	00001050  00 00 00 00 00 00 00 00  02 00 00 00 00 00 00 00  |................|
//	00001060  00 f0 7f 00 00 00 00 00  00 f0 3f 00 00 00 00 00  |..........?.....|
//	00001e00  01 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|
//
// # History
//
//	version 1  first
//	version 2  journal volumes and layout file: journal volumes are added and removed. Records and ring are as before
package journal
