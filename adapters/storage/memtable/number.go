package memtable

import "sync/atomic"

// eras counts the process' tables.
var eras atomic.Uint32

// Era names the table, uniquely in this process, by the rules of outbound.SeriesNumberer.
func (t *Table) Era() uint32 { return t.era }

// Number sets each of numbers to one more than the number of the series with the key at its place in
// keys, or to 0.
func (t *Table) Number(keys []string, numbers []uint32) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	t.mu.catalogue.Number(keys, numbers)
}
