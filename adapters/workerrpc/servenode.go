package workerrpc

import (
	"context"

	"github.com/raftmetrics/raftmetrics/adapters/workerrpc/link"
	"github.com/raftmetrics/raftmetrics/adapters/workerrpc/workerpb"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

// Status implements workerpb.WorkerHandler.
func (s *Server) Status(context.Context, *workerpb.StatusRequest) (*workerpb.StatusResponse, error) {
	return &workerpb.StatusResponse{Shards: encodeStatus(s.config.Shards.Shards())}, nil
}

// Report implements workerpb.WorkerHandler. A node reports about itself only.
func (s *Server) Report(ctx context.Context, req *workerpb.ReportRequest) (*workerpb.ReportResponse, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	report, err := decodeReport(req)
	if err != nil {
		return nil, encodeFault(err)
	}
	peer, _ := ctx.Value(peerKey{}).(link.Peer)
	if peer.Node.ID() != report.Node || peer.Node.Incarnation() != report.Incarnation {
		return nil, encodeFault(fault.Newf(fault.Forbidden, "foreign_report", "node %s reports as %s", peer.Node.ID(), report.Node))
	}
	reply, err := s.config.Reports.Report(ctx, report)
	if err != nil {
		return nil, encodeFault(err)
	}
	return encodeReply(reply), nil
}

var errNotServed = fault.New(fault.Unavailable, "not_served", "this node does not answer that; try again")

// ProposeMeta implements workerpb.WorkerHandler.
func (s *Server) ProposeMeta(ctx context.Context, req *workerpb.ProposeMetaRequest) (*workerpb.ProposeMetaResponse, error) {
	if s.config.Meta == nil {
		return nil, encodeFault(errNotServed.WithCause(outbound.ErrNotProposed))
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	outcome, err := s.config.Meta.ProposeMeta(ctx, req.GetCommand())
	if err != nil {
		return nil, encodeFault(err)
	}
	return &workerpb.ProposeMetaResponse{Outcome: outcome}, nil
}

// Reports implements workerpb.WorkerHandler.
func (s *Server) Reports(ctx context.Context, _ *workerpb.ReportsRequest) (*workerpb.ReportsResponse, error) {
	if s.config.Heard == nil {
		return nil, encodeFault(errNotServed)
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	reports, err := s.config.Heard.Reports(ctx)
	if err != nil {
		return nil, encodeFault(err)
	}
	return encodeHeard(reports), nil
}

// Flush implements workerpb.WorkerHandler. How long a flush may take is for the caller to say, which
// the loss of its connection ends, too.
func (s *Server) Flush(ctx context.Context, _ *workerpb.FlushRequest) (*workerpb.FlushResponse, error) {
	if s.config.Flusher == nil {
		return nil, encodeFault(errNotServed)
	}
	if err := s.config.Flusher.Flush(ctx); err != nil {
		return nil, encodeFault(err)
	}
	return &workerpb.FlushResponse{}, nil
}

// Digest implements workerpb.WorkerHandler. Its time is bounded as that of Flush is.
func (s *Server) Digest(ctx context.Context, req *workerpb.DigestRequest) (*workerpb.DigestResponse, error) {
	if s.config.Digester == nil {
		return nil, encodeFault(errNotServed)
	}
	digest, err := s.config.Digester.DigestAt(ctx, shard.ID(req.GetShard()), req.GetMark())
	if err != nil {
		return nil, encodeFault(err)
	}
	return &workerpb.DigestResponse{Index: digest.Index, Digest: digest.Digest}, nil
}
