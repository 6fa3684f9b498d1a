package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/raftmetrics/raftmetrics/tests/cluster/fleet"
	"github.com/raftmetrics/raftmetrics/tests/node"
)

// services are those of docker-compose.yml, in its order.
var services = []struct{ name, address string }{
	{"control", "127.0.0.1:8080"}, {"worker-1", "127.0.0.1:8081"}, {"worker-2", "127.0.0.1:8082"},
}

const (
	healthyMax = 40 * time.Second // several health checks long
	healthPoll = 250 * time.Millisecond
	wholeMax   = 40 * time.Second
	replicas   = 3
	lagMax     = 1000
	linesShown = 200
	// stageLabel marks the image of the build stage, which the classic builder leaves without a name.
	stageLabel = "label=raftmetrics.stage=build"
)

// stack is the containers of docker-compose.yml under a project name of their own, so that networks and
// volumes are theirs alone.
type stack struct {
	compose     []string
	project     string
	image       string
	environment []string
	fleet       *fleet.Fleet
}

// newStack builds the image, unless one was given. All that it and others make is removed at the test's
// end.
func newStack(ctx context.Context, t *testing.T, compose []string) *stack {
	t.Helper()
	project := fmt.Sprintf("raftmetrics-test-%d", os.Getpid())
	s := &stack{project: project, image: project, compose: append(slices.Clone(compose), "-p", project)}
	built := *imageFlag == ""
	if !built {
		s.image = *imageFlag
	}
	s.environment = []string{"RAFTMETRICS_IMAGE=" + s.image, "AUTH_TOKEN=", "DOCKER_BUILDKIT=0"}
	var servers []fleet.Server
	for _, service := range services {
		servers = append(servers, fleet.Server{Name: service.name, URL: "http://" + service.address})
	}
	s.fleet = fleet.External(servers...)
	t.Cleanup(func() {
		for _, n := range s.fleet.Nodes {
			n.Client.Close()
		}
	})
	if built {
		s.build(ctx, t)
	}
	t.Cleanup(func() { s.remove(context.WithoutCancel(ctx), t) })
	return s
}

// build makes the image with the classic builder, which every engine has, and has it removed at the end
// with what it left of the build stage.
func (s *stack) build(ctx context.Context, t *testing.T) {
	t.Helper()
	before := s.stages(ctx, t)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeMax)
		defer cancel()
		for _, id := range s.stages(ctx, t) {
			if !slices.Contains(before, id) {
				s.try(ctx, t, "docker", "image", "rm", id)
			}
		}
		if found, err := s.run(ctx, "docker", "image", "ls", "-q", s.image); err != nil || found != "" {
			s.try(ctx, t, "docker", "image", "rm", s.image)
		}
	})
	ctx, cancel := context.WithTimeout(ctx, buildMax)
	defer cancel()
	began := time.Now()
	if _, err := s.run(ctx, "docker", "build", "--tag", s.image, "."); err != nil {
		t.Fatal(err)
	}
	bytes, err := s.run(ctx, "docker", "image", "inspect", "--format", "{{.Size}}", s.image)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("built an image of %s bytes in %v", bytes, time.Since(began).Round(time.Second))
}

// stages lists what builds left of their build stage.
func (s *stack) stages(ctx context.Context, t *testing.T) []string {
	t.Helper()
	ids, err := s.run(ctx, "docker", "image", "ls", "-q", "--filter", "dangling=true", "--filter", stageLabel)
	if err != nil {
		t.Error(err)
	}
	return strings.Fields(ids)
}

func (s *stack) run(ctx context.Context, words ...string) (string, error) {
	return command(ctx, s.environment, words...)
}

// try runs what removes something; a failure does not keep the rest from being removed.
func (s *stack) try(ctx context.Context, t *testing.T, words ...string) {
	t.Helper()
	if _, err := s.run(ctx, words...); err != nil {
		t.Error(err)
	}
}

