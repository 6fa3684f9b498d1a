package inbound

import "context"

// Status is a node's condition in one word.
type Status string

// The statuses. Only Healthy and Degraded nodes serve; only Healthy is a 200.
const (
	Healthy  Status = "healthy"
	Starting Status = "starting"
	Degraded Status = "degraded"
	Stopping Status = "stopping"
)

// Health is a node's condition with what explains it.
type Health struct {
	Status  Status
	Message string // for people, names the node
	NodeID  string
	Role    string   // embedded, control or worker
	Cluster string   // id of the cluster that took the node in, "" before and on a single node
	Shards  int      // replicas that this node holds
	Impeded []uint32 // shards that cannot be read or written through this node now, ascending
	// UnderReplicated counts the cluster's shards with fewer live replicas than wanted. They serve.
	UnderReplicated int
}

// HealthReporter tells how the node is.
type HealthReporter interface {
	// Health returns at once: it reads what is known and waits for nothing.
	Health(ctx context.Context) Health
}
