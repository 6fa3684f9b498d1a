package main

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"time"

	"github.com/raftmetrics/raftmetrics/tests/bench/workload"
)

// The goals of the engine that are no ratio of a question.
const (
	goalIngestRatio        = 1.2 // of processor time a million samples, settled
	goalThreeAcked         = 1.0 // CPU-seconds a million over all nodes
	goalThreeSettled       = 1.8
	goalThreeRate          = 800_000 // samples a second
	goalDiskRatio          = 2.0     // bytes a sample and copy
	goalLone               = time.Millisecond
	milliseconds           = float64(time.Millisecond)
	unknown                = "-"
	mebi             int64 = 1 << 20
)

// of returns the median over the loads.
func of(loads []loaded, figure func(loaded) float64) float64 {
	all := make([]float64, len(loads))
	for i, l := range loads {
		all[i] = figure(l)
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// report prints the tables.
func report(out io.Writer, shape workload.Shape, questions []workload.Question, all []*measured) {
	for _, m := range all {
		if m.system.version != "" {
			_, _ = fmt.Fprintf(out, "%s is %s\n", m.system.name, m.system.version)
		}
	}
	_, _ = fmt.Fprintf(out, "%d hosts x %d metrics x %d samples = %d samples, %d processors\n\n", shape.Hosts, len(workload.Fields), shape.Times, shape.Samples(), runtime.GOMAXPROCS(0))
	reportLoads(out, all)
	reportQuestions(out, questions, all)
	reportGoals(out, questions, all)
}

func reportLoads(out io.Writer, all []*measured) {
	_, _ = fmt.Fprintln(out, "load\tsamples/s\tCPU s/million acked\tsettled\tsettling s\tB/sample\twith logs\tRSS MiB\tpeak\tlone write ms\tvisible after\t")
	for _, m := range all {
		_, _ = fmt.Fprintf(out, "%s\t%.0f\t%.3f\t%.3f\t%.1f\t%.2f\t%.2f\t%d\t%d\t%.2f\t%v\t\n", m.system.name,
			of(m.loads, loaded.rate), of(m.loads, loaded.cpuAcked), of(m.loads, loaded.cpuSettled),
			of(m.loads, func(l loaded) float64 { return l.settling.Seconds() }), of(m.loads, loaded.bytesASample), of(m.loads, loaded.withLogASample),
			m.loads[0].resident/mebi, m.loads[0].highest/mebi, float64(m.lone.write)/milliseconds, m.lone.visible)
	}
	_, _ = fmt.Fprintln(out)
}

func reportQuestions(out io.Writer, questions []workload.Question, all []*measured) {
	_, _ = fmt.Fprint(out, "question\t")
	for _, m := range all {
		_, _ = fmt.Fprintf(out, "%s ms\tCPU ms\t", m.system.name)
	}
	_, _ = fmt.Fprintln(out)
	for q, question := range questions {
		_, _ = fmt.Fprintf(out, "%s %s\t", question.Name, question.Says)
		for _, m := range all {
			a := &m.asked[q]
			if !a.valid() {
				_, _ = fmt.Fprintf(out, "%s\t\t", a.verdict())
				continue
			}
			_, _ = fmt.Fprintf(out, "%.2f\t%.2f\t", float64(a.median())/milliseconds, float64(a.cpuEach())/milliseconds)
		}
		_, _ = fmt.Fprintln(out)
	}
	_, _ = fmt.Fprintln(out)
}

// verdict says why there are no figures.
func (a *asked) verdict() string {
	if a.wrong != nil {
		return "WRONG"
	}
	return "refused"
}

// failures returns what was refused or wrong.
func failures(questions []workload.Question, all []*measured) error {
	var errs []error
	for _, m := range all {
		for q, a := range m.asked {
			if a.refused != "" {
				errs = append(errs, fmt.Errorf("%s of %s is refused: %s", questions[q].Name, m.system.name, a.refused))
			}
			if a.wrong != nil {
				errs = append(errs, fmt.Errorf("%s of %s is wrong: %w", questions[q].Name, m.system.name, a.wrong))
			}
		}
	}
	return errors.Join(errs...)
}

// reportGoals prints what was to be reached, as far as it was measured.
func reportGoals(out io.Writer, questions []workload.Question, all []*measured) {
	var one, three, peer *measured
	for _, m := range all {
		switch {
		case m.system.peer:
			peer = m
		case len(m.system.urls) > 1:
			three = m
		default:
			one = m
		}
	}
	_, _ = fmt.Fprintln(out, "goal\tours\tpeer\tratio\twanted\tmet\t")
	ratio := func(name string, ours, theirs, goal float64) {
		_, _ = fmt.Fprintf(out, "%s\t%.2f\t%.2f\t%.2f\t<= %.2f\t%s\t\n", name, ours, theirs, ours/theirs, goal, yes(ours <= goal*theirs))
	}
	most := func(name string, ours, goal float64) {
		_, _ = fmt.Fprintf(out, "%s\t%.2f\t%s\t%s\t<= %.2f\t%s\t\n", name, ours, unknown, unknown, goal, yes(ours <= goal))
	}
	if one != nil && peer != nil {
		ratio("ingest, one node, CPU s/million settled", of(one.loads, loaded.cpuSettled), of(peer.loads, loaded.cpuSettled), goalIngestRatio)
	}
	if three != nil {
		most("ingest, three nodes, CPU s/million acked", of(three.loads, loaded.cpuAcked), goalThreeAcked)
		most("ingest, three nodes, CPU s/million settled", of(three.loads, loaded.cpuSettled), goalThreeSettled)
		rate := of(three.loads, loaded.rate)
		_, _ = fmt.Fprintf(out, "ingest, three nodes, samples/s\t%.0f\t%s\t%s\t>= %d\t%s\t\n", rate, unknown, unknown, goalThreeRate, yes(rate >= goalThreeRate))
	}
	if one != nil && peer != nil {
		for q, question := range questions {
			if ours, theirs := one.asked[q], peer.asked[q]; ours.valid() && theirs.valid() {
				ratio(question.Name+" "+question.Says+", ms", float64(ours.median())/milliseconds, float64(theirs.median())/milliseconds, question.Goal)
			}
		}
		ratio("disk, one node, B/sample settled", of(one.loads, loaded.bytesASample), of(peer.loads, loaded.bytesASample), goalDiskRatio)
	}
	if three != nil && peer != nil {
		ratio("disk, three nodes, B/sample and copy settled", of(three.loads, loaded.bytesASample)/clusterNodes, of(peer.loads, loaded.bytesASample), goalDiskRatio)
	}
	if one != nil {
		most("lone write, one node, ms", float64(one.lone.write)/milliseconds, float64(goalLone)/milliseconds)
		most("acknowledged to visible, ms", float64(one.lone.visible)/milliseconds, 0)
	}
}

func yes(is bool) string {
	if is {
		return "yes"
	}
	return "NO"
}
