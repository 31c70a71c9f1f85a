package broker_test

// victim is the broker that the crash test kills: see crash_test.go.
func victim() {}
