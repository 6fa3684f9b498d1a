package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// adminBodyBytesMax bounds the body of an administrative request.
const adminBodyBytesMax = 4 << 10

// getCluster shows the whole cluster.
func (s *Server) getCluster(x *exchange, r *http.Request, _ map[string]string) error {
	ctx, cancel, err := admin(x, r)
	if err != nil {
		return err
	}
	defer cancel()
	overview, err := s.ports.Cluster.Overview(ctx)
	if err != nil {
		return err
	}
	return x.sendValue(r, http.StatusOK, overviewJSONOf(overview))
}

// postNode takes a waiting node into the cluster.
func (s *Server) postNode(x *exchange, r *http.Request, _ map[string]string) error {
	address, err := readAddress(r)
	if err != nil {
		return err
	}
	ctx, cancel, err := admin(x, r)
	if err != nil {
		return err
	}
	defer cancel()
	added, err := s.ports.Membership.AddNode(ctx, address)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if added.New {
		status = http.StatusCreated
	}
	return x.sendValue(r, status, memberJSONOf(added.Node))
}

// deleteNode drains a node and lets it go.
func (s *Server) deleteNode(x *exchange, r *http.Request, vars map[string]string) error {
	id, err := cluster.NewNodeID(vars["id"])
	if err != nil {
		return fault.New(fault.NotFound, "unknown_node", "no node can have this id; GET /cluster lists the nodes")
	}
	ctx, cancel, err := admin(x, r)
	if err != nil {
		return err
	}
	defer cancel()
	removal, err := s.ports.Membership.RemoveNode(ctx, id)
	if err != nil {
		return err
	}
	if removal.Gone {
		x.WriteHeader(http.StatusNoContent)
		return nil
	}
	return x.sendValue(r, http.StatusAccepted, removalJSON{ID: id.String(), State: "draining", Replicas: removal.Replicas})
}

// postRebalance begins the moves that even out the cluster.
func (s *Server) postRebalance(x *exchange, r *http.Request, _ map[string]string) error {
	ctx, cancel, err := admin(x, r)
	if err != nil {
		return err
	}
	defer cancel()
	result, err := s.ports.Membership.Rebalance(ctx)
	if err != nil {
		return err
	}
	return x.sendValue(r, http.StatusOK, rebalanceJSONOf(result))
}

// postFlush has every node bring what it holds to disk and merge it, which may rewrite a lot.
func (s *Server) postFlush(x *exchange, r *http.Request, _ map[string]string) error {
	ctx, cancel, err := adminFor(x, r, AdminTimeoutMax)
	if err != nil {
		return err
	}
	defer cancel()
	if err := s.ports.Storage.Flush(ctx); err != nil {
		return err
	}
	return x.sendValue(r, http.StatusOK, flushJSON{Flushed: true})
}

// getVerify compares the replicas of every shard.
func (s *Server) getVerify(x *exchange, r *http.Request, _ map[string]string) error {
	ctx, cancel, err := admin(x, r)
	if err != nil {
		return err
	}
	defer cancel()
	result, err := s.ports.Storage.Verify(ctx)
	if err != nil {
		return err
	}
	return x.sendValue(r, http.StatusOK, verificationJSONOf(result))
}

// admin returns the context of an administrative request, which may take longer than others: timeout=
// says how long.
func admin(x *exchange, r *http.Request) (context.Context, context.CancelFunc, error) {
	return adminFor(x, r, AdminTimeoutDefault)
}

// adminFor is admin where the request has a default of its own.
func adminFor(x *exchange, r *http.Request, otherwise time.Duration) (context.Context, context.CancelFunc, error) {
	p, err := parseParams(r, "timeout")
	if err != nil {
		return nil, nil, err
	}
	timeout, err := p.timeout()
	if err != nil {
		return nil, nil, err
	}
	if timeout == 0 {
		timeout = otherwise
	}
	timeout = min(timeout, AdminTimeoutMax)
	if timeout > QueryTimeoutMax {
		// The connection's deadline is made for queries. Where it cannot be moved, as in a test
		// without a connection, there is none.
		_ = http.NewResponseController(x).SetWriteDeadline(time.Now().Add(timeout + adminMargin))
	}
	ctx, cancel := bounded(r, timeout, AdminTimeoutMax)
	return ctx, cancel, nil
}

// readAddress reads {"address":"host:port"}.
func readAddress(r *http.Request) (string, error) {
	if lines, err := isLines(r.Header); err != nil || lines {
		return "", fault.New(fault.Unsupported, "unsupported_media_type", "cannot read this Content-Type here; send application/json")
	}
	decoder := json.NewDecoder(http.MaxBytesReader(nil, r.Body, adminBodyBytesMax))
	members := map[string]json.RawMessage{}
	if err := decoder.Decode(&members); err != nil {
		return "", fault.Wrap(err, fault.Invalid, "invalid_json", fmt.Sprintf(`the body is not a JSON object of at most %d bytes; send {"address":"host:port"}`, adminBodyBytesMax))
	}
	var unknown []string
	for name := range members {
		if name != "address" {
			unknown = append(unknown, name)
		}
	}
	if unknown != nil {
		return "", fault.Field(strings.Join(unknown, ", "), "is not known", "address")
	}
	var address string
	if err := json.Unmarshal(members["address"], &address); err != nil {
		return "", fault.Field("address", "is missing or no text", "host:port")
	}
	return address, nil
}

// sendValue sends what encoding/json makes of a value: good enough for what people ask now and then.
func (x *exchange) sendValue(r *http.Request, status int, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	x.sendJSON(r, status, text)
	return nil
}
