// Package contract is the one suite that every storage adapter passes.
package contract

import (
	"testing"

	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// Store is everything that the application asks of a storage adapter.
type Store interface {
	outbound.ShardOpener
	outbound.SampleAppender
	outbound.StateCutter
	outbound.StateFlusher
	outbound.PartialReader
	outbound.LatestReader
	outbound.WriteGate
	outbound.ContentPinner
	outbound.SnapshotMaker
	outbound.SnapshotInstaller
	outbound.ShardRemover
	outbound.SeriesNumberer
	outbound.SampleRemover
	outbound.SeriesLister
	outbound.RunMerger
}

// Options are what a case asks of the adapter's configuration.
type Options struct {
	SeriesMax int // series a shard; 0 means the adapter's default
}

// Node is a storage adapter with the disk below it, which outlives its stores. One store at a time.
type Node interface {
	// Start opens a store on the node's disk, which is empty at first. No shard is open.
	Start() (Store, error)
	// Stop closes the store in order and waits for whatever it runs.
	Stop() error
	// Crash ends the store as the end of its process or of the power would: what Flush had not
	// returned for may be lost. It may be called while nothing else runs on the store.
	Crash() error
}

// Factory makes a node with an empty disk. tb is for what the node needs of a test, such as a
// temporary directory; the suite stops every store that it starts.
type Factory func(tb testing.TB, options Options) Node

// env is what a case gets: the test that it is, and the adapter.
type env struct {
	*testing.T
	factory Factory
}

// Run runs the whole suite against the nodes that f makes.
func Run(t *testing.T, f Factory) {
	t.Helper()
	for _, c := range []struct {
		name string
		run  func(env)
	}{
		{"New shard is empty", testNewShard},
		{"Append is visible at once", testVisibility},
		{"Append keeps none of its arguments", testNoAliasing},
		{"Ranges are inclusive", testRanges},
		{"Windows are aligned and hold late data", testWindows},
		{"Groups and matchers", testGroups},
		{"Names are data", testNames},
		{"Duplicates are kept", testDuplicates},
		{"Extreme values", testExtremes},
		{"Latest and its ties", testLatest},
		{"Flush keeps exactly the cut", testFlush},
		{"Flush without a cut", testFlushNothing},
		{"State alone is durable", testStateAlone},
		{"Cuts merge", testCutsMerge},
		{"Shards are apart", testShards},
		{"Series limit", testSeriesLimit},
		{"Series by number", testNumbers},
		{"Large flushes", testLarge},
		{"Replacing samples", testReplace},
		{"Deletions", testDelete},
		{"Deletions and restarts", testDeleteRestart},
		{"Cut-offs", testRetain},
		{"Snapshots carry what is forgotten", testForgottenSnapshot},
		{"Queries beside deletions and replacements", testForgetConcurrency},
		{"Listings", testListings},
		{"Richer questions", testQuestions},
		{"Gate admits small writes", testGate},
		{"Canceled context", testCancel},
		{"Queries beside appends and flushes", testConcurrency},
		{"Snapshots move a shard", testSnapshot},
		{"Snapshots are kept while they are read", testSnapshotKept},
		{"Damaged snapshots are refused", testSnapshotDamaged},
		{"Received snapshots outlive a crash", testSnapshotPending},
		{"Snapshots beside writes and queries", testSnapshotsBesideQueries},
		{"Removed shards are empty", testRemove},
		{"Equal to a dumb reference", testDifferential},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(env{T: t, factory: f}) })
	}
}
