package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/raftmetrics/raftmetrics/tests/bench/workload"
)

// starter starts one of the systems that the engine is measured with.
type starter struct {
	name  string
	peer  bool
	start func(context.Context, options, string) (*system, error)
}

func starters(o options) []starter {
	one, three := startNode, startThree
	if o.cpu != "" {
		one, three = startInside, startThreeInside
	}
	all := []starter{{"one", false, one}}
	if o.peer != "" {
		all = append(all, starter{"peer", true, startPeer})
	}
	all = append(all, starter{"three", false, three})
	return slices.DeleteFunc(all, func(s starter) bool {
		return o.systems != "" && !slices.Contains(strings.Split(o.systems, ","), s.name)
	})
}

// measured is what the engine part found out about one system.
type measured struct {
	system *system
	loads  []loaded
	lone   lone
	asked  []asked // by question
}

// measureEngine loads one node, three nodes and, if it is there, the peer with the same samples, asks them
// the same questions in alternation, checks every answer, and prints how they compare.
func measureEngine(ctx context.Context, o options, folder string, out io.Writer) (err error) {
	all, err := loadAll(ctx, o, folder)
	defer func() {
		for _, m := range all {
			err = errors.Join(err, m.system.stop())
		}
	}()
	if err != nil {
		return err
	}
	questions, err := o.questions(o.shape())
	if err != nil {
		return err
	}
	systems := make([]*system, len(all))
	for i, m := range all {
		systems[i] = m.system
	}
	if o.cpu != "" {
		return profileQuestions(ctx, o, systems, questions)
	}
	results, err := askAll(ctx, systems, questions, o.rounds)
	if err != nil {
		return err
	}
	for i, m := range all {
		for q := range questions {
			m.asked = append(m.asked, results[q][i])
		}
		if m.lone, err = measureLone(ctx, m.system, o); err != nil {
			return fmt.Errorf("lone writes to %s: %w", m.system.name, err)
		}
	}
	report(out, o.shape(), questions, all)
	return failures(questions, all)
}

// loadAll loads every system and returns those that run with their last load, also when it fails. They are loaded
// in turn, so that hours at which the machine is slow are the same for all.
func loadAll(ctx context.Context, o options, folder string) (all []*measured, err error) {
	var load *encoded
	list := starters(o)
	measures := make([]measured, len(list))
	defer func() {
		for i := range measures {
			if measures[i].system != nil {
				all = append(all, &measures[i])
			}
		}
	}()
	for turn := range o.loads {
		for i, s := range list {
			if format := o.format(s.peer); load == nil || load.format != format {
				load = encode(o.shape(), format)
			}
			m := &measures[i]
			err = m.load(ctx, o, s, load, filepath.Join(folder, fmt.Sprintf("%s-%d", s.name, turn)))
			if err == nil && turn+1 < o.loads {
				err = m.drop()
			}
			if err != nil {
				return all, fmt.Errorf("load %s: %w", s.name, err)
			}
		}
	}
	return all, nil
}

// drop ends the system and removes what it stored.
func (m *measured) drop() error {
	s := m.system
	m.system = nil
	return errors.Join(s.stop(), os.RemoveAll(s.folder))
}

// load loads a system that is started afresh.
func (m *measured) load(ctx context.Context, o options, s starter, load *encoded, folder string) (err error) {
	if m.system, err = s.start(ctx, o, folder); err != nil {
		return err
	}
	l, err := load.measure(ctx, o, m.system)
	if err != nil {
		return err
	}
	m.loads = append(m.loads, l)
	progress("%s: %.2f million samples/s, %.3f CPU s a million acknowledged, %.3f settled, %.2f B a sample",
		m.system.name, l.rate()/1e6, l.cpuAcked(), l.cpuSettled(), l.bytesASample())
	return nil
}

// format returns what a system is loaded with.
func (o options) format(peer bool) workload.Format {
	if o.json && !peer {
		return workload.JSON
	}
	return workload.Lines
}

// progress tells on standard error what goes on, for a run takes minutes.
func progress(format string, values ...any) {
	_, _ = fmt.Fprintf(os.Stderr, format+"\n", values...)
}

// questions returns those that were asked for.
func (o options) questions(shape workload.Shape) ([]workload.Question, error) {
	all := shape.Questions()
	if o.ask == "" {
		return all, nil
	}
	wanted := strings.Split(o.ask, ",")
	chosen := slices.DeleteFunc(all, func(q workload.Question) bool { return !slices.Contains(wanted, q.Name) })
	if len(chosen) != len(wanted) && o.ask != "none" {
		return nil, fmt.Errorf("-ask is %q, expected a comma list of Q1 to Q8, or none", o.ask)
	}
	return chosen, nil
}
