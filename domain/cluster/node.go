// Package cluster describes who makes up a RaftMetrics cluster and which node keeps which replica: the
// state that the meta group replicates, and the planner that decides its next change. It is pure and
// deterministic; a State must not be changed while another goroutine reads it.
package cluster

import (
	"strconv"
	"strings"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// NodeIDBytesMax bounds a node's id: it must fit a DNS label.
const NodeIDBytesMax = 63

// NodeID names a node for ever: 1 to NodeIDBytesMax letters, digits, '-', '_' or '.', beginning with
// a letter or digit. The zero NodeID is no node.
type NodeID struct{ text string }

// NewNodeID checks text.
func NewNodeID(text string) (NodeID, error) {
	if text == "" || len(text) > NodeIDBytesMax || !isAlphanumeric(text[0]) {
		return NodeID{}, errNodeID(text)
	}
	for i := range len(text) {
		if c := text[i]; !isAlphanumeric(c) && c != '-' && c != '_' && c != '.' {
			return NodeID{}, errNodeID(text)
		}
	}
	return NodeID{text: text}, nil
}

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func errNodeID(text string) error {
	return fault.Field("NODE_ID", "is "+strconv.Quote(text), "1 to 63 letters, digits, '-', '_' or '.', beginning with a letter or digit")
}

// String returns the text.
func (id NodeID) String() string { return id.text }

// IsZero reports whether id names no node.
func (id NodeID) IsZero() bool { return id.text == "" }

// Role is what a node is for.
type Role uint8

// The roles. An Embedded node is a whole cluster of one: control and worker at once.
const (
	Embedded Role = iota + 1
	Control
	Worker
)

var roleNames = map[Role]string{Embedded: "embedded", Control: "control", Worker: "worker"}

// String returns the role's name in answers and messages.
func (r Role) String() string { return roleNames[r] }

// ParseRole reads NODE_ROLE: control or worker, nothing for embedded.
func ParseRole(text string) (Role, error) {
	switch text {
	case "", "embedded":
		return Embedded, nil
	case "control":
		return Control, nil
	case "worker":
		return Worker, nil
	}
	return 0, fault.Field("NODE_ROLE", "is "+strconv.Quote(text), "control or worker, or nothing for a single node")
}

// Incarnation tells one life of a node's data directory from the next: random, kept in it, never 0.
type Incarnation uint64

// Node is a member of the cluster. Build it with NewNode.
type Node struct {
	id          NodeID
	role        Role
	address     string
	incarnation Incarnation
	draining    bool
}

// NewNode checks the parts: address is host:port, as peers reach the node.
func NewNode(id NodeID, role Role, address string, incarnation Incarnation) (Node, error) {
	if id.IsZero() || roleNames[role] == "" {
		return Node{}, fault.New(fault.Invalid, "invalid_node", "a node needs an id and a role")
	}
	if !isHostPort(address) {
		return Node{}, fault.Field("address", "is "+strconv.Quote(address), "host:port")
	}
	if incarnation == 0 {
		return Node{}, fault.New(fault.Invalid, "invalid_node", "a node needs an incarnation number that is not 0")
	}
	return Node{id: id, role: role, address: address, incarnation: incarnation}, nil
}

// isHostPort tells host:port and [host]:port, where only a bracketed host may hold colons. Package net
// would know too, but it also reaches the network, which domain must not.
func isHostPort(address string) bool {
	i := strings.LastIndexByte(address, ':')
	if i < 1 || i == len(address)-1 {
		return false
	}
	host := address[:i]
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		return ok && inner != "" && !strings.ContainsAny(inner, "[]")
	}
	return !strings.ContainsAny(host, ":[]")
}

// ID returns the node's name.
func (n Node) ID() NodeID { return n.id }

// Role returns what the node is for.
func (n Node) Role() Role { return n.role }

// Address returns host:port as peers reach it.
func (n Node) Address() string { return n.address }

// Incarnation returns which life of its data directory the cluster knows.
func (n Node) Incarnation() Incarnation { return n.incarnation }

// Draining reports that the node is to give its replicas away.
func (n Node) Draining() bool { return n.draining }

// WithDraining returns the node marked, or not, to give its replicas away.
func (n Node) WithDraining(draining bool) Node {
	n.draining = draining
	return n
}
