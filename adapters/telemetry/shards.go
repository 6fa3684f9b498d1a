package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// shardCollector reads the state of the node's replicas whenever somebody looks.
type shardCollector struct {
	observer                                  outbound.ShardObserver
	leader, serving, term, committed, applied *prometheus.Desc
}

var _ prometheus.Collector = (*shardCollector)(nil)

// WatchShards shows the state of the replicas that observer tells of. It must be called at most once.
func (t *Telemetry) WatchShards(observer outbound.ShardObserver) {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("raftmetrics_shard_"+name, help, []string{"shard"}, nil)
	}
	t.registry.MustRegister(&shardCollector{
		observer:  observer,
		leader:    desc("leader", "1 where this node's replica leads its shard, else 0."),
		serving:   desc("serving", "1 where the shard has a leader, so that it can be read and written, else 0."),
		term:      desc("term", "Raft term of the shard."),
		committed: desc("committed_index", "Index of the last log entry known to be committed."),
		applied:   desc("applied_index", "Index of the last log entry applied here."),
	})
}

// Describe implements prometheus.Collector.
func (c *shardCollector) Describe(descs chan<- *prometheus.Desc) {
	prometheus.DescribeByCollect(c, descs)
}

// Collect implements prometheus.Collector.
func (c *shardCollector) Collect(metrics chan<- prometheus.Metric) {
	for _, s := range c.observer.Shards() {
		show := func(d *prometheus.Desc, v float64) {
			metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, s.Shard.String())
		}
		show(c.leader, truth(s.Leader))
		show(c.serving, truth(s.Serving))
		show(c.term, float64(s.Term))
		show(c.committed, float64(s.Commit))
		show(c.applied, float64(s.Applied))
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
