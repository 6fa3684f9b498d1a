package workerrpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"

	"connectrpc.com/connect"

	"github.com/raftmetrics/raftmetrics/adapters/workerrpc/link"
	"github.com/raftmetrics/raftmetrics/adapters/workerrpc/workerpb"
	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/consistency"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/inbound"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// CallsMax bounds the calls that one client has under way; further ones wait within their contexts.
const CallsMax = 256

var (
	_ outbound.Proposer    = (*Client)(nil)
	_ inbound.ShardQuerier = (*Client)(nil)
	_ inbound.ReportTaker  = (*Client)(nil)
	_ inbound.ReportGiver  = (*Client)(nil)
	_ inbound.NodeFlusher  = (*Client)(nil)

	_ inbound.ReplicaDigester = (*Client)(nil)
)

// Client asks one other node. It connects when it is first used, keeps one connection, and is safe
// for concurrent use.
type Client struct {
	node  cluster.NodeID
	conn  *conn[*http.ClientConn]
	pipes *conn[*pipe]
	work  sync.WaitGroup // of pipes
	rpc   workerpb.WorkerClient
	calls chan struct{}
}

// NewClient returns a client of node; dial opens an authenticated connection to it for link.RPC or
// link.Proposals.
func NewClient(node cluster.NodeID, dial func(context.Context, link.Purpose) (net.Conn, error)) *Client {
	c := &Client{node: node, calls: make(chan struct{}, CallsMax)}
	c.conn = newHTTPConn(func(ctx context.Context) (net.Conn, error) { return dial(ctx, link.RPC) })
	c.pipes = newConn(func(ctx context.Context) (*pipe, error) {
		conn, err := dial(ctx, link.Proposals)
		if err != nil {
			return nil, err
		}
		return openPipe(conn, &c.work), nil
	}, (*pipe).usable)
	c.rpc = workerpb.NewWorkerClient(caller{}, "http://node",
		connect.WithReadMaxBytes(responseBytesMax), connect.WithSendMaxBytes(requestBytesMax),
		connect.WithAcceptCompression("gzip", nil, nil))
	return c
}

// Close ends what is under way.
func (c *Client) Close() {
	c.conn.Close()
	c.pipes.Close()
	c.work.Wait()
}

// connKey is where a call's context has the connection that it goes over.
type connKey struct{}

// caller sends connect's requests over the connection that call chose.
type caller struct{}

var errNoConn = errors.New("a call was made without a connection")

// Do implements connect.HTTPClient.
func (caller) Do(req *http.Request) (*http.Response, error) {
	open, ok := req.Context().Value(connKey{}).(*http.ClientConn)
	if !ok {
		return nil, errNoConn
	}
	return open.RoundTrip(req)
}

// call runs one call and makes its error a fault. sent tells that the request may have arrived.
func call[Request, Response any](
	ctx context.Context, c *Client, method func(context.Context, *Request) (*Response, error), request *Request,
) (response *Response, sent bool, err error) {
	select {
	case c.calls <- struct{}{}:
		defer func() { <-c.calls }()
	case <-ctx.Done():
		return nil, false, c.unreachable(ctx.Err())
	}
	open, err := c.conn.get(ctx)
	if err != nil {
		return nil, false, c.unreachable(err)
	}
	// From here on nobody can tell whether the request left.
	response, err = method(context.WithValue(ctx, connKey{}, open), request)
	if err == nil {
		return response, true, nil
	}
	if f := decodeFault(err); f != nil {
		return nil, true, f
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return nil, true, c.unreachable(err)
}

// codeUnreachable is the code of a call that was not answered.
const codeUnreachable = "node_unreachable"

// unreachable is the fault of a call that the other node did not answer.
func (c *Client) unreachable(err error) *fault.Error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return faultOf(err)
	}
	return fault.Wrap(err, fault.Unavailable, codeUnreachable, "node "+c.node.String()+" does not answer; try again")
}

// Propose implements outbound.Proposer at the node: it must lead the shard. ErrNotProposed only when
// the command certainly did not get into a log: the node said so, or nothing was sent to it.
func (c *Client) Propose(ctx context.Context, id shard.ID, command []byte) ([]byte, error) {
	outcome, sent, err := c.propose(ctx, id, command)
	if err != nil {
		return nil, c.unproposed(sent, err)
	}
	return outcome, nil
}

// propose runs one proposal through the pipe and makes its error a fault. sent tells that it may have
// arrived.
func (c *Client) propose(ctx context.Context, id shard.ID, command []byte) (outcome []byte, sent bool, err error) {
	select {
	case c.calls <- struct{}{}:
		defer func() { <-c.calls }()
	case <-ctx.Done():
		return nil, false, c.unreachable(ctx.Err())
	}
	if ctx.Err() != nil {
		return nil, false, c.unreachable(ctx.Err())
	}
	open, err := c.pipes.get(ctx)
	if err != nil {
		return nil, false, c.unreachable(err)
	}
	outcome, sent, err = open.propose(ctx, id, command)
	var told *fault.Error
	if err == nil || errors.As(err, &told) {
		return outcome, sent, err
	}
	return nil, sent, c.unreachable(err)
}

// ProposeMeta replicates a change of the cluster's state at the node, which must lead the meta group.
// Its errors are those of Propose.
func (c *Client) ProposeMeta(ctx context.Context, command []byte) ([]byte, error) {
	response, sent, err := call(ctx, c, c.rpc.ProposeMeta, &workerpb.ProposeMetaRequest{Command: command})
	if err != nil {
		return nil, c.unproposed(sent, err)
	}
	return response.GetOutcome(), nil
}

