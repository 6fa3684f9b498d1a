package ingest_test

import (
	"context"
	"errors"
	"testing"

	"go.uber.org/mock/gomock"

	"github.com/raftmetrics/raftmetrics/application/command"
	"github.com/raftmetrics/raftmetrics/application/ingest"
	"github.com/raftmetrics/raftmetrics/domain/shard"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
	"github.com/raftmetrics/raftmetrics/tests/mocks/outboundmock"
)

func TestCompactorTellsSeriesByNumber(t *testing.T) {
	ctrl := gomock.NewController(t)
	proposer, series := outboundmock.NewMockProposer(ctrl), outboundmock.NewMockSeriesNumberer(ctrl)
	series.EXPECT().NumberSeries(shard.ID(3), []string{"a", "b"}, gomock.Any()).Times(2).
		DoAndReturn(func(_ shard.ID, _ []string, numbers []uint32) uint32 {
			copy(numbers, []uint32{8, 0})
			return 1
		})
	var f command.Frame
	f.EncodeWrite(command.Identity{}, outbound.Columns{
		Keys: []string{"a", "b"}, Series: []uint32{0, 1}, Timestamps: []int64{1, 2}, Values: []float64{3, 4},
	})
	data := f.Seal(command.Header{Session: 1, Sequence: 1, Lowest: 1})
	var proposed outbound.Columns
	proposer.EXPECT().Propose(gomock.Any(), shard.ID(3), gomock.Any()).
		DoAndReturn(func(_ context.Context, _ shard.ID, data []byte) ([]byte, error) {
			h, body, err := command.DecodeHeader(data)
			if err != nil {
				return nil, err
			}
			_, proposed, err = new(command.Decoder).Write(h, body)
			return []byte("outcome"), err
		})
	c := ingest.NewCompactor(proposer, series)
	if outcome, err := c.Propose(t.Context(), 3, data); err != nil || string(outcome) != "outcome" {
		t.Fatalf("Propose=%q, %v", outcome, err)
	}
	if proposed.Keys[0] != "" || proposed.Keys[1] != "b" || proposed.Numbers[0] != 8 || proposed.Numbers[1] != 0 {
		t.Errorf("proposed %q %d", proposed.Keys, proposed.Numbers)
	}
	proposer.EXPECT().Propose(gomock.Any(), gomock.Any(), gomock.Any()).Return(nil, outbound.ErrNotProposed)
	if _, err := c.Propose(t.Context(), 3, data); !errors.Is(err, outbound.ErrNotProposed) {
		t.Errorf("Propose=%v, want ErrNotProposed", err)
	}
}
