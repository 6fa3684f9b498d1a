package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/raftmetrics/raftmetrics/domain/fault"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// retentionBodyBytesMax bounds the body of a new retention policy: as many rules as there may be.
const retentionBodyBytesMax = 128 << 10

// How long samples are kept, in the form that clients see and send.
type (
	retentionJSON struct {
		Default string              `json:"default"`
		Rules   []retentionRuleJSON `json:"rules"`
	}
	retentionRuleJSON struct {
		Metric string `json:"metric"`
		Keep   string `json:"keep"`
	}
)

func retentionJSONOf(p metric.RetentionPolicy) retentionJSON {
	answer := retentionJSON{Default: metric.FormatKeep(p.Default), Rules: []retentionRuleJSON{}}
	for _, r := range p.Rules {
		answer.Rules = append(answer.Rules, retentionRuleJSON{Metric: r.Pattern, Keep: metric.FormatKeep(r.Keep)})
	}
	return answer
}

func (j retentionJSON) policy() (p metric.RetentionPolicy, err error) {
	if p.Default, err = metric.ParseKeep("default", j.Default); err != nil {
		return p, err
	}
	for i, r := range j.Rules {
		keep, err := metric.ParseKeep(fmt.Sprintf("rules[%d].keep", i), r.Keep)
		if err != nil {
			return p, err
		}
		p.Rules = append(p.Rules, metric.RetentionRule{Pattern: r.Metric, Keep: keep})
	}
	return p, p.Check("rules")
}

// getRetention shows how long samples are kept.
func (s *Server) getRetention(x *exchange, r *http.Request, _ map[string]string) error {
	ctx, cancel, err := admin(x, r)
	if err != nil {
		return err
	}
	defer cancel()
	policy, err := s.ports.Retention.Retention(ctx)
	if err != nil {
		return err
	}
	return x.sendValue(r, http.StatusOK, retentionJSONOf(policy))
}

// putRetention changes it and answers with what holds from now on.
func (s *Server) putRetention(x *exchange, r *http.Request, _ map[string]string) error {
	policy, err := readRetention(r)
	if err != nil {
		return err
	}
	ctx, cancel, err := admin(x, r)
	if err != nil {
		return err
	}
	defer cancel()
	if err := s.ports.Retention.SetRetention(ctx, policy); err != nil {
		return err
	}
	return x.sendValue(r, http.StatusOK, retentionJSONOf(policy))
}

// retentionExample completes what is said of a body that cannot be read.
const retentionExample = `{"default":"30d","rules":[{"metric":"debug_*","keep":"7d"}]}`

// readRetention reads a whole policy: a member that is missing or unknown is refused, for a policy that was
// not meant forgets samples.
func readRetention(r *http.Request) (metric.RetentionPolicy, error) {
	if lines, err := isLines(r.Header); err != nil || lines {
		return metric.RetentionPolicy{}, fault.New(fault.Unsupported, "unsupported_media_type", "cannot read this Content-Type here; send application/json")
	}
	var body bytes.Buffer
	if _, err := body.ReadFrom(http.MaxBytesReader(nil, r.Body, retentionBodyBytesMax)); err != nil {
		return metric.RetentionPolicy{}, fault.Wrap(err, fault.Invalid, "invalid_json",
			fmt.Sprintf("the body is longer than %d bytes or could not be read; send %s", retentionBodyBytesMax, retentionExample))
	}
	decoder := json.NewDecoder(&body)
	decoder.DisallowUnknownFields()
	var j retentionJSON
	if err := decoder.Decode(&j); err != nil || decoder.More() {
		return metric.RetentionPolicy{}, fault.Wrap(err, fault.Invalid, "invalid_json",
			"the body is not a JSON object with default and, if wanted, rules, and nothing else; send "+retentionExample)
	}
	return j.policy()
}
