package buffer

import "errors"

var (
	// ErrFull means that the record was not taken; the caller may try again later.
	ErrFull = errors.New("queue full")
	// ErrLocked means that another process has the store open.
	ErrLocked = errors.New("the store is in use by another process")
	// ErrClosed means that the store was closed before the work was done.
	ErrClosed = errors.New("store closed")
	// ErrNewer means that the file was written by a later version.
	ErrNewer = errors.New("the store was written by a newer version")
	// ErrDropped means that the queue was dropped.
	ErrDropped = errors.New("queue dropped")

	errForgotten = errors.New("the receiver lost its session before the mark was written")
)
