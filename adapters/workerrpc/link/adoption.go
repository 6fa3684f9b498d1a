package link

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
)

const (
	// adoptionBytesMax bounds what an adoption carries, mostly the cluster's encoded state.
	adoptionBytesMax = 8 << 20
	// rejectionBytesMax bounds the reason of a rejection.
	rejectionBytesMax = 1 << 10
)

// Offer is what a cluster tells a node that it adopts.
type Offer struct {
	// Node and Incarnation say whom the cluster means, and in which life.
	Node        string `json:"node"`
	Incarnation uint64 `json:"incarnation"`
	// Address is how the cluster reaches the node, host:port.
	Address string `json:"address"`
	// Founding and State are encoded states of the cluster, opaque here.
	Founding []byte `json:"founding"`
	State    []byte `json:"state"`
	// ClusterID and ClusterKey are what the node proves its membership with; Dialer.Adopt fills them in.
	ClusterID  string `json:"cluster"`
	ClusterKey []byte `json:"key"`
}

// Rejection is what a cluster, or a node that would found one, tells a node that it does not take in.
type Rejection struct {
	By        cluster.Node
	ClusterID string // what By belongs to; "" when it has yet to found its cluster
	Reason    string // for people, at most rejectionBytesMax
}

// Status is what a node says of itself to whoever holds the secret.
type Status struct {
	Node      cluster.Node
	ClusterID string // "" while the node belongs to no cluster
}

// AdoptionOptions says how a node is adopted.
type AdoptionOptions struct {
	// Secret is CLUSTER_SECRET or else AUTH_TOKEN.
	Secret []byte
	// Adopt stores a checked offer durably and makes the node join (Keyring.Join) before it returns.
	// It is called again with an equal offer when the answer to the first was lost. A *RefusalError it
	// returns is told to the other end. Calls are serial.
	Adopt func(ctx context.Context, offer Offer) error
	// Rejected, when not nil, is told why others who hold the secret do not take this node in, whether
	// it belongs to a cluster or not. It returns at once; calls may be concurrent.
	Rejected func(Rejection)
}

// adoptionRequest is a probe, or else an offer or a rejection.
type adoptionRequest struct {
	Offer     *Offer `json:"offer,omitempty"`
	Rejection string `json:"rejection,omitempty"`
}

type adoptionReply struct {
	identity
	Refusal *wireRefusal `json:"refusal,omitempty"`
}

// Probe asks the node at address who it is and what cluster it belongs to. secret is CLUSTER_SECRET
// or else AUTH_TOKEN. A node with another secret gives a WrongKey refusal.
func (d *Dialer) Probe(ctx context.Context, address string, secret []byte) (Status, error) {
	s, err := d.requestAdoption(ctx, address, secret, adoptionRequest{})
	if err != nil {
		return Status{}, fmt.Errorf("probe %s: %w", address, err)
	}
	return s, nil
}

// Adopt hands the node at address this node's cluster's key, encrypted, and returns who it is once it
// has stored that it belongs to the cluster. Adopting a node again with an equal offer changes
// nothing. Refusals: AlreadyAdopted (by another cluster), WrongKey (another secret), WrongNode.
func (d *Dialer) Adopt(ctx context.Context, address string, secret []byte, offer Offer) (Status, error) {
	self, member := d.Keyring.read()
	if member == nil {
		return Status{}, Refuse(NotAdopted, "node %s belongs to no cluster yet", self.ID())
	}
	offer.ClusterID, offer.ClusterKey = member.clusterID, member.key
	s, err := d.requestAdoption(ctx, address, secret, adoptionRequest{Offer: &offer})
	if err != nil {
		return Status{}, fmt.Errorf("adopt %s: %w", address, err)
	}
	return s, nil
}

// Reject tells the node at address why it is not adopted, under the secret that an adoption would use.
// More than rejectionBytesMax of the reason is cut off.
func (d *Dialer) Reject(ctx context.Context, address string, secret []byte, reason string) error {
	if len(reason) > rejectionBytesMax {
		// Half a character at the end would become a longer replacement on its way through JSON.
		reason = strings.ToValidUTF8(reason[:rejectionBytesMax], "")
	}
	if _, err := d.requestAdoption(ctx, address, secret, adoptionRequest{Rejection: reason}); err != nil {
		return fmt.Errorf("reject %s: %w", address, err)
	}
	return nil
}

func (d *Dialer) requestAdoption(ctx context.Context, address string, secret []byte, request adoptionRequest) (Status, error) {
	if len(secret) == 0 {
		return Status{}, Refuse(NoAdoption, "this node has no secret to adopt with; set CLUSTER_SECRET or AUTH_TOKEN on it")
	}
	var status Status
	raw, err := d.run(ctx, address, func(x *exchange) error {
		keys, err := deriveKeys(secret, "", "adoption")
		if err != nil {
			return err
		}
		h := hello{
			Version: Version, Purpose: adoption, Nonce: newNonce(),
			identity: identityOf(d.Keyring.Self(), d.Keyring.ClusterID()),
		}
		if err := x.greet(h); err != nil {
			return err
		}
		if _, err := x.prove(keys); err != nil {
			return err
		}
		if err := x.writeSealed(secret, "client", request); err != nil {
			return err
		}
		status, err = x.readReply(secret)
		return err
	})
	if err != nil {
		return Status{}, err
	}
	_ = raw.Close() // all is said
	return status, nil
}

