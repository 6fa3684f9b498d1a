// Package wire tests what goes between nodes: links, Raft streams, snapshots and calls, together.
package wire
