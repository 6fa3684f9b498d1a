package workerrpc_test

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/raftmetrics/raftmetrics/adapters/workerrpc"
	"github.com/raftmetrics/raftmetrics/adapters/workerrpc/link"
	"github.com/raftmetrics/raftmetrics/domain/cluster"
	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/ports/outbound"
)

func TestRecruiter(t *testing.T) {
	waiting := newNode(t, "worker-1", 5)
	ring := link.NewKeyring(waiting)
	var offered link.Offer
	var rejected link.Rejection
	links := link.NewServer(link.ServerOptions{Keyring: ring, Log: zerolog.Nop(), Adoption: &link.AdoptionOptions{
		Secret: []byte("secret"), Rejected: func(r link.Rejection) { rejected = r },
		Adopt: func(_ context.Context, o link.Offer) error {
			offered = o
			return ring.Join(o.ClusterID, o.ClusterKey)
		},
	}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(link.Path, links)
	public := &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = public.Serve(l)
	}()
	t.Cleanup(func() {
		_ = public.Close()
		_ = links.Close()
		<-done
	})
	address := l.Addr().String()
	dialer := &link.Dialer{Keyring: newRing(t, "control")}

	stranger := workerrpc.NewRecruiter(dialer, []byte("other"))
	if _, err := stranger.Introduce(t.Context(), address); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("another secret: %v", err)
	}
	r := workerrpc.NewRecruiter(dialer, []byte("secret"))
	who, err := r.Introduce(t.Context(), address)
	want := outbound.Introduction{Node: waiting.ID(), Role: cluster.Worker, Incarnation: 5}
	if err != nil || who != want {
		t.Fatalf("introduction=%+v, %v; want %+v", who, err, want)
	}
	if err := r.Refuse(t.Context(), address, "not you"); err != nil || rejected.Reason != "not you" || rejected.ClusterID != "cluster" {
		t.Errorf("rejection=%+v, %v", rejected, err)
	}
	if err := stranger.Refuse(t.Context(), address, "nor you"); fault.KindOf(err) != fault.Unauthenticated || rejected.Reason != "not you" {
		t.Errorf("rejection=%+v, %v", rejected, err)
	}
	adoption := outbound.Adoption{Node: who.Node, Incarnation: who.Incarnation, Founding: []byte("f"), State: []byte("s")}
	wrong := adoption
	wrong.Incarnation++
	if err := r.Adopt(t.Context(), address, wrong); fault.KindOf(err) != fault.Conflict {
		t.Errorf("another life: %v", err)
	}
	for range 2 { // repeating it is harmless
		if err := r.Adopt(t.Context(), address, adoption); err != nil {
			t.Fatal(err)
		}
	}
	if string(offered.State) != "s" || string(offered.Founding) != "f" || offered.Address != address {
		t.Errorf("offer=%+v", offered)
	}
	if who, err = r.Introduce(t.Context(), address); err != nil || who.ClusterID != "cluster" {
		t.Errorf("introduction=%+v, %v", who, err)
	}
	_ = public.Close()
	if _, err := r.Introduce(t.Context(), address); fault.KindOf(err) != fault.Unavailable || fault.From(err).Message() != "no answer: connection refused" {
		t.Errorf("nobody there: %v", err)
	}
}
