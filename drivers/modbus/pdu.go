package modbus

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Function codes (Application Protocol V1.1b3, 6.1 to 6.6, 6.11, 6.12).
const (
	readCoils              = 1
	readDiscreteInputs     = 2
	readHoldingRegisters   = 3
	readInputRegisters     = 4
	writeSingleCoil        = 5
	writeSingleRegister    = 6
	writeMultipleCoils     = 15
	writeMultipleRegisters = 16

	failed = 0x80 // in the function code of an answer: an exception
)

// The most that one request may read (6.1 to 6.4).
const (
	mostBits      = 2000
	mostRegisters = 125
)

// A request is what is asked of a unit. Addresses are as on the wire, from 0.
type request struct {
	function byte
	at       uint16
	count    int    // of coils or registers
	data     []byte // of a write: registers big-endian, coils packed from bit 0
}

// append appends the PDU.
func (r request) append(dst []byte) []byte {
	dst = append(dst, r.function)
	dst = binary.BigEndian.AppendUint16(dst, r.at)
	switch r.function {
	case writeSingleCoil, writeSingleRegister:
		return append(dst, r.data...)
	case writeMultipleCoils, writeMultipleRegisters:
		dst = binary.BigEndian.AppendUint16(dst, uint16(r.count))
		dst = append(dst, byte(len(r.data)))
		return append(dst, r.data...)
	}
	return binary.BigEndian.AppendUint16(dst, uint16(r.count))
}

// payload is the number of bytes that a read brings.
func (r request) payload() int {
	if r.bits() {
		return (r.count + 7) / 8
	}
	return 2 * r.count
}

// answer is the size of the PDU of a good answer.
func (r request) answer() int {
	if r.writes() {
		return 5 // function, address, value or count
	}
	return 2 + r.payload()
}

func (r request) bits() bool {
	return r.function == readCoils || r.function == readDiscreteInputs ||
		r.function == writeSingleCoil || r.function == writeMultipleCoils
}

func (r request) writes() bool { return r.function > readInputRegisters }

// mirrored tells whether the good answer is the request itself.
func (r request) mirrored() bool {
	return r.function == writeSingleCoil || r.function == writeSingleRegister
}

// parse checks the PDU of an answer, and returns the data of a read.
func (r request) parse(pdu []byte) ([]byte, error) {
	switch {
	case len(pdu) == 2 && pdu[0] == r.function|failed:
		return nil, &ExceptionError{Code: pdu[1], request: r}
	case len(pdu) == 0 || pdu[0] != r.function:
		return nil, fmt.Errorf("%w: % x to the function %d", errNonsense, pdu[:min(len(pdu), 8)], r.function)
	case len(pdu) != r.answer():
		return nil, fmt.Errorf("%w: %d bytes instead of %d", errNonsense, len(pdu), r.answer())
	}
	if r.writes() {
		if sent := r.append(nil); !bytes.Equal(pdu, sent[:5]) {
			return nil, fmt.Errorf("%w: % x to % x", errNonsense, pdu, sent[:5])
		}
		return nil, nil
	}
	if int(pdu[1]) != r.payload() {
		return nil, fmt.Errorf("%w: it announces %d bytes instead of %d", errNonsense, pdu[1], r.payload())
	}
	return pdu[2:], nil
}

// String says what is asked, as the end of "the unit refuses to" or "the request to".
func (r request) String() string {
	verb, noun := "read", map[byte]string{
		readCoils: "coil", readDiscreteInputs: "discrete input",
		readHoldingRegisters: "holding register", readInputRegisters: "input register",
		writeSingleCoil: "coil", writeMultipleCoils: "coil",
		writeSingleRegister: "holding register", writeMultipleRegisters: "holding register",
	}[r.function]
	if r.writes() {
		verb = "write"
	}
	if r.count > 1 {
		return fmt.Sprintf("%s %ss %d to %d (function %d)", verb, noun, r.at, int(r.at)+r.count-1, r.function)
	}
	return fmt.Sprintf("%s %s %d (function %d)", verb, noun, r.at, r.function)
}
