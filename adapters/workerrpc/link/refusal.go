package link

import (
	"errors"
	"fmt"
)

// Reason says why a connection was refused, in one word that both sides log.
type Reason string

// The reasons.
const (
	WrongCluster   Reason = "wrong_cluster"     // the ends belong to different clusters
	WrongKey       Reason = "wrong_key"         // the ends hold different keys or secrets
	WrongNode      Reason = "wrong_node"        // another node than expected answers at this address
	DuplicateNode  Reason = "duplicate_node"    // the NODE_ID is in use by another living node
	WrongVersion   Reason = "wrong_version"     // the ends speak different versions
	NotAdopted     Reason = "not_adopted"       // the node belongs to no cluster yet
	AlreadyAdopted Reason = "already_adopted"   // the node to be adopted belongs to another cluster
	NoAdoption     Reason = "no_adoption"       // the node takes no adoption: it has no secret
	NotServed      Reason = "not_served"        // nobody takes connections of this purpose
	Busy           Reason = "busy"              // too many connections or handshakes
	TLSRequired    Reason = "tls_required"      // mutual TLS is configured here and not used there
	Stopping       Reason = "stopping"          // the node is shutting down
	Malformed      Reason = "malformed"         // what came is not the protocol
	Refused        Reason = "refused"           // the node's own rules, told in the message
	NotANode       Reason = "not_a_raftmetrics" // what answers there is not a RaftMetrics node
)

// RefusalError is the error of a connection that one end does not want. Two refusals are errors.Is equal
// when their reasons are.
type RefusalError struct {
	Reason  Reason
	Message string // for people, says what to do; holds no secret
	// Remote tells that the other end refused; its word is not authenticated.
	Remote bool
}

// Refuse makes a refusal of this end.
func Refuse(reason Reason, format string, args ...any) *RefusalError {
	return &RefusalError{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// Error implements error.
func (r *RefusalError) Error() string {
	by := "refused here"
	if r.Remote {
		by = "refused by the other node"
	}
	return by + " (" + string(r.Reason) + "): " + r.Message
}

// Is reports whether target is a refusal for the same reason.
func (r *RefusalError) Is(target error) bool {
	t, ok := target.(*RefusalError)
	return ok && t.Reason == r.Reason
}

// ReasonOf returns why err refused a connection; "" when err is not a refusal.
func ReasonOf(err error) Reason {
	if r, ok := errors.AsType[*RefusalError](err); ok {
		return r.Reason
	}
	return ""
}

func refusalOf(err error) *RefusalError {
	if r, ok := errors.AsType[*RefusalError](err); ok {
		return r
	}
	return &RefusalError{Reason: Refused, Message: err.Error()}
}
