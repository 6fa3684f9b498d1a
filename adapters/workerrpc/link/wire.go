package link

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
)

// refusalBody has the form of every error of the client API.
type refusalBody struct {
	Error struct {
		Code    Reason `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

// refuseHTTP refuses before the connection is upgraded.
func refuseHTTP(w http.ResponseWriter, status int, r *RefusalError) {
	var body refusalBody
	body.Error.Code, body.Error.Message = r.Reason, r.Message
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Connection", "close")
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the other end may be gone, which changes nothing
}

// refusalOfResponse reads what refuseHTTP, or something else that listens there, answered.
func refusalOfResponse(resp *http.Response) *RefusalError {
	var body refusalBody
	if err := json.NewDecoder(http.MaxBytesReader(nil, resp.Body, messageBytesMax)).Decode(&body); err == nil && body.Error.Code != "" {
		return &RefusalError{Reason: body.Error.Code, Message: body.Error.Message, Remote: true}
	}
	return &RefusalError{Reason: NotANode, Message: fmt.Sprintf("the address answers HTTP status %d and does not take links", resp.StatusCode), Remote: true}
}

// tlsBinding returns bytes that only the two ends of this TLS channel have in common (RFC 9266); nil
// without TLS.
func tlsBinding(state *tls.ConnectionState) ([]byte, error) {
	if state == nil {
		return nil, nil
	}
	if state.Version < tls.VersionTLS13 {
		return nil, Refuse(TLSRequired, "a link needs TLS 1.3")
	}
	binding, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
	if err != nil {
		return nil, fmt.Errorf("bind TLS channel: %w", err)
	}
	return binding, nil
}

// setKeepAlive applies keepAlive to a connection that somebody else's listener accepted, and may have
// wrapped: in TLS, or to count it.
func setKeepAlive(c net.Conn) {
	for {
		wrapper, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = wrapper.NetConn()
	}
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetKeepAliveConfig(keepAlive()) // an aid; users of the link watch it themselves
	}
}
