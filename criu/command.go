package criu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// ErrTimeout is returned for a command that was killed because it ran too long.
var ErrTimeout = errors.New("took too long and was killed")

// ErrLogFlood is returned for a command that was killed because its log grew
// without end; CRIU does that on a truncated pages file.
var ErrLogFlood = errors.New("wrote a log without end and was killed")

// logLimit bounds one CRIU log. An orderly dump at the highest verbosity stays
// a long way below it.
const logLimit = 32 << 20

// watchEvery is how often a running command's log is measured; CRIU writes
// some 36 MB a second when it loops.
const watchEvery = 100 * time.Millisecond

// Starter starts a command and returns a function that waits for it and gives
// its exit status. In the shim a reaper collects every child, so that
// (*exec.Cmd).Wait alone would not do there.
type Starter func(*exec.Cmd) (wait func() (int, error), err error)

// StartPlainly is the Starter for a process without a reaper.
func StartPlainly(cmd *exec.Cmd) (func() (int, error), error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() (int, error) {
		err := cmd.Wait()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = nil
		}
		return cmd.ProcessState.ExitCode(), err
	}, nil
}

// Run executes a command in a process group of its own until it ends, ctx ends
// or its log floods. In the latter cases the whole group is killed, and Run
// still waits for it. The status of an orderly end is returned without error.
func Run(ctx context.Context, start Starter, cmd *exec.Cmd, log string) (int, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	wait, err := start(cmd)
	if err != nil {
		return -1, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	stop := make(chan struct{})
	verdict := make(chan error, 1)
	go func() { verdict <- watch(ctx, cmd.Process.Pid, log, stop) }()
	status, err := waitOrLeave(ctx, wait)
	close(stop)
	if status != 0 || err != nil {
		endGroup(cmd.Process.Pid)
	}
	if killed := <-verdict; killed != nil {
		return -1, fmt.Errorf("%s: %w", cmd.Path, killed)
	}
	if err != nil {
		return -1, fmt.Errorf("wait for %s: %w", cmd.Path, err)
	}
	return status, nil
}

// killGrace is how long a killed command may take to be gone. One in
// uninterruptible sleep may take for ever, and the workload must not.
const killGrace = 10 * time.Second

// groupPoll is the pause between two looks whether a killed group is gone.
const groupPoll = 2 * time.Millisecond

// waitOrLeave waits for a command, but gives one up that does not end although
// it was killed at the end of ctx.
func waitOrLeave(ctx context.Context, wait func() (int, error)) (int, error) {
	type result struct {
		status int
		err    error
	}
	done := make(chan result, 1)
	go func() {
		status, err := wait()
		done <- result{status, err}
	}()
	select {
	case r := <-done:
		return r.status, r.err
	case <-ctx.Done():
	}
	select {
	case r := <-done:
		return r.status, r.err
	case <-time.After(killGrace):
		return -1, fmt.Errorf("does not end, %s after it was killed", killGrace)
	}
}

// endGroup ends what a command that failed has left of its process group, and
// returns when it is gone. A runc that was killed leaves a CRIU behind, which in
// the end would bring the container's freezer back to the state in which it has
// found it: frozen.
func endGroup(group int) {
	for deadline := time.Now().Add(killGrace); time.Now().Before(deadline); time.Sleep(groupPoll) {
		if errors.Is(syscall.Kill(-group, syscall.SIGKILL), syscall.ESRCH) {
			return
		}
	}
}

// watch kills the process group when ctx ends or the log floods, and says why;
// it returns nil when it is stopped first.
func watch(ctx context.Context, group int, log string, stop <-chan struct{}) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return nil
		case <-ctx.Done():
			_ = syscall.Kill(-group, syscall.SIGKILL)
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return ErrTimeout
			}
			return context.Cause(ctx)
		case <-tick.C:
			if info, err := os.Stat(log); err == nil && info.Size() > logLimit {
				_ = syscall.Kill(-group, syscall.SIGKILL)
				return ErrLogFlood
			}
		}
	}
}
