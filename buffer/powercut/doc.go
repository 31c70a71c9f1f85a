// Package powercut cuts the power of a program that has run already.
//
// [Record] runs it under strace and notes what it did to a directory, and what it
// told the world, in one order. A [Disk] takes in what was done, up to any moment,
// and gives images of what could be found on it if the power had failed then: all
// that was synced, and of the rest any part, in any order, torn at sectors.
//
// It is for tests. It knows the calls that the store makes, no others: a directory
// without subdirectories, no mapped writes.
package powercut
