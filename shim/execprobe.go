package shim

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/fifo"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/rekindle-dev/rekindle/api"
)

// An exec probe arrives as any exec session does. It is known by its command, which
// the daemon has from the pod's spec, and which is compared with and never run. While
// the container sleeps it gets the result that it had last, if that was a good one:
// a probe that fails wants a container that can recover.

const (
	// mostOutcomes is of how many commands it is remembered how they ended.
	mostOutcomes = 16
	// mostAnswers is how many probes are answered at a time.
	mostAnswers = 16
	// longestProbe is how long the command of a probe may be, in bytes.
	longestProbe = 1024
	// hangUpTimeout bounds the wait for containerd to listen to what a probe says.
	hangUpTimeout = 5 * time.Second
)

// command is a program and its arguments in one string; empty for one that cannot be
// a probe's.
type command string

func commandFrom(words []string) command {
	if joined := strings.Join(words, "\x00"); len(joined) <= longestProbe {
		return command(joined)
	}
	return ""
}

// commandOf returns the command of an exec session; none of one with a standard input
// or a terminal, which no probe has.
func commandOf(r *taskAPI.ExecProcessRequest) command {
	var process struct {
		Args []string `json:"args"`
	}
	if r.Terminal || r.Stdin != "" || json.Unmarshal(r.Spec.GetValue(), &process) != nil {
		return ""
	}
	return commandFrom(process.Args)
}

// outcomes are exit statuses of commands, the last one last.
type outcomes []outcome

type outcome struct {
	command command
	status  uint32
}

// note replaces what was known of a command.
func (o *outcomes) note(what command, status uint32) {
	*o = slices.DeleteFunc(*o, func(known outcome) bool { return known.command == what })
	if len(*o) >= mostOutcomes {
		*o = slices.Delete(*o, 0, 1)
	}
	*o = append(*o, outcome{what, status})
}

// good tells whether a command ended well when it was last run.
func (o outcomes) good(what command) bool { return slices.Contains(o, outcome{what, 0}) }

// noteOutcome notes how the command of an exec session has ended.
func (c *container) noteOutcome(exec string, status uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if what := c.execs[exec]; what != "" {
		c.outcomes.note(what, status)
	}
}

// answer is an exec session that there never was: a probe is told of the last one.
type answer struct {
	request *taskAPI.ExecProcessRequest
	// pid is that of the container's last init.
	pid uint32
	// over is closed when it was started, which is its end, too, or killed before.
	over chan struct{}
	once sync.Once
	// exit is how it ended.
	exit *taskAPI.WaitResponse
}

// answersExec takes an exec session for a probe of a container that sleeps, and will
// answer it; false when the container has to do that itself.
func (s *Service) answersExec(r *taskAPI.ExecProcessRequest) bool {
	defer s.pass(r.ID)()
	c := s.managed(r.ID)
	if c == nil || r.ExecID == "" {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	sl := c.sleep
	if sl == nil || sl.exit != nil || !sl.how.AnswerProbes || len(c.answers) >= mostAnswers || c.answers[r.ExecID] != nil {
		return false
	}
	what := commandOf(r)
	probes := slices.ContainsFunc(sl.how.ExecProbes, func(p *api.Command) bool { return what != "" && commandFrom(p.Words) == what })
	if !probes || !c.outcomes.good(what) {
		return false
	}
	c.answers[r.ExecID] = &answer{request: r, pid: sl.state.Pid, over: make(chan struct{})}
	return true
}

// answered returns an exec session that is answered here; nil for any other.
func (s *Service) answered(id, exec string) *answer {
	c := s.managed(id)
	if c == nil || exec == "" {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.answers[exec]
}

// forgetAnswer removes one that was answered.
func (s *Service) forgetAnswer(r *taskAPI.DeleteRequest) *taskAPI.DeleteResponse {
	if c := s.managed(r.ID); c != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		if a := c.answers[r.ExecID]; a != nil {
			delete(c.answers, r.ExecID)
			a.end(killed)
			return &taskAPI.DeleteResponse{Pid: a.pid, ExitStatus: a.exit.ExitStatus, ExitedAt: a.exit.ExitedAt}
		}
	}
	return &taskAPI.DeleteResponse{}
}

// end ends it, if it has not ended, and says nothing.
func (a *answer) end(status uint32) {
	a.once.Do(func() {
		for _, path := range []string{a.request.Stdout, a.request.Stderr} {
			go hangUp(path)
		}
		a.exit = &taskAPI.WaitResponse{ExitStatus: status, ExitedAt: timestamppb.Now()}
		close(a.over)
	})
}

// hangUp ends what containerd listens to as a process would that says nothing.
func hangUp(path string) {
	if is, err := fifo.IsFifo(path); err != nil || !is {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), hangUpTimeout)
	defer cancel()
	// It opens when the other end is open.
	if f, err := fifo.OpenFifo(ctx, path, unix.O_WRONLY, 0); err == nil {
		_ = f.Close()
	}
}

// state is what the runtime is told of it.
func (a *answer) state() *taskAPI.StateResponse {
	r := &taskAPI.StateResponse{
		ID: a.request.ExecID, ExecID: a.request.ExecID, Pid: a.pid, Status: task.Status_CREATED,
		Stdout: a.request.Stdout, Stderr: a.request.Stderr,
	}
	select {
	case <-a.over:
		r.Status, r.ExitStatus, r.ExitedAt = task.Status_STOPPED, a.exit.ExitStatus, a.exit.ExitedAt
	default:
	}
	return r
}

// wait returns when it has ended.
func (a *answer) wait(ctx context.Context) (*taskAPI.WaitResponse, error) {
	select {
	case <-ctx.Done():
		return nil, errgrpc.ToGRPC(ctx.Err())
	case <-a.over:
		return a.exit, nil
	}
}
