package shim

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/api/types/task"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/rekindle-dev/rekindle/api"
)

// execOf is the request of an exec session.
func execOf(t *testing.T, id string, words ...string) *taskAPI.ExecProcessRequest {
	t.Helper()
	spec, err := json.Marshal(map[string]any{"args": words})
	if err != nil {
		t.Fatal(err)
	}
	return &taskAPI.ExecProcessRequest{ID: "c1", ExecID: id, Spec: &anypb.Any{Value: spec}}
}

// ran has a command run in the container while it is awake.
func (c *container) ran(t *testing.T, status uint32, words ...string) {
	t.Helper()
	c.execs["before"] = commandOf(execOf(t, "before", words...))
	c.noteOutcome("before", status)
	delete(c.execs, "before")
}

// Of what arrives as an exec session only a probe whose last result was a good one is
// answered in the container's place.
func TestExecProbes(t *testing.T) {
	long := strings.Repeat("x", longestProbe+1)
	tests := map[string]struct {
		change func(*container, *sleep, *taskAPI.ExecProcessRequest)
		words  []string
		want   bool
	}{
		"a probe that was well":           {nil, []string{"test", "-e", "/ok"}, true},
		"a probe that has failed last":    {nil, []string{"test", "-e", "/bad"}, false},
		"a probe that was never run":      {nil, []string{"test", "-e", "/new"}, false},
		"another command":                 {nil, []string{"test", "-e", "/other"}, false},
		"the words of a probe in one":     {nil, []string{"test -e /ok"}, false},
		"no command":                      {nil, nil, false},
		"a probe that is too long":        {nil, []string{long}, false},
		"with a terminal":                 {func(_ *container, _ *sleep, r *taskAPI.ExecProcessRequest) { r.Terminal = true }, []string{"test", "-e", "/ok"}, false},
		"with a standard input":           {func(_ *container, _ *sleep, r *taskAPI.ExecProcessRequest) { r.Stdin = "/in" }, []string{"test", "-e", "/ok"}, false},
		"where probes wake":               {func(_ *container, sl *sleep, _ *taskAPI.ExecProcessRequest) { sl.how.AnswerProbes = false }, []string{"test", "-e", "/ok"}, false},
		"of one that is awake":            {func(c *container, _ *sleep, _ *taskAPI.ExecProcessRequest) { c.wokenUp(nil) }, []string{"test", "-e", "/ok"}, false},
		"of one that ended as it slept":   {func(c *container, sl *sleep, _ *taskAPI.ExecProcessRequest) { c.endAsleep(sl, killed) }, []string{"test", "-e", "/ok"}, false},
		"more than are answered together": {func(c *container, _ *sleep, _ *taskAPI.ExecProcessRequest) { fill(c.answers) }, []string{"test", "-e", "/ok"}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s, c, sl := sleeper()
			c.execs, c.answers = map[string]command{}, map[string]*answer{}
			sl.how.AnswerProbes = true
			for _, file := range []string{"/ok", "/bad", "/new"} {
				sl.how.ExecProbes = append(sl.how.ExecProbes, &api.Command{Words: []string{"test", "-e", file}})
			}
			sl.how.ExecProbes = append(sl.how.ExecProbes, &api.Command{Words: []string{long}}, &api.Command{})
			c.ran(t, 1, "test", "-e", "/ok")
			c.ran(t, 0, "test", "-e", "/ok")
			c.ran(t, 0, "test", "-e", "/bad")
			c.ran(t, 1, "test", "-e", "/bad")
			c.ran(t, 0, "test", "-e", "/other")
			c.ran(t, 0, long)
			r := execOf(t, "probe", test.words...)
			if test.change != nil {
				test.change(c, sl, r)
			}
			if got := s.answersExec(r); got != test.want {
				t.Errorf("answered %t", got)
			}
		})
	}
}

func fill(answers map[string]*answer) {
	for i := range mostAnswers {
		answers[fmt.Sprint(i)] = &answer{}
	}
}

// An answered probe looks like a process that says nothing and ends well.
func TestAnsweredProbe(t *testing.T) {
	ctx := context.Background()
	s, c, sl := sleeper()
	c.execs, c.answers = map[string]command{}, map[string]*answer{}
	sl.how.AnswerProbes, sl.how.ExecProbes = true, []*api.Command{{Words: []string{"true"}}}
	c.ran(t, 0, "true")
	r := execOf(t, "probe", "true")
	r.Stdout = filepath.Join(t.TempDir(), "stdout")
	if err := unix.Mkfifo(r.Stdout, 0o600); err != nil {
		t.Fatal(err)
	}
	said := make(chan error, 1)
	go func() {
		data, err := os.ReadFile(r.Stdout) // to the end
		if len(data) > 0 {
			err = fmt.Errorf("it said %q", data)
		}
		said <- err
	}()

	if _, err := s.Exec(ctx, r); err != nil {
		t.Fatal(err)
	}
	state, err := s.State(ctx, &taskAPI.StateRequest{ID: "c1", ExecID: "probe"})
	if err != nil || state.Status != task.Status_CREATED {
		t.Errorf("before its start: %v, %v", state, err)
	}
	waited := make(chan uint32, 1)
	go func() {
		resp, _ := s.Wait(ctx, &taskAPI.WaitRequest{ID: "c1", ExecID: "probe"})
		waited <- resp.GetExitStatus()
	}()
	if _, err := s.Start(ctx, &taskAPI.StartRequest{ID: "c1", ExecID: "probe"}); err != nil {
		t.Fatal(err)
	}
	if status := <-waited; status != 0 {
		t.Errorf("it ended with %d", status)
	}
	if err := <-said; err != nil {
		t.Error(err)
	}
	state, err = s.State(ctx, &taskAPI.StateRequest{ID: "c1", ExecID: "probe"})
	if err != nil || state.Status != task.Status_STOPPED || state.ExitStatus != 0 {
		t.Errorf("after its end: %v, %v", state, err)
	}
	if resp, err := s.Delete(ctx, &taskAPI.DeleteRequest{ID: "c1", ExecID: "probe"}); err != nil || resp.ExitStatus != 0 {
		t.Errorf("deleted: %v, %v", resp, err)
	}
	if len(c.answers) > 0 {
		t.Error("it is not forgotten")
	}
	if c.asleep() == nil {
		t.Error("the container was woken")
	}

	// One that is killed before its start has been killed.
	if _, err := s.Exec(ctx, r); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Kill(ctx, &taskAPI.KillRequest{ID: "c1", ExecID: "probe", Signal: uint32(unix.SIGKILL)}); err != nil {
		t.Fatal(err)
	}
	resp, err := s.Wait(ctx, &taskAPI.WaitRequest{ID: "c1", ExecID: "probe"})
	if err != nil || resp.ExitStatus != killed {
		t.Errorf("killed: %v, %v", resp, err)
	}
}

// Only the newest commands are remembered.
func TestOutcomes(t *testing.T) {
	var o outcomes
	for i := range 2 * mostOutcomes {
		o.note(command(fmt.Sprint(i)), 0)
		o.note("probe", 0)
	}
	if len(o) != mostOutcomes || !o.good("probe") || o.good("0") {
		t.Errorf("%d are remembered", len(o))
	}
}
