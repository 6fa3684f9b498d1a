package duckdb

import (
	"sync"
	"sync/atomic"
)

// rewrites tells those who read a shard's file of commits that take rows away: merges, deletions,
// replaced samples, dropped windows. A commit that only adds rows is none, for readers ignore the
// generations that came after their view.
//
// A reader calls now, takes its memtable view and the list of runs, runs its statements, however many,
// and then asks whether unchanged: if not it begins anew with a new view, since its statements may have
// seen the file before and after, or without rows that its view counts upon. After a few times it takes
// hold instead, and no such commit happens until it lets go. Of several shards it takes hold in ascending
// order. So merges and deletions wait for nobody but such readers, and readers wait only for a commit.
type rewrites struct {
	gate     sync.RWMutex  // locked while a commit takes rows away
	sequence atomic.Uint64 // odd meanwhile
}

// now returns the state to compare with; it waits for a commit under way.
func (w *rewrites) now() uint64 {
	w.gate.RLock()
	defer w.gate.RUnlock()
	return w.sequence.Load()
}

// unchanged reports that no row was taken away since now returned then.
func (w *rewrites) unchanged(then uint64) bool { return w.sequence.Load() == then }

// hold keeps rows from being taken away until release is called.
func (w *rewrites) hold() (release func()) {
	w.gate.RLock()
	return w.gate.RUnlock
}

// do runs commit, which takes rows away, and whatever else belongs to the same moment.
func (w *rewrites) do(commit func() error) error {
	w.gate.Lock()
	w.sequence.Add(1)
	defer w.end()
	return commit()
}

// try is do in two parts, for who must not wait while it keeps readers waiting: it takes lock, too, or
// neither, and reports which. Where it took them end must be called.
func (w *rewrites) try(lock func() bool) bool {
	if !w.gate.TryLock() {
		return false
	}
	if !lock() {
		w.gate.Unlock()
		return false
	}
	w.sequence.Add(1)
	return true
}

// end is that of do, or of what a successful try began.
func (w *rewrites) end() {
	w.sequence.Add(1)
	w.gate.Unlock()
}

// note tells that the file is another than it was, to readers that are kept out by other means.
func (w *rewrites) note() { w.sequence.Add(2) }
