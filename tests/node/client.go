package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Client talks to a server as any HTTP client would.
type Client struct {
	url  string
	http *http.Client
}

// Answer is what a server answered.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// NewClient returns a client of p that keeps up to connections open.
func (p *Process) NewClient(connections int) *Client { return NewClient(p.URL, connections) }

// NewClient returns a client of the server at url that keeps up to connections open.
func NewClient(url string, connections int) *Client {
	return &Client{url: url, http: &http.Client{
		Timeout: time.Minute,
		Transport: &http.Transport{
			MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections, MaxIdleConns: connections, DisableCompression: true,
		},
	}}
}

// WithTimeout returns a client with the same connections whose requests may take so long.
func (c *Client) WithTimeout(most time.Duration) *Client {
	return &Client{url: c.url, http: &http.Client{Timeout: most, Transport: c.http.Transport}}
}

// Close closes the idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Do sends a request with the token; header holds further name, value pairs, which win.
func (c *Client) Do(ctx context.Context, method, path, body string, header ...string) (answer Answer, err error) {
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, strings.NewReader(body))
	if err != nil {
		return Answer{}, err
	}
	req.Header.Set("Authorization", "Bearer "+Token)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	var content bytes.Buffer
	if _, err := io.Copy(&content, resp.Body); err != nil {
		return Answer{}, err
	}
	return Answer{Status: resp.StatusCode, Header: resp.Header, Body: content.String()}, nil
}

// Get reads path with query, given as name, value pairs, into value; any answer but 200 is an error.
func (c *Client) Get(ctx context.Context, path string, value any, query ...string) error {
	values := url.Values{}
	for i := 0; i+1 < len(query); i += 2 {
		values.Add(query[i], query[i+1])
	}
	a, err := c.Do(ctx, http.MethodGet, path+"?"+values.Encode(), "")
	if err != nil {
		return err
	}
	if a.Status != http.StatusOK {
		return fmt.Errorf("GET %s answered %d: %s", path, a.Status, a.Body)
	}
	return json.Unmarshal([]byte(a.Body), value)
}

// Aggregations are the values of an aggregate answer; nil stands for null.
type Aggregations map[string]*float64

// Window is one window of an aggregate answer.
type Window struct {
	Start        time.Time    `json:"start"`
	End          time.Time    `json:"end"`
	Aggregations Aggregations `json:"aggregations"`
}

// Aggregate is the answer of GET /aggregate.
type Aggregate struct {
	Metric       string       `json:"metric"`
	Aggregations Aggregations `json:"aggregations"`
	Window       string       `json:"window"`
	Windows      []Window     `json:"windows"`
}
