//go:build race

package main_test

// raceFlags: with the race detector in the tests, the gateway that they run has it too.
var raceFlags = []string{"-race"}
