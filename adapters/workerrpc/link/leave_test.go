package link_test

import (
	"errors"
	"io"
	"testing"

	"github.com/raftmetrics/raftmetrics/adapters/workerrpc/link"
)

func TestNodeThatLeftIsAdoptedInItsNextLife(t *testing.T) {
	s, leaving, taken := adoptable(t, secret)
	control := &link.Dialer{Keyring: ring(t, "control", 1, key(5))}
	if _, err := control.Adopt(t.Context(), s.address, secret, offer()); err != nil {
		t.Fatal(err)
	}
	open, err := dial(t, control, s, "worker-1")
	if err != nil {
		t.Fatal(err)
	}
	next := node(t, "worker-1", 4)
	leaving.SetSelf(next)
	leaving.Leave()
	s.Disconnect()
	if _, err := open.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the old membership's link: %v, want its end", err)
	}
	_, err = dial(t, control, s, "worker-1")
	wantReason(t, err, link.NotAdopted)
	_, err = dial(t, &link.Dialer{Keyring: leaving}, s, "")
	wantReason(t, err, link.NotAdopted)
	status, err := control.Probe(t.Context(), s.address, secret)
	if err != nil || status.ClusterID != "" || status.Node != next {
		t.Fatalf("probe=%+v, %v; want %v without a cluster", status, err, next)
	}
	_, err = control.Adopt(t.Context(), s.address, secret, offer()) // to the life that is over
	wantReason(t, err, link.WrongNode)
	again := offer()
	again.Incarnation = 4
	status, err = control.Adopt(t.Context(), s.address, secret, again)
	if err != nil || status.ClusterID != clusterID || len(*taken) != 2 {
		t.Fatalf("adopted again: %+v, %v", status, err)
	}
	if _, err := dial(t, control, s, "worker-1"); err != nil {
		t.Errorf("link to the new life: %v", err)
	}
}
