// Package topic knows the rules of MQTT topics: which names and filters are
// valid, and which filter matches which name, by + and # and $ and nothing else.
// Shared subscriptions are a matter of who delivers, not of matching, and stand
// elsewhere.
//
// Two collections mirror each other. A Tree holds filters and finds those that
// match a name: subscriptions. Names holds names and finds those that a filter
// matches: retained messages, in an order that lets a long answer be given in
// pieces. Match says of one filter and one name what both must agree with.
//
// Nothing here locks: the owner of a Tree or of Names does. Finding matches does
// not allocate.
//
// The rules are those of section 4.7 of OASIS "MQTT Version 5.0", which are the
// same in 3.1.1 under the same numbers unless "v3" marks another. Statements on
// topics in MQTT 3.1 are older words for the same.
package topic