// unproposed says what the error of a proposal means for the command.
func (c *Client) unproposed(sent bool, err error) error {
	var told *fault.Error
	switch {
	case !sent:
		return fmt.Errorf("propose at node %s: %w", c.node, outbound.ErrNotProposed.WithCause(err))
	case errors.As(err, &told) && answered(told):
		return fmt.Errorf("propose at node %s: %w", c.node, err)
	}
	return fmt.Errorf("propose at node %s: %w", c.node, outbound.ErrAmbiguous.WithCause(err))
}

// answered reports that the other node itself told what became of a proposal.
func answered(f *fault.Error) bool {
	if errors.Is(f, outbound.ErrNotProposed) || errors.Is(f, outbound.ErrAmbiguous) {
		return true
	}
	// What a Proposer refuses for these reasons it did not propose.
	switch f.Kind() {
	case fault.Exhausted, fault.TooLarge, fault.Conflict, fault.Invalid, fault.DiskFull:
		return true
	default:
		return false
	}
}

// Partials implements inbound.ShardQuerier at the node, over the replicas that it holds.
func (c *Client) Partials(ctx context.Context, read consistency.Read, q aggregate.Query) (aggregate.Table, error) {
	response, _, err := call(ctx, c, c.rpc.Partials, &workerpb.PartialsRequest{Read: encodeRead(read), Query: encodeQuery(q)})
	var table aggregate.Table
	if err == nil {
		table, err = decodeTable(response.GetTable(), q)
	}
	if err != nil {
		return aggregate.Table{}, fmt.Errorf("partials of node %s: %w", c.node, err)
	}
	return table, nil
}

// Latest implements inbound.ShardQuerier at the node, over the replicas that it holds.
func (c *Client) Latest(ctx context.Context, read consistency.Read, name metric.Name, matchers metric.Matchers) (metric.Sample, bool, error) {
	response, _, err := call(ctx, c, c.rpc.Latest, &workerpb.LatestRequest{
		Read: encodeRead(read), Metric: name.String(), Matchers: encodeMatchers(matchers),
	})
	if err == nil && response.GetSample() == nil {
		return metric.Sample{}, false, nil
	}
	var sample metric.Sample
	if err == nil {
		sample, err = decodeSample(response.GetSample())
	}
	if err != nil {
		return metric.Sample{}, false, fmt.Errorf("latest of node %s: %w", c.node, err)
	}
	return sample, true, nil
}

// ListSeries implements inbound.ShardQuerier at the node, over the replicas that it holds.
func (c *Client) ListSeries(ctx context.Context, read consistency.Read, l metric.Listing) ([]string, error) {
	request := encodeListing(l)
	request.Read = encodeRead(read)
	response, _, err := call(ctx, c, c.rpc.ListSeries, request)
	var items []string
	if err == nil {
		items, err = decodeItems(response.GetItems(), l)
	}
	if err != nil {
		return nil, fmt.Errorf("series of node %s: %w", c.node, err)
	}
	return items, nil
}

// Status returns the status of the node's replicas.
func (c *Client) Status(ctx context.Context) ([]outbound.ShardStatus, error) {
	response, _, err := call(ctx, c, c.rpc.Status, &workerpb.StatusRequest{})
	if err != nil {
		return nil, fmt.Errorf("status of node %s: %w", c.node, err)
	}
	return decodeStatus(response.GetShards()), nil
}

// Report implements inbound.ReportTaker at the node.
func (c *Client) Report(ctx context.Context, report outbound.NodeReport) (outbound.ReportReply, error) {
	response, _, err := call(ctx, c, c.rpc.Report, encodeReport(report))
	var reply outbound.ReportReply
	if err == nil {
		reply, err = decodeReply(response)
	}
	if err != nil {
		return outbound.ReportReply{}, fmt.Errorf("report to node %s: %w", c.node, err)
	}
	return reply, nil
}

// Reports implements inbound.ReportGiver at the node.
func (c *Client) Reports(ctx context.Context) ([]outbound.HeardReport, error) {
	response, _, err := call(ctx, c, c.rpc.Reports, &workerpb.ReportsRequest{})
	var reports []outbound.HeardReport
	if err == nil {
		reports, err = decodeHeard(response)
	}
	if err != nil {
		return nil, fmt.Errorf("reports of node %s: %w", c.node, err)
	}
	return reports, nil
}

// Flush implements inbound.NodeFlusher at the node. It takes as long as ctx and the node allow. A call whose
// connection breaks meanwhile is made once more: it may take minutes, long enough for that to happen to a node that
// is well, and what was flushed by then is not flushed again.
func (c *Client) Flush(ctx context.Context) error {
	_, sent, err := call(ctx, c, c.rpc.Flush, &workerpb.FlushRequest{})
	if err != nil && sent && fault.From(err).Code() == codeUnreachable {
		_, _, err = call(ctx, c, c.rpc.Flush, &workerpb.FlushRequest{})
	}
	if err != nil {
		return fmt.Errorf("flush node %s: %w", c.node, err)
	}
	return nil
}

// DigestAt implements inbound.ReplicaDigester at the node. It takes as long as ctx and the node allow.
func (c *Client) DigestAt(ctx context.Context, id shard.ID, mark uint64) (outbound.ReplicaDigest, error) {
	response, _, err := call(ctx, c, c.rpc.Digest, &workerpb.DigestRequest{Shard: uint32(id), Mark: mark})
	if err != nil {
		return outbound.ReplicaDigest{}, fmt.Errorf("digest of shard %s on node %s: %w", id, c.node, err)
	}
	return outbound.ReplicaDigest{Index: response.GetIndex(), Digest: response.GetDigest()}, nil
}
