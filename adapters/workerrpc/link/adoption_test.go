package link_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/raftmetrics/raftmetrics/adapters/workerrpc/link"
)

var secret = []byte("a secret that both sides were given")

func offer() link.Offer {
	return link.Offer{
		Node: "worker-1", Incarnation: 3, Address: "worker-1:8081",
		Founding: []byte("founding"), State: bytes.Repeat([]byte("state"), 100_000),
	}
}

// adoptable serves a node that can be adopted and keeps the offers it took.
func adoptable(t *testing.T, adoptSecret []byte) (*testServer, *link.Keyring, *[]link.Offer) {
	t.Helper()
	ring := loneRing(t, "worker-1", 3)
	var taken []link.Offer
	s := serve(t, link.ServerOptions{Keyring: ring, Adoption: &link.AdoptionOptions{
		Secret: adoptSecret,
		Adopt: func(_ context.Context, o link.Offer) error {
			taken = append(taken, o)
			return ring.Join(o.ClusterID, o.ClusterKey)
		},
	}}, nil)
	return s, ring, &taken
}

func TestAdoptionHandsOverTheKey(t *testing.T) {
	s, adopted, taken := adoptable(t, secret)
	control := ring(t, "control", 1, key(5))
	var rec *recorder
	d := &link.Dialer{Keyring: control, DialContext: recording(&rec)}
	status, err := d.Probe(t.Context(), s.address, secret)
	if err != nil || status.ClusterID != "" || status.Node != node(t, "worker-1", 3) {
		t.Fatalf("probe=%+v, %v", status, err)
	}
	status, err = d.Adopt(t.Context(), s.address, secret, offer())
	if err != nil {
		t.Fatal(err)
	}
	if status.ClusterID != clusterID || status.Node != node(t, "worker-1", 3) || adopted.ClusterID() != clusterID {
		t.Errorf("status=%+v, ring in %q", status, adopted.ClusterID())
	}
	want := offer()
	want.ClusterID, want.ClusterKey = clusterID, key(5)
	if diff := cmp.Diff(want, (*taken)[0], cmp.Comparer(bytes.Equal)); diff != "" {
		t.Errorf("offer (-want +got):\n%s", diff)
	}
	for _, hidden := range [][]byte{key(5), secret, []byte("worker-1:8081\""), []byte("founding")} {
		for _, form := range [][]byte{hidden, []byte(base64.StdEncoding.EncodeToString(hidden))} {
			if bytes.Contains(rec.sent.Bytes(), form) || bytes.Contains(rec.got.Bytes(), form) {
				t.Errorf("%q crossed the wire in clear", hidden)
			}
		}
	}
	// The key that was handed over opens links.
	if _, err := dial(t, &link.Dialer{Keyring: control}, s, "worker-1"); err != nil {
		t.Fatal(err)
	}
	// The answer may have been lost: asking again is harmless.
	if _, err := d.Adopt(t.Context(), s.address, secret, offer()); err != nil {
		t.Errorf("adopt again: %v", err)
	}
}

