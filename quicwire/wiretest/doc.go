// Package wiretest has the networks on which sites are tested: Network, simulated and in virtual time, for tests inside
// testing/synctest; and Proxy, between real UDP sockets, for tests of whole processes.
//
// Both take verbs that may be called at any time, also while packets flow. Both draw their chances from a seed, in the order
// in which packets come: with Network and synctest a run repeats exactly, with Proxy as nearly as the kernel lets it.
//
// The package knows nothing of QUIC and imports nothing of this module.
package wiretest
