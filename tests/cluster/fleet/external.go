package fleet

import (
	"github.com/raftmetrics/raftmetrics/tests/node"
)

// Server is one that somebody else starts and stops.
type Server struct {
	Name string
	URL  string
}

// External returns a fleet of servers that run already and that clients may use: for loads, checks and
// views. Nothing of it that starts, ends or cuts off a node may be used, Close included.
func External(servers ...Server) *Fleet {
	f := &Fleet{}
	for _, s := range servers {
		n := &Node{Name: s.Name, Client: node.NewClient(s.URL, connectionsMax), fleet: f}
		n.mu.left = make(chan struct{})
		f.Nodes = append(f.Nodes, n)
	}
	return f
}
