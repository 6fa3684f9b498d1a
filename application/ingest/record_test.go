package ingest_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/raftmetrics/raftmetrics/ports/inbound"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRecordStoresEverySampleOnce(t *testing.T) {
	n := newNode(t, 8)
	batch := observations(t, 1000)
	reply, err := n.recorder.Record(t.Context(), inbound.RecordRequest{Observations: batch})
	if err != nil || reply.Stored != 1000 || reply.Received != n.received() {
		t.Fatalf("Record=%+v, %v", reply, err)
	}
	n.wantSamples(t, batch, 1)
}
