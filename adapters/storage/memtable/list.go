package memtable

import (
	"context"
	"fmt"
	"slices"

	"github.com/raftmetrics/raftmetrics/adapters/storage/catalogue"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// ListOf lists over shards, by the contract of outbound.SeriesLister. open returns a shard's table, or
// why it cannot be read.
func ListOf(ctx context.Context, shards []shard.ID, open func(shard.ID) (*Table, error), l metric.Listing) ([]string, error) {
	items := newItems(l.Limit() + 1)
	for _, id := range shards {
		table, err := open(id)
		if err != nil {
			return nil, err
		}
		if err := table.list(ctx, l, items); err != nil {
			return nil, fmt.Errorf("list shard %d: %w", id, err)
		}
	}
	return items.sorted(), nil
}

// List returns what l asks for of this shard, as ListOf does.
func (t *Table) List(ctx context.Context, l metric.Listing) ([]string, error) {
	items := newItems(l.Limit() + 1)
	err := t.list(ctx, l, items)
	return items.sorted(), err
}

// seriesPerLock is how many series are looked at under the lock at once, so that no appender waits long.
const seriesPerLock = 4096

func (t *Table) list(ctx context.Context, l metric.Listing, items *items) error {
	for _, name := range t.metricNames(l.Metric()) {
		if ctx.Err() != nil {
			return fmt.Errorf("list series: %w", context.Cause(ctx))
		}
		if l.Kind() == metric.ListMetrics && l.Matchers().IsZero() {
			items.add(name.String())
			continue
		}
		s := t.selectSeries(name, l.Matchers())
		t.mu.RUnlock()
		for ids := range slices.Chunk(s.ids, seriesPerLock) {
			if ctx.Err() != nil {
				return fmt.Errorf("list series: %w", context.Cause(ctx))
			}
			live := t.liveOf(ids)
			for _, id := range live {
				items.addOf(s.list, id, l)
			}
			if l.Kind() == metric.ListMetrics && len(live) > 0 {
				break // One series is enough for its metric.
			}
		}
	}
	return nil
}

// metricNames returns the metrics that have samples: only, if it is one, or all.
func (t *Table) metricNames(only metric.Name) (names []metric.Name) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if only.IsZero() {
		return t.mu.catalogue.LiveMetrics()
	}
	if id, _, ok := t.mu.catalogue.Metric(only); ok && t.mu.catalogue.Live(id) > 0 {
		names = append(names, only)
	}
	return names
}

// liveOf returns those of ids that have samples.
func (t *Table) liveOf(ids []catalogue.SeriesID) []catalogue.SeriesID {
	live := make([]catalogue.SeriesID, 0, len(ids))
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, id := range ids {
		if _, _, ok := t.mu.catalogue.Newest(id); ok {
			live = append(live, id)
		}
	}
	return live
}

// items collects the least distinct texts, up to a number of them.
type items struct {
	max   int
	least []string            // those seen, some of them too great and some twice
	seen  map[string]struct{} // those in least that may come again
	bound string              // nothing from here on is among the least, where full
	full  bool
	parts catalogue.Parts
	key   []byte
}

func newItems(limit int) *items { return &items{max: limit, seen: map[string]struct{}{}} }

// addOf adds what l asks for of a series.
func (i *items) addOf(list catalogue.List, id catalogue.SeriesID, l metric.Listing) {
	switch l.Kind() {
	case metric.ListSeries:
		i.key = list.AppendKey(i.key[:0], id)
		if !i.full || string(i.key) < i.bound { // Only what may stay gets memory of its own.
			i.add(string(i.key))
		}
	case metric.ListMetrics:
		i.addAgain(list.Name(list.MetricOf(id)).String())
	case metric.ListTagKeys:
		tags := list.Tags(id, &i.parts)
		for n := range tags.Len() {
			i.addAgain(tags.At(n).Key)
		}
	case metric.ListTagValues:
		if value, ok := list.Tags(id, &i.parts).Get(l.Key()); ok {
			i.addAgain(value)
		}
	}
}

// addAgain is add for what many series have.
func (i *items) addAgain(text string) {
	if _, again := i.seen[text]; again {
		return
	}
	i.seen[text] = struct{}{}
	i.add(text)
}

func (i *items) add(text string) {
	if i.full && text >= i.bound {
		return
	}
	if i.least = append(i.least, text); len(i.least) >= 4*i.max+1024 {
		i.tidy()
	}
}

// tidy keeps the least distinct ones.
func (i *items) tidy() {
	clear(i.seen)
	slices.Sort(i.least)
	i.least = slices.Compact(i.least)
	if len(i.least) >= i.max {
		i.least = i.least[:i.max]
		i.bound, i.full = i.least[i.max-1], true
	}
}

// sorted returns what was collected.
func (i *items) sorted() []string {
	i.tidy()
	return i.least
}
