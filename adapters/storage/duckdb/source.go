package duckdb

import (
	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
	"github.com/raftmetrics/raftmetrics/adapters/storage/duckdb/warm"
	"github.com/raftmetrics/raftmetrics/adapters/storage/memtable"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
)

// source is what one shard adds to a query: its memtable's view, and its file's rows up to the
// generation that the view says is durable. The two together are one cut.
type source struct {
	query    aggregate.Query
	replica  *replica
	rewrites uint64 // of the replica, from before the view
	view     *memtable.View
	extent   *extent
}

// version says what rows of the file the source sees.
func (src *source) version() warm.Version {
	return warm.Version{Generation: src.view.Durable(), Rewrites: src.rewrites}
}

// sees returns whether a block of a window that was read as of a version has what the source sees. One that
// is newer than the view is refused as it is: a flush after the view was taken may have put into it what the
// view still has in memory, and the source's extent need not know the runs of that flush.
func (src *source) sees(w window) func(warm.Version) bool {
	durable := src.view.Durable()
	return func(v warm.Version) bool {
		return v.Rewrites == src.rewrites && v.Generation <= durable && !src.extent.changed(w, v.Generation, durable)
	}
}

// key names a block of the source.
func (s *Store) key(src *source, w window) warm.Key {
	id, _ := src.view.Metric()
	return warm.Key{Owner: s.owner(src.replica), Metric: id, Day: w.day, Days: w.days}
}

// owner numbers replicas, for several may have one shard's number one after the other.
func (s *Store) owner(r *replica) uint64 {
	if n := r.owner.Load(); n != 0 {
		return n
	}
	r.owner.CompareAndSwap(0, s.serial.Add(1))
	return r.owner.Load()
}

// spans returns where rows of the file count for the query.
func (src *source) spans() []span {
	if !src.replica.stored.Load() || len(src.view.Selected()) == 0 {
		return nil
	}
	from, to := src.view.Span()
	if from > to {
		return nil
	}
	spans := []span{{from: from, to: to}}
	for _, dead := range src.view.Tombstones() {
		spans = without(spans, span{from: dead.From, to: dead.To})
	}
	kept := spans[:0]
	for _, s := range spans {
		if _, ok := s.inside(src.extent.all); ok {
			kept = append(kept, s)
		}
	}
	return kept
}

// portions cuts what the file has for the query in two: series whose rows just add up with what is in
// memory, and those whose samples have to be put together one by one, in order.
func (src *source) portions() (together, apart portion) {
	ids := src.view.Selected()
	together, apart = portion{source: *src, spans: src.spans()}, portion{source: *src}
	if len(together.spans) == 0 {
		return portion{}, portion{}
	}
	apart.spans = together.spans
	if src.query.Ordered() {
		apart.ids = ids
		return portion{}, apart
	}
	apart.ids = src.view.Replacing()
	together.ids = ids
	if len(apart.ids) > 0 {
		together.ids = difference(ids, apart.ids)
	}
	return together, apart
}

// difference returns what of all, ascending, is not in some, ascending.
func difference(all, some []catalogue.SeriesID) []catalogue.SeriesID {
	left := make([]catalogue.SeriesID, 0, len(all))
	for _, id := range all {
		if len(some) > 0 && some[0] == id {
			some = some[1:]
			continue
		}
		left = append(left, id)
	}
	return left
}
