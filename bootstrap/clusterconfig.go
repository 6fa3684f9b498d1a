package bootstrap

import (
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/raftmetrics/raftmetrics/adapters/datadir"
	appcluster "github.com/raftmetrics/raftmetrics/application/cluster"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// shortestRepairAfter keeps a restart from being taken for a loss.
const shortestRepairAfter = 10 * time.Second

// completeCluster checks what says how the node is part of a cluster.
func completeCluster(c *Config) error {
	if _, err := cluster.ParseRole(c.NodeRole); err != nil || c.NodeRole == cluster.Embedded.String() {
		return wrong("NodeRole", strconv.Quote(c.NodeRole))
	}
	if _, err := cluster.NewNodeID(c.NodeID); err != nil {
		return wrong("NodeID", strconv.Quote(c.NodeID))
	}
	if c.role() != cluster.Embedded && !c.explicit["NODE_ID"] {
		return fault.Field("NODE_ID", "is missing", "a name of its own for each node of a cluster")
	}
	for _, hosts := range []struct {
		field string
		list  []string
	}{{"WorkerHosts", c.WorkerHosts}, {"ControlHosts", c.ControlHosts}} {
		for _, h := range hosts.list {
			if !isHostPort(h) {
				return wrong(hosts.field, strconv.Quote(h))
			}
		}
	}
	switch {
	case c.AdvertiseAddr != "" && !isHostPort(c.AdvertiseAddr):
		return wrong("AdvertiseAddr", strconv.Quote(c.AdvertiseAddr))
	case len(c.hosts()) > 0 && c.role() != cluster.Control:
		return fault.Field("NODE_ROLE", "is "+strconv.Quote(c.NodeRole)+" while WORKER_HOSTS or CONTROL_HOSTS is set", "control, which alone takes nodes in")
	case c.ReplicationFactor < 1 || c.ReplicationFactor > cluster.ReplicationFactorMax:
		return wrong("ReplicationFactor", strconv.Itoa(c.ReplicationFactor))
	case c.RepairAfter < shortestRepairAfter:
		return wrong("RepairAfter", c.RepairAfter.String())
	}
	return nil
}

func isHostPort(text string) bool {
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// role is NODE_ROLE; completeCluster has checked it.
func (c Config) role() cluster.Role {
	r, err := cluster.ParseRole(c.NodeRole)
	if err != nil {
		return cluster.Embedded
	}
	return r
}

// hosts are the nodes that this one is to take into its cluster.
func (c Config) hosts() []string {
	return slices.DeleteFunc(slices.Concat(c.WorkerHosts, c.ControlHosts), func(h string) bool { return h == c.AdvertiseAddr })
}

// adoptionSecret is what nodes share before they share a cluster's key.
func (c Config) adoptionSecret() []byte {
	if c.ClusterSecret != "" {
		return []byte(c.ClusterSecret)
	}
	return []byte(c.AuthToken)
}

// warnOfRetention tells of a RETENTION that is not what the cluster keeps: the cluster's holds.
func (n *Node) warnOfRetention(state *cluster.State) {
	if kept := state.Retention(); n.config.explicit["RETENTION"] && !n.config.retention.Equal(kept) {
		n.logger.Warn().Stringer("given", n.config.retention).Stringer("cluster", kept).
			Msg("RETENTION is not what this cluster keeps, which holds; change it with PUT /cluster/retention")
	}
}

// matches refuses to start with other numbers than the cluster was founded with. What was not given is
// taken from the cluster.
func (c Config) matches(m datadir.Membership) error {
	state, err := appcluster.DecodeState(m.Founding)
	if err != nil {
		return err
	}
	b := state.Blueprint()
	for _, o := range []struct {
		name          string
		given, stored int
	}{
		{"SHARDS", c.Shards, b.Shards.Count()},
		{"METRIC_SPREAD", min(c.MetricSpread, c.Shards), b.Shards.Spread()},
		{"REPLICATION_FACTOR", c.ReplicationFactor, b.ReplicationFactor},
	} {
		if c.explicit[o.name] && o.given != o.stored {
			return fault.Newf(fault.Invalid, "cluster_mismatch",
				"%s: is %d, but this cluster was founded with %d; expected %d (it can't be changed later), or an empty DATA_DIR",
				o.name, o.given, o.stored, o.stored)
		}
	}
	return nil
}