func TestAdoptionRefusals(t *testing.T) {
	control := ring(t, "control", 1, key(5))
	d := &link.Dialer{Keyring: control}
	t.Run("wrong secret", func(t *testing.T) {
		s, adopted, _ := adoptable(t, []byte("another secret"))
		_, err := d.Adopt(t.Context(), s.address, secret, offer())
		wantReason(t, err, link.WrongKey)
		_, err = d.Probe(t.Context(), s.address, secret)
		wantReason(t, err, link.WrongKey)
		if adopted.ClusterID() != "" {
			t.Error("adopted all the same")
		}
	})
	t.Run("another cluster", func(t *testing.T) {
		s, adopted, _ := adoptable(t, secret)
		if err := adopted.Join("first-cluster", key(9)); err != nil {
			t.Fatal(err)
		}
		_, err := d.Adopt(t.Context(), s.address, secret, offer())
		wantReason(t, err, link.AlreadyAdopted)
		if !strings.Contains(err.Error(), "first-cluster") {
			t.Errorf("err=%v does not name the cluster", err)
		}
		status, err := d.Probe(t.Context(), s.address, secret)
		if err != nil || status.ClusterID != "first-cluster" {
			t.Errorf("probe=%+v, %v", status, err)
		}
	})
	t.Run("another node", func(t *testing.T) {
		s, _, _ := adoptable(t, secret)
		o := offer()
		o.Node = "worker-2"
		_, err := d.Adopt(t.Context(), s.address, secret, o)
		wantReason(t, err, link.WrongNode)
	})
	t.Run("another life", func(t *testing.T) {
		s, _, _ := adoptable(t, secret)
		o := offer()
		o.Incarnation++
		_, err := d.Adopt(t.Context(), s.address, secret, o)
		wantReason(t, err, link.WrongNode)
	})
	t.Run("adopter without cluster", func(t *testing.T) {
		s, _, _ := adoptable(t, secret)
		_, err := (&link.Dialer{Keyring: loneRing(t, "control", 1)}).Adopt(t.Context(), s.address, secret, offer())
		wantReason(t, err, link.NotAdopted)
	})
	t.Run("no secret", func(t *testing.T) {
		s := serve(t, link.ServerOptions{Keyring: loneRing(t, "worker-1", 3)}, nil)
		_, err := d.Adopt(t.Context(), s.address, secret, offer())
		wantReason(t, err, link.NoAdoption)
		_, err = d.Adopt(t.Context(), s.address, nil, offer())
		wantReason(t, err, link.NoAdoption)
	})
	t.Run("storing fails", func(t *testing.T) {
		s := serve(t, link.ServerOptions{Keyring: loneRing(t, "worker-1", 3), Adoption: &link.AdoptionOptions{
			Secret: secret, Adopt: func(context.Context, link.Offer) error { return errors.New("disk is full") },
		}}, nil)
		_, err := d.Adopt(t.Context(), s.address, secret, offer())
		wantReason(t, err, link.Refused)
	})
}

func TestRejectionIsHeard(t *testing.T) {
	ring5 := ring(t, "control", 1, key(5))
	worker := loneRing(t, "worker-1", 3)
	heard := make(chan link.Rejection, 4)
	s := serve(t, link.ServerOptions{Keyring: worker, Adoption: &link.AdoptionOptions{
		Secret: secret, Rejected: func(r link.Rejection) { heard <- r },
		Adopt: func(context.Context, link.Offer) error { return errors.New("nothing was offered") },
	}}, nil)
	var rec *recorder
	d := &link.Dialer{Keyring: ring5, DialContext: recording(&rec)}
	const reason = "NODE_ID worker-1 is in use"
	reject := func(d *link.Dialer, reason, clusterID, want string) {
		t.Helper()
		if err := d.Reject(t.Context(), s.address, secret, reason); err != nil {
			t.Fatal(err)
		}
		wanted := link.Rejection{By: node(t, "control", 1), ClusterID: clusterID, Reason: want}
		if got := <-heard; got != wanted {
			t.Errorf("heard %+v, want %+v", got, wanted)
		}
	}
	reject(d, reason, clusterID, reason)
	if bytes.Contains(rec.sent.Bytes(), []byte(reason)) {
		t.Error("the reason crossed the wire in clear")
	}
	reject(&link.Dialer{Keyring: loneRing(t, "control", 1)}, reason, "", reason) // before it has founded
	reject(d, strings.Repeat("x", 1023)+"é and more", clusterID, strings.Repeat("x", 1023))
	if err := worker.Join("first-cluster", key(9)); err != nil {
		t.Fatal(err)
	}
	reject(d, reason, clusterID, reason) // a member elsewhere hears it, too
	err := d.Reject(t.Context(), s.address, []byte("another secret"), reason)
	wantReason(t, err, link.WrongKey)
	if text := err.Error(); !strings.Contains(text, "AUTH_TOKEN or CLUSTER_SECRET differs between node control") {
		t.Errorf("err=%s does not say which secrets differ", text)
	}
	if len(heard) != 0 {
		t.Errorf("heard %+v from a stranger", <-heard)
	}
	deaf, _, _ := adoptable(t, secret)
	if err := d.Reject(t.Context(), deaf.address, secret, reason); err != nil {
		t.Errorf("a node that listens to none: %v", err)
	}
}

func TestRingStaysInItsCluster(t *testing.T) {
	k := ring(t, "a", 1, key(1))
	wantReason(t, k.Join("another", key(2)), link.AlreadyAdopted)
	if err := k.Join(clusterID, key(2)[:31]); err == nil {
		t.Error("a short key was taken")
	}
	moved := node(t, "a", 1)
	k.SetSelf(moved)
	if k.ClusterID() != clusterID || k.Self() != moved {
		t.Errorf("ring=%q %v", k.ClusterID(), k.Self())
	}
	if bytes.Equal(link.NewClusterKey(), link.NewClusterKey()) {
		t.Error("two new keys are equal")
	}
}
