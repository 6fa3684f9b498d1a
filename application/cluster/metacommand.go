package cluster

import (
	"encoding/json"
	"fmt"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
)

// commandFormat versions the encoding of the meta group's commands and outcomes.
const commandFormat = 1

// Command is one change of the cluster state; exactly one of its members is set. Every change checks
// the state that it was decided on, so that a command which is applied twice, because its first
// outcome was not seen, changes nothing the second time.
type Command struct {
	Join   *cluster.Node   // take a new node in, or a known one back
	Drain  *DrainCommand   // mark a node to be emptied, or not
	Remove *cluster.NodeID // let an empty node go
	Move   *cluster.Move   // change one group's placement
	Settle *SettleCommand  // a group has reached its placement
	// Retention says how long samples are kept. It does not depend on what was there before: the last one
	// in the log stands.
	Retention *metric.RetentionPolicy
}

// DrainCommand marks a node.
type DrainCommand struct {
	Node     cluster.NodeID
	Draining bool
}

// SettleCommand says that a group's configuration equals its placement of Epoch.
type SettleCommand struct {
	Group cluster.Group
	Epoch uint64
}

type commandRecord struct {
	Format    int              `json:"format"`
	Join      *nodeRecord      `json:"join,omitempty"`
	Drain     *drainRecord     `json:"drain,omitempty"`
	Remove    string           `json:"remove,omitempty"`
	Move      *moveRecord      `json:"move,omitempty"`
	Settle    *settleRecord    `json:"settle,omitempty"`
	Retention *retentionRecord `json:"retention,omitempty"`
}

type drainRecord struct {
	Node     string `json:"node"`
	Draining bool   `json:"draining"`
}

type groupRecord struct {
	Meta  bool   `json:"meta,omitempty"`
	Shard uint32 `json:"shard"`
}

type moveRecord struct {
	Group groupRecord `json:"group"`
	From  string      `json:"from,omitempty"`
	To    string      `json:"to,omitempty"`
	Epoch uint64      `json:"epoch"`
}

type settleRecord struct {
	Group groupRecord `json:"group"`
	Epoch uint64      `json:"epoch"`
}

// EncodeCommand writes a command as bytes.
func EncodeCommand(c Command) ([]byte, error) {
	r := commandRecord{Format: commandFormat}
	switch {
	case c.Join != nil:
		n := nodeToRecord(*c.Join)
		r.Join = &n
	case c.Drain != nil:
		r.Drain = &drainRecord{Node: c.Drain.Node.String(), Draining: c.Drain.Draining}
	case c.Remove != nil:
		r.Remove = c.Remove.String()
	case c.Move != nil:
		r.Move = &moveRecord{
			Group: groupToRecord(c.Move.Group),
			From:  c.Move.From.String(), To: c.Move.To.String(), Epoch: c.Move.Epoch,
		}
	case c.Settle != nil:
		r.Settle = &settleRecord{Group: groupToRecord(c.Settle.Group), Epoch: c.Settle.Epoch}
	case c.Retention != nil:
		r.Retention = retentionToRecord(*c.Retention)
	}
	data, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode meta command: %w", err)
	}
	return data, nil
}

// DecodeCommand reads what EncodeCommand wrote.
func DecodeCommand(data []byte) (Command, error) {
	var r commandRecord
	if err := json.Unmarshal(data, &r); err != nil || r.Format != commandFormat {
		return Command{}, fault.Newf(fault.Invalid, "unknown_format", "meta command has format %d; this version reads %d", r.Format, commandFormat).WithCause(err)
	}
	switch {
	case r.Join != nil:
		n, err := r.Join.node()
		return Command{Join: &n}, err
	case r.Drain != nil:
		id, err := cluster.NewNodeID(r.Drain.Node)
		return Command{Drain: &DrainCommand{Node: id, Draining: r.Drain.Draining}}, err
	case r.Remove != "":
		id, err := cluster.NewNodeID(r.Remove)
		return Command{Remove: &id}, err
	case r.Move != nil:
		m, err := r.Move.move()
		return Command{Move: &m}, err
	case r.Settle != nil:
		return Command{Settle: &SettleCommand{Group: r.Settle.Group.group(), Epoch: r.Settle.Epoch}}, nil
	case r.Retention != nil:
		p, err := r.Retention.policy()
		return Command{Retention: &p}, err
	}
	return Command{}, fault.New(fault.Invalid, "empty_command", "the meta command says nothing")
}

func (m moveRecord) move() (cluster.Move, error) {
	move := cluster.Move{Group: m.Group.group(), Epoch: m.Epoch}
	for _, end := range []struct {
		text string
		id   *cluster.NodeID
	}{{m.From, &move.From}, {m.To, &move.To}} {
		if end.text == "" {
			continue
		}
		id, err := cluster.NewNodeID(end.text)
		if err != nil {
			return cluster.Move{}, err
		}
		*end.id = id
	}
	return move, nil
}

func groupToRecord(g cluster.Group) groupRecord {
	return groupRecord{Meta: g.Meta, Shard: uint32(g.Shard)}
}

func (g groupRecord) group() cluster.Group {
	return cluster.Group{Meta: g.Meta, Shard: shard.ID(g.Shard)}
}

// apply carries the command out on s.
func (c Command) apply(s *cluster.State) error {
	switch {
	case c.Join != nil:
		return join(s, *c.Join)
	case c.Drain != nil:
		return s.SetDraining(c.Drain.Node, c.Drain.Draining)
	case c.Remove != nil:
		return s.RemoveNode(*c.Remove)
	case c.Move != nil:
		return s.Apply(*c.Move)
	case c.Settle != nil:
		return s.Settle(c.Settle.Group, c.Settle.Epoch)
	case c.Retention != nil:
		return s.SetRetention(*c.Retention)
	}
	return fault.New(fault.Invalid, "empty_command", "the meta command says nothing")
}

func join(s *cluster.State, n cluster.Node) error {
	if _, known := s.Node(n.ID()); known {
		return s.Readmit(n)
	}
	return s.AddNode(n)
}

type outcomeRecord struct {
	Format  int    `json:"format"`
	Kind    uint8  `json:"kind,omitempty"`
	Code    string `json:"code,omitempty"` // empty: done
	Message string `json:"message,omitempty"`
}

// encodeOutcome writes what a command led to: nil for done, or the refusal.
func encodeOutcome(err error) ([]byte, error) {
	r := outcomeRecord{Format: commandFormat}
	if f := fault.From(err); f != nil {
		r.Kind, r.Code, r.Message = uint8(f.Kind()), f.Code(), f.Message()
	}
	data, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode meta outcome: %w", err)
	}
	return data, nil
}

// DecodeOutcome returns nil for a command that was carried out, else why it was refused.
func DecodeOutcome(data []byte) error {
	var r outcomeRecord
	if err := json.Unmarshal(data, &r); err != nil {
		return fault.Wrap(err, fault.Corrupt, "invalid_outcome", "decode meta outcome")
	}
	if r.Code == "" {
		return nil
	}
	return fault.New(fault.Kind(r.Kind), r.Code, r.Message)
}
