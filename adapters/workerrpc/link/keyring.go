package link

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"

	"github.com/raftmetrics/raftmetrics/domain/cluster"
)

// ClusterKeyBytes is the length of a cluster's key.
const ClusterKeyBytes = 32

// clusterIDBytesMax bounds a cluster's id in a handshake.
const clusterIDBytesMax = 64

// NewClusterKey draws the key of a new cluster.
func NewClusterKey() []byte {
	key := make([]byte, ClusterKeyBytes)
	_, _ = rand.Read(key) // never fails: it ends the process where there is no entropy
	return key
}

// Keyring holds who this node is and, once it belongs to a cluster, what proves it. It is safe for
// concurrent use.
type Keyring struct {
	mu struct {
		sync.Mutex
		self       cluster.Node
		membership *membership
	}
}

type membership struct {
	clusterID string
	key       []byte
	keys      directionKeys
}

// directionKeys are different for the two ends, so that no proof can be reflected.
type directionKeys struct{ client, server []byte }

// NewKeyring returns the ring of a node that belongs to no cluster yet.
func NewKeyring(self cluster.Node) *Keyring {
	k := &Keyring{}
	k.mu.self = self
	return k
}

// Join makes the node a member of a cluster: from now on it proves to hold key, which is copied. A
// node that is a member of another cluster stays that and gets an AlreadyAdopted refusal.
func (k *Keyring) Join(clusterID string, key []byte) error {
	if len(key) != ClusterKeyBytes || clusterID == "" || len(clusterID) > clusterIDBytesMax {
		return fmt.Errorf("join cluster: expected an id of 1 to %d bytes and a key of %d", clusterIDBytesMax, ClusterKeyBytes)
	}
	keys, err := deriveKeys(key, clusterID, "link")
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if m := k.mu.membership; m != nil && m.clusterID != clusterID {
		return errAdopted(k.mu.self, m.clusterID)
	}
	k.mu.membership = &membership{clusterID: clusterID, key: bytes.Clone(key), keys: keys}
	return nil
}

func errAdopted(self cluster.Node, clusterID string) *RefusalError {
	return Refuse(AlreadyAdopted, "node %s belongs to cluster %s; empty its DATA_DIR to let another cluster adopt it", self.ID(), clusterID)
}

// Leave makes the node one that belongs to no cluster and waits to be adopted, for what made it a member
// is lost. SetSelf its next incarnation before: the one that leaves must not be adopted again. Open links
// stay open, so end them afterwards, those that were accepted by Server.Disconnect and those that were
// dialed where they are used; until then the other nodes take the next incarnation for a second node.
func (k *Keyring) Leave() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.mu.membership = nil
}

// ClusterID returns the cluster that the node belongs to, "" before Join and after Leave.
func (k *Keyring) ClusterID() string {
	if _, m := k.read(); m != nil {
		return m.clusterID
	}
	return ""
}

// Self returns who this node is.
func (k *Keyring) Self() cluster.Node {
	self, _ := k.read()
	return self
}

// SetSelf changes what this node says of itself: its address may become known with adoption.
func (k *Keyring) SetSelf(self cluster.Node) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.mu.self = self
}

func (k *Keyring) read() (cluster.Node, *membership) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.mu.self, k.mu.membership
}

// deriveKeys makes both ends' keys of a secret (HKDF, RFC 5869).
func deriveKeys(secret []byte, salt, use string) (directionKeys, error) {
	client, errClient := hkdf.Key(sha256.New, secret, []byte(salt), "raftmetrics "+use+" v1 client", sha256.Size)
	server, errServer := hkdf.Key(sha256.New, secret, []byte(salt), "raftmetrics "+use+" v1 server", sha256.Size)
	if err := errors.Join(errClient, errServer); err != nil {
		return directionKeys{}, fmt.Errorf("derive keys: %w", err)
	}
	return directionKeys{client: client, server: server}, nil
}