func (x *exchange) readReply(secret []byte) (Status, error) {
	var reply adoptionReply
	if err := x.readSealed(secret, "server", &reply); err != nil {
		return Status{}, err
	}
	if reply.Refusal != nil {
		return Status{}, reply.Refusal.remote()
	}
	node, err := reply.node()
	return Status{Node: node, ClusterID: reply.ClusterID}, err
}

func (s *Server) checkAdoption() error {
	if s.options.Adoption == nil || len(s.options.Adoption.Secret) == 0 {
		return Refuse(NoAdoption, "this node takes no adoption; set CLUSTER_SECRET or AUTH_TOKEN on it")
	}
	return nil
}

// adopt is the server's side of an adoption after hello h was challenged.
func (s *Server) adopt(x *exchange, h hello) (Peer, error) {
	from, err := h.node()
	if err != nil {
		return Peer{}, err
	}
	peer := Peer{ClusterID: h.ClusterID, Node: from, Purpose: adoption}
	secret := s.options.Adoption.Secret
	keys, err := deriveKeys(secret, "", "adoption")
	if err != nil {
		return peer, err
	}
	wrongSecret := Refuse(WrongKey, "AUTH_TOKEN or CLUSTER_SECRET differs between node %s (%s) and the node that it called; set the same on both", from.ID(), from.Address())
	if err := x.verify(keys, wrongSecret); err != nil {
		return peer, err
	}
	if err := x.conclude(keys, nil); err != nil {
		return peer, err
	}
	var request adoptionRequest
	if err := x.readSealed(secret, "client", &request); err != nil {
		return peer, err
	}
	var refusal error
	switch {
	case request.Offer != nil:
		refusal = s.takeOffer(*request.Offer)
	case request.Rejection != "":
		refusal = s.takeRejection(Rejection{By: from, ClusterID: h.ClusterID, Reason: request.Rejection})
	}
	var reply adoptionReply
	if reply.identity = identityOf(s.options.Keyring.Self(), s.options.Keyring.ClusterID()); refusal != nil {
		reply.Refusal = wireRefusalOf(refusalOf(refusal))
		s.log.Warn().Err(refusal).Str("node", from.ID().String()).Str("address", from.Address()).
			Str("cluster", h.ClusterID).Msg("refused to be adopted")
	}
	return peer, x.writeSealed(secret, "server", reply)
}

func (s *Server) takeOffer(offer Offer) error {
	s.adopting.Lock()
	defer s.adopting.Unlock()
	self := s.options.Keyring.Self()
	if offer.Node != self.ID().String() || offer.Incarnation != uint64(self.Incarnation()) {
		return Refuse(WrongNode, "node %s, or another life of it, answers where %s was expected", self.ID(), offer.Node)
	}
	if len(offer.ClusterKey) != ClusterKeyBytes || offer.ClusterID == "" || len(offer.ClusterID) > clusterIDBytesMax {
		return Refuse(Malformed, "the offer's cluster id or key is not valid")
	}
	if id := s.options.Keyring.ClusterID(); id != "" && id != offer.ClusterID {
		return errAdopted(self, id)
	}
	ctx, cancel := context.WithTimeout(s.ctx, HandshakeMax)
	defer cancel()
	return s.options.Adoption.Adopt(ctx, offer)
}

func (s *Server) takeRejection(r Rejection) error {
	if len(r.Reason) > rejectionBytesMax {
		return Refuse(Malformed, "the reason of a rejection exceeds %d bytes", rejectionBytesMax)
	}
	if s.options.Adoption.Rejected != nil {
		s.options.Adoption.Rejected(r)
	}
	return nil
}

// writeSealed sends v encrypted for this exchange: AES-256-GCM under a key that the transcript, hence
// both nonces, went into. Each end encrypts one message, so the nonce may be constant.
func (x *exchange) writeSealed(secret []byte, end string, v any) error {
	aead, err := sealer(secret, x.transcript, end)
	if err != nil {
		return err
	}
	plain, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode adoption: %w", err)
	}
	sealed := aead.Seal(nil, make([]byte, aead.NonceSize()), plain, nil) //nolint:gosec // each key encrypts one message
	return writeFrame(x.rw, sealed, adoptionBytesMax)
}

func (x *exchange) readSealed(secret []byte, end string, v any) error {
	aead, err := sealer(secret, x.transcript, end)
	if err != nil {
		return err
	}
	sealed, err := readFrame(x.rw, adoptionBytesMax)
	if err != nil {
		return err
	}
	plain, err := aead.Open(nil, make([]byte, aead.NonceSize()), sealed, nil)
	if err != nil {
		return Refuse(Malformed, "an adoption message cannot be decrypted")
	}
	if err := json.Unmarshal(plain, v); err != nil {
		return Refuse(Malformed, "an adoption message is not valid")
	}
	return nil
}

func sealer(secret, transcript []byte, end string) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, secret, transcript, "raftmetrics adoption v1 seal "+end, 32)
	if err != nil {
		return nil, fmt.Errorf("derive seal: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return aead, nil
}
