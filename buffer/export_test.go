package buffer

// WithHooks injects failures: before runs instead of the commit if it returns an
// error, after's error is reported although the commit went through.
func WithHooks(before, after func() error) Option {
	return func(o *options) { o.hooks = hooks{before, after} }
}

var ErrDamaged = errDamaged
