package broker

import "edgegateway/buffer"

// Notes are small things that a client inside the process has to know again after a
// crash, by key. Safe for concurrent use.
type Notes struct {
	b     *Broker
	table *buffer.Table
}

// Notes returns those of the Local's name, with what earlier runs have left.
func (l *Local) Notes() *Notes {
	return &Notes{b: l.b, table: l.b.store.Table("notes/" + l.name)}
}

// Put writes a note together with the message of a delivery, or neither, if its
// publisher may come back with it after a crash: it is on disk when the Receipt of the
// message is done. Else the message does not need the disk, and the note follows when
// the disk takes it. Put is called from Deliver.
func (n *Notes) Put(d *Delivery, key, value []byte) {
	if d.p.arrival != nil || d.p.within != nil {
		d.Change().Put(n.table, key, value, buffer.Sync)
		return
	}
	c := n.b.store.Begin()
	c.Put(n.table, key, value, buffer.Sync)
	c.Commit(nil)
}

// Delete takes a note away together with what a message causes, or neither.
func (n *Notes) Delete(key []byte) PublishOption {
	return Within(func(c *buffer.Change) { c.Delete(n.table, key, buffer.Sync) })
}

// Drop takes a note away, some time later.
func (n *Notes) Drop(key []byte) {
	c := n.b.store.Begin()
	c.Delete(n.table, key, buffer.Lazy)
	c.Commit(nil)
}

// Each calls fn with copies of every key and value until fn returns an error, which
// it returns.
func (n *Notes) Each(fn func(key, value []byte) error) error { return n.table.Each(fn) }