// do runs a command of the engine that must succeed.
func (s *stack) do(ctx context.Context, t *testing.T, words ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, commandMax)
	defer cancel()
	out, err := s.run(ctx, words...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// composeDo runs a compose command that must succeed.
func (s *stack) composeDo(ctx context.Context, t *testing.T, words ...string) string {
	t.Helper()
	return s.do(ctx, t, append(slices.Clone(s.compose), words...)...)
}

// up starts everything with the one documented command and waits until the engine calls each healthy.
func (s *stack) up(ctx context.Context, t *testing.T) {
	t.Helper()
	began := time.Now()
	s.composeDo(ctx, t, "up", "-d")
	started := time.Since(began)
	for _, n := range s.fleet.Nodes {
		s.awaitHealthy(ctx, t, n)
	}
	t.Logf("up -d took %v, all three healthy after %v", started.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
}

// remove takes the stack down and fails the test if anything of it is left.
func (s *stack) remove(ctx context.Context, t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, removeMax)
	defer cancel()
	if t.Failed() {
		logs, err := s.run(ctx, append(slices.Clone(s.compose), "logs", "--no-color", "--tail", "20000")...)
		lines := slices.DeleteFunc(strings.Split(logs, "\n"), func(line string) bool { return strings.Contains(line, `"message":"request"`) })
		t.Logf("the end of the containers' logs, without requests (%v):\n%s", err, strings.Join(lines[max(0, len(lines)-linesShown):], "\n"))
	}
	for _, n := range s.fleet.Nodes { // down does not end what is paused
		if id, err := s.find(ctx, n); err == nil {
			_, _ = s.run(ctx, "docker", "unpause", id) // fails unless it is
		}
	}
	s.try(ctx, t, append(slices.Clone(s.compose), "down", "-v", "--remove-orphans")...)
	project := "label=com.docker.compose.project=" + s.project
	for _, list := range [][]string{{"ps", "-aq"}, {"volume", "ls", "-q"}, {"network", "ls", "-q"}} {
		left, err := s.run(ctx, append(append([]string{"docker"}, list...), "--filter", project)...)
		if err != nil || left != "" {
			t.Errorf("after down -v, docker %s: %q, %v, want none", strings.Join(list, " "), left, err)
		}
	}
}

// find returns the id of the container of a service.
func (s *stack) find(ctx context.Context, n *fleet.Node) (string, error) {
	id, err := s.run(ctx, "docker", "ps", "-aq", "--filter", "label=com.docker.compose.project="+s.project,
		"--filter", "label=com.docker.compose.service="+n.Name)
	if err == nil && len(strings.Fields(id)) != 1 {
		err = fmt.Errorf("service %s has the containers %q, want one", n.Name, id)
	}
	return id, err
}

// container returns the id of the container of a service, which must exist.
func (s *stack) container(ctx context.Context, t *testing.T, n *fleet.Node) string {
	t.Helper()
	id, err := s.find(ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// inspect returns what the engine says about a service's container.
func (s *stack) inspect(ctx context.Context, t *testing.T, n *fleet.Node, format string) string {
	t.Helper()
	return s.do(ctx, t, "docker", "inspect", "--format", format, s.container(ctx, t, n))
}

// awaitHealthy waits until the health check of the service's container passes.
func (s *stack) awaitHealthy(ctx context.Context, t *testing.T, n *fleet.Node) {
	t.Helper()
	s.await(ctx, t, n, "{{.State.Status}} {{.State.Health.Status}}", "running healthy")
}

// await waits until the engine says what is wanted about a service's container.
func (s *stack) await(ctx context.Context, t *testing.T, n *fleet.Node, format, want string) {
	t.Helper()
	id := s.container(ctx, t, n)
	if err := fleet.Await(ctx, healthyMax, func(ctx context.Context) error {
		got, err := s.run(ctx, "docker", "inspect", "--format", format, id)
		if err == nil && got != want {
			err = errors.Join(fmt.Errorf("%s is %q, want %q", n.Name, got, want), fleet.Pause(ctx, healthPoll))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// awaitWhole waits until every node sees three voting replicas of every shard that keep up.
func (s *stack) awaitWhole(ctx context.Context, t *testing.T) {
	t.Helper()
	for _, n := range s.fleet.Nodes {
		if err := fleet.Await(ctx, wholeMax, func(ctx context.Context) error {
			v, err := n.View(ctx)
			if err != nil {
				return err
			}
			if len(v.Nodes) != len(services) {
				return fmt.Errorf("%d nodes, want %d", len(v.Nodes), len(services))
			}
			return v.Whole(replicas, lagMax)
		}); err != nil {
			t.Fatalf("the cluster as %s sees it: %v", n.Name, err)
		}
	}
}

// ask sends a request and expects the status; header holds further name, value pairs.
func ask(ctx context.Context, t *testing.T, n *fleet.Node, status int, method, path, body string, header ...string) node.Answer {
	t.Helper()
	a, err := n.Client.Do(ctx, method, path, body, header...)
	if err != nil {
		t.Fatalf("%s: %s %s: %v", n.Name, method, path, err)
	}
	if a.Status != status {
		t.Fatalf("%s: %s %s: status %d, want %d: %s", n.Name, method, path, a.Status, status, a.Body)
	}
	return a
}
