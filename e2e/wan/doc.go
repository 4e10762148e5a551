// Package wan is a long link for any protocol, in user space: two network namespaces, a TUN device in each, and between them this process, which
// reads the packets of each device, keeps them for as long as they would be under way, and writes them into the other one.
//
//	┌── namespace A ──┐                  this process                   ┌── namespace B ──┐
//	│    10.0.0.1     │ ══ TUN ══▶  queue ▶ rate ▶ loss ▶ delay ══ TUN ══▶ │    10.0.0.2     │
//	└─────────────────┘ ◀══ TUN ══  delay ◀ loss ◀ rate ◀ queue  ══ TUN ══ └─────────────────┘
//
// A [Line] is one direction. A packet that finds the queue full is dropped, as a router does; the rate empties the queue; what is lost is lost behind
// it, by chance; delay and jitter come last and keep the order. The kernel's own emulator is a module that not every host has, and a proxy of one protocol
// cannot carry the TCP that a figure is compared with.
//
// What it is not: no reordering, no duplicates, no bursts of loss (package wiretest makes those for QUIC). The process takes part of the processors on
// which the two ends run; on two of them it carries some hundred MB a second.
package wan
