package modbus

import (
	"errors"
	"fmt"

	"edgegateway/drivers"
)

// errNonsense is wrapped by errors about an answer that is none to the request.
var errNonsense = errors.New("the answer does not fit the request")

// errDamaged is wrapped by errors about an answer that was damaged on its way.
var errDamaged = errors.New("the answer is damaged; check termination, baud rate and parity of the line")

// Exception codes (Application Protocol V1.1b3, 7).
const (
	illegalFunction    = 1
	illegalDataAddress = 2
	illegalDataValue   = 3
	acknowledge        = 5
	pathUnavailable    = 10
	targetSilent       = 11
)

// An ExceptionError is the answer of a unit that refuses a request.
type ExceptionError struct {
	Code    byte // 1 to 11
	request request
}

func (e *ExceptionError) Error() string {
	what, known := map[byte]string{
		illegalFunction:    "it does not know this function; another table (coil, discrete, holding, input) may hold the value",
		illegalDataAddress: "it has nothing at this address; compare with its manual, which may count from 1 or from 40001",
		illegalDataValue:   "the value or the number of registers is not allowed",
		4:                  "it failed while doing so; its display or its log may tell more",
		acknowledge:        "it has accepted the request and needs long for it",
		6:                  "it is busy",
		8:                  "its memory has a parity error",
		pathUnavailable:    "the Modbus gateway has no way to the unit; check the unit id and the gateway's settings",
		targetSilent:       "the unit does not answer the Modbus gateway; check the unit id, wiring and power",
	}[e.Code]
	if !known {
		what = "the manual of the unit tells what that means"
	}
	if e.unknown() {
		return fmt.Sprintf("no result of the request to %v: exception %d: %s", e.request, e.Code, what)
	}
	return fmt.Sprintf("the unit refuses to %v: exception %d: %s", e.request, e.Code, what)
}

// unknown tells whether a write that was answered so may be, or become, carried out.
func (e *ExceptionError) unknown() bool { return e.Code == acknowledge || e.Code == targetSilent }

// A goneError ends the use of an opened device, and says no more than its cause.
type goneError struct{ error }

func (e goneError) Unwrap() []error { return []error{e.error, drivers.ErrGone} }

// An unsentError says that a request did not leave.
type unsentError struct{ error }

func (e unsentError) Unwrap() error { return e.error }
