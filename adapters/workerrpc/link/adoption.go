package link

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/json"
	"fmt"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
)

// Offer is what a cluster tells a node that it adopts.
type Offer struct {
	ClusterID         string `json:"cluster"`
	ClusterKey        []byte `json:"key"`
	Shards            int    `json:"shards"`
	Spread            int    `json:"spread"`
	MapVersion        int    `json:"map_version"`
	ReplicationFactor int    `json:"replication_factor"`
	// Node is the NODE_ID that is meant; "" for whichever node answers.
	Node string `json:"node,omitempty"`
	// Address is how the cluster reaches the node, host:port.
	Address string `json:"address"`
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
	// It is called again with an equal offer when the answer to the first was lost. A *Refusal it
	// returns is told to the other end. Calls are serial.
	Adopt func(ctx context.Context, offer Offer) error
	// Probed, when not nil, learns who asked and what it belongs to: a node that lost its data shows
	// its cluster this way that it waits to be adopted again. It returns at once.
	Probed func(from Status)
}

type adoptionRequest struct {
	Offer *Offer `json:"offer,omitempty"` // nil: a probe
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

// Adopt hands the node at address its cluster's key, encrypted, and returns who it is once it has
// stored that it belongs to the cluster. Adopting a node again with an equal offer changes nothing.
// Refusals: AlreadyAdopted (with another cluster), WrongKey (another secret), WrongNode.
func (d *Dialer) Adopt(ctx context.Context, address string, secret []byte, offer Offer) (Status, error) {
	s, err := d.requestAdoption(ctx, address, secret, adoptionRequest{Offer: &offer})
	if err != nil {
		return Status{}, fmt.Errorf("adopt %s: %w", address, err)
	}
	return s, nil
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
		self := d.Keyring.Self()
		h := hello{Version: Version, Purpose: adoption, Nonce: newNonce(), identity: identityOf(self, d.Keyring.ClusterID())}
		if err := x.greet(h); err != nil {
			return err
		}
		sealed, err := seal(secret, x.transcript, "client", request)
		if err != nil {
			return err
		}
		body, err := x.prove(keys, sealed)
		if err != nil {
			return err
		}
		status, err = openReply(secret, x.transcript, body)
		return err
	})
	if err != nil {
		return Status{}, err
	}
	_ = raw.Close() // all is said
	return status, nil
}

func openReply(secret, transcript, body []byte) (Status, error) {
	var reply adoptionReply
	if err := unseal(secret, transcript, "server", body, &reply); err != nil {
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
	wrongSecret := Refuse(WrongKey, "node %s (%s) has another secret than this node; set the same CLUSTER_SECRET, or AUTH_TOKEN, on both", from.ID(), from.Address())
	body, err := x.verify(keys, wrongSecret)
	if err != nil {
		return peer, err
	}
	var request adoptionRequest
	if err := unseal(secret, x.transcript, "client", body, &request); err != nil {
		return peer, err
	}
	refusal := s.decideAdoption(peer, request)
	var reply adoptionReply
	if reply.identity = identityOf(s.options.Keyring.Self(), s.options.Keyring.ClusterID()); refusal != nil {
		reply.Refusal = wireRefusalOf(refusalOf(refusal))
	}
	sealed, err := seal(secret, x.transcript, "server", reply)
	if err != nil {
		return peer, err
	}
	if err := x.conclude(keys, sealed); err != nil {
		return peer, err
	}
	if refusal != nil {
		s.log.Warn().Err(refusal).Str("node", from.ID().String()).Msg("refused to be adopted")
	}
	return peer, nil
}

func (s *Server) decideAdoption(from Peer, request adoptionRequest) error {
	if request.Offer == nil {
		if s.options.Adoption.Probed != nil {
			s.options.Adoption.Probed(Status{Node: from.Node, ClusterID: from.ClusterID})
		}
		return nil
	}
	s.adopting.Lock()
	defer s.adopting.Unlock()
	offer := *request.Offer
	self := s.options.Keyring.Self()
	if offer.Node != "" && offer.Node != self.ID().String() {
		return Refuse(WrongNode, "node %s answers where %s was expected", self.ID(), offer.Node)
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

// seal encrypts v for this exchange: AES-256-GCM under a key that the transcript, hence both nonces,
// went into; each key encrypts one message, so the nonce may be constant.
func seal(secret, transcript []byte, end string, v any) ([]byte, error) {
	aead, err := sealer(secret, transcript, end)
	if err != nil {
		return nil, err
	}
	plain, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode adoption: %w", err)
	}
	return aead.Seal(nil, make([]byte, aead.NonceSize()), plain, nil), nil
}

func unseal(secret, transcript []byte, end string, sealed []byte, v any) error {
	aead, err := sealer(secret, transcript, end)
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
