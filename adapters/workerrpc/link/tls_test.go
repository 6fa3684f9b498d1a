package link_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/raftmetrics/raftmetrics/adapters/workerrpc/link"
)

// authority signs certificates for 127.0.0.1.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pool        *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{pool: x509.NewCertPool()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.certificate, a.key = a.sign(t, template)
	a.pool.AddCert(a.certificate)
	return a
}

func (a *authority) sign(t *testing.T, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parent, parentKey := a.certificate, a.key
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c, key
}

func (a *authority) issue(t *testing.T) tls.Certificate {
	t.Helper()
	c, key := a.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "node"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	return tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: key}
}

func TestMutualTLS(t *testing.T) {
	a := newAuthority(t)
	s := serve(t, link.ServerOptions{Keyring: ring(t, "server", 7, key(1)), RequireTLS: true}, &tls.Config{
		Certificates: []tls.Certificate{a.issue(t)}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: a.pool,
		NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS13,
	})
	client := ring(t, "client", 1, key(1))

	t.Run("with certificate", func(t *testing.T) {
		d := &link.Dialer{Keyring: client, TLS: &tls.Config{Certificates: []tls.Certificate{a.issue(t)}, RootCAs: a.pool}}
		c, err := dial(t, d, s, "server")
		if err != nil {
			t.Fatal(err)
		}
		served := <-s.conns
		mustWrite(t, c, []byte("ping"))
		got := make([]byte, 4)
		if _, err := io.ReadFull(served, got); err != nil || string(got) != "ping" {
			t.Fatalf("read %q, %v", got, err)
		}
	})
	t.Run("without certificate", func(t *testing.T) {
		d := &link.Dialer{Keyring: client, TLS: &tls.Config{RootCAs: a.pool}}
		_, err := dial(t, d, s, "server")
		wantReason(t, err, link.TLSRequired)
	})
	t.Run("certificate of strangers", func(t *testing.T) {
		d := &link.Dialer{Keyring: client, TLS: &tls.Config{Certificates: []tls.Certificate{newAuthority(t).issue(t)}, RootCAs: a.pool}}
		if _, err := dial(t, d, s, "server"); err == nil {
			t.Fatal("linked with a certificate that nobody trusts")
		}
	})
	t.Run("server of strangers", func(t *testing.T) {
		d := &link.Dialer{Keyring: client, TLS: &tls.Config{Certificates: []tls.Certificate{a.issue(t)}, RootCAs: newAuthority(t).pool}}
		if _, err := dial(t, d, s, "server"); err == nil {
			t.Fatal("linked with a server that nobody trusts")
		}
	})
	t.Run("relayed through other TLS", func(t *testing.T) {
		// Someone with a certificate of our authority, but without the key, ends TLS on both sides
		// and passes the bytes on.
		relay, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{a.issue(t)}, MinVersion: tls.VersionTLS13})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			relayOnce(relay, s.address, &tls.Config{Certificates: []tls.Certificate{a.issue(t)}, RootCAs: a.pool, MinVersion: tls.VersionTLS13})
		}()
		d := &link.Dialer{Keyring: client, TLS: &tls.Config{Certificates: []tls.Certificate{a.issue(t)}, RootCAs: a.pool}}
		_, err = d.Dial(t.Context(), relay.Addr().String(), node(t, "server", 1).ID(), link.Raft)
		wantReason(t, err, link.WrongKey)
		_ = relay.Close()
		<-done
	})
}

func relayOnce(l net.Listener, target string, config *tls.Config) {
	near, err := l.Accept()
	if err != nil {
		return
	}
	far, err := tls.Dial("tcp", target, config)
	if err != nil {
		_ = near.Close()
		return
	}
	back := make(chan struct{})
	go func() {
		defer close(back)
		_, _ = io.Copy(near, far)
		_ = near.Close()
	}()
	_, _ = io.Copy(far, near)
	_ = far.Close()
	<-back
}
