// Package status shows what a running gateway is doing: a page for people, /metrics for Prometheus,
// /healthz for supervisors, and a control socket for the verbs of the command line.
//
// All four are made from one Report, taken from the small interfaces in Sources when somebody asks.
// A report never invents: what is not known is absent from it, and the page says so.
//
// The page is served on loopback only. It answers no other host name than loopback's, so a page in a
// browser that was lured to a name that resolves to 127.0.0.1 can not read it.
package status
