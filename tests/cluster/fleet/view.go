package fleet

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// View is the answer of GET /cluster.
type View struct {
	ClusterID string `json:"cluster_id"`
	Epoch     uint64 `json:"epoch"`
	Nodes     []struct {
		ID, Role, Address, State string
	} `json:"nodes"`
	Meta struct {
		Leader  string        `json:"leader"`
		Members []ViewReplica `json:"members"`
	} `json:"meta"`
	Shards []struct {
		Shard    uint32        `json:"shard"`
		Leader   string        `json:"leader"`
		Settled  bool          `json:"settled"`
		Replicas []ViewReplica `json:"replicas"`
	} `json:"shards"`
}

// ViewReplica is one replica in a View.
type ViewReplica struct {
	ID      uint64  `json:"id"`
	Node    string  `json:"node"`
	Role    string  `json:"role"`
	Applied *uint64 `json:"applied"`
	Lag     *uint64 `json:"lag"`
}

// View asks the node how the cluster is.
func (n *Node) View(ctx context.Context) (View, error) {
	var v View
	return v, n.Client.Get(ctx, "/cluster", &v)
}

// Whole returns nil when every shard has a leader, the placement that it should have, and as many voting
// replicas as wanted, all of which keep up.
func (v View) Whole(replicas int, lagMax uint64) error {
	var errs []error
	for _, n := range v.Nodes {
		if n.State != "alive" {
			errs = append(errs, fmt.Errorf("node %s is %s", n.ID, n.State))
		}
	}
	for _, s := range v.Shards {
		if s.Leader == "" || !s.Settled || len(s.Replicas) != replicas {
			errs = append(errs, fmt.Errorf("shard %d: leader %q, settled %v, %d replicas of %d", s.Shard, s.Leader, s.Settled, len(s.Replicas), replicas))
		}
		for _, r := range s.Replicas {
			if r.Role != "voter" || r.Lag == nil || *r.Lag > lagMax {
				errs = append(errs, fmt.Errorf("shard %d: replica %d on %s is %s and lags %v", s.Shard, r.ID, r.Node, r.Role, show(r.Lag)))
			}
		}
	}
	return errors.Join(errs...)
}

func show(n *uint64) string {
	if n == nil {
		return "unknown"
	}
	return strconv.FormatUint(*n, 10)
}

// Holders returns how many shards' replicas each node holds.
func (v View) Holders() map[string]int {
	holders := map[string]int{}
	for _, s := range v.Shards {
		for _, r := range s.Replicas {
			holders[r.Node]++
		}
	}
	return holders
}

// Leaders returns how many shards each node leads.
func (v View) Leaders() map[string]int {
	leaders := map[string]int{}
	for _, s := range v.Shards {
		leaders[s.Leader]++
	}
	return leaders
}

// ErrMissing is returned by Verify when replicas did not answer and those that did are equal.
var ErrMissing = errors.New("replicas did not answer")

// Verify asks the node to compare all replicas; an error tells those that differ or did not answer.
func (n *Node) Verify(ctx context.Context) error {
	var answer struct {
		Equal  bool `json:"equal"`
		Shards []struct {
			Shard   uint32            `json:"shard"`
			Digests map[string]string `json:"digests"`
			Missing map[string]string `json:"missing"`
		} `json:"shards"`
	}
	if err := n.Client.Get(ctx, "/cluster/verify", &answer); err != nil {
		return err
	}
	var differ, missing []string
	for _, s := range answer.Shards {
		distinct := map[string]bool{}
		for _, d := range s.Digests {
			distinct[d] = true
		}
		switch line := fmt.Sprintf("shard %d: digests %v, missing %v", s.Shard, s.Digests, s.Missing); {
		case len(distinct) > 1:
			differ = append(differ, line)
		case len(s.Missing) > 0:
			missing = append(missing, line)
		}
	}
	switch {
	case differ != nil:
		return fmt.Errorf("the replicas differ: %s", strings.Join(differ, "; "))
	case missing != nil:
		return fmt.Errorf("%w: %s", ErrMissing, strings.Join(missing, "; "))
	case !answer.Equal:
		return errors.New("the replicas are told to differ, and none does")
	default:
		return nil
	}
}
