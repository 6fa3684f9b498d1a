package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	probeDurationMax = 3 * time.Second
	probeBytesMax    = 64 << 10
)

// Probe asks the server at baseURL for /health, copies what it answers to out, and returns an error
// unless the answer is 200.
func Probe(ctx context.Context, baseURL, token string, out io.Writer) (err error) {
	ctx, cancel := context.WithTimeout(ctx, probeDurationMax)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, baseURL+"/health", http.NoBody)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("ask for health: %w", err)
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if _, err := io.Copy(out, io.LimitReader(resp.Body, probeBytesMax)); err != nil {
		return fmt.Errorf("read health: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("not healthy: %s", resp.Status)
	}
	return nil
}
