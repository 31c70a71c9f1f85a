// Package modbus reads and sets devices that speak Modbus, over a serial line (RTU)
// or over TCP.
//
// The codec follows "MODBUS Application Protocol Specification V1.1b3" (PDU),
// "MODBUS over Serial Line Specification and Implementation Guide V1.02" (RTU) and
// "MODBUS Messaging on TCP/IP Implementation Guide V1.0b" (MBAP).
//
// A device of the gateway is one unit. Several units on one port, or behind one TCP
// address, share it: a request begins when the one before it has its answer.
package modbus
