package buffer

// Faults stand in for a disk that fails, or does not answer, in the tests of those
// who use a store. Each may block, and each may be nil.
type Faults struct {
	Commit    func() error // before the file is touched: its error is that of the commit
	Committed func() error // behind the commit, which its error makes look failed
	Read      func()       // in every read of the file

	step func(name string) error // at the steps of a rewrite
}

// WithFaults has a store meet them.
func WithFaults(f Faults) Option {
	return func(o *options) { o.faults = f }
}
