package shim

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/api/types/task"
	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/api"
)

func sleeper() (*Service, *container, *sleep) {
	c := &container{id: "c1", mutes: map[string]int{}}
	s := &Service{containers: map[string]*container{"c1": c}, live: map[string]bool{}}
	sl := &sleep{
		how: &api.SuspendRequest{}, checkpoint: "one", since: time.Now(), over: make(chan struct{}),
		state: &taskAPI.StateResponse{ID: "c1", Pid: 42, Status: task.Status_RUNNING},
		stats: &taskAPI.StatsResponse{},
	}
	c.fallAsleep(sl)
	return s, c, sl
}

// What the runtime asks of a sleeping container is answered as if it ran, and,
// when it has ended as it slept, as if it had just ended.
func TestAsleep(t *testing.T) {
	ctx := context.Background()
	s, c, sl := sleeper()
	state, err := s.State(ctx, &taskAPI.StateRequest{ID: "c1"})
	if err != nil || state.Status != task.Status_RUNNING || state.Pid != 42 {
		t.Fatalf("state %v, %v", state, err)
	}
	pids, err := s.Pids(ctx, &taskAPI.PidsRequest{ID: "c1"})
	if err != nil || len(pids.Processes) != 1 || pids.Processes[0].Pid != 42 {
		t.Fatalf("pids %v, %v", pids, err)
	}
	waited := make(chan *taskAPI.WaitResponse, 1)
	go func() {
		resp, _ := s.Wait(ctx, &taskAPI.WaitRequest{ID: "c1"})
		waited <- resp
	}()
	select {
	case resp := <-waited:
		t.Fatalf("Wait returned %v while it slept", resp)
	case <-time.After(20 * time.Millisecond):
	}
	if !c.endAsleep(sl, 143) || c.endAsleep(sl, 137) {
		t.Error("a container ends once")
	}
	if resp := <-waited; resp.GetExitStatus() != 143 {
		t.Errorf("Wait returned %v", resp)
	}
	state, err = s.State(ctx, &taskAPI.StateRequest{ID: "c1"})
	if err != nil || state.Status != task.Status_STOPPED || state.ExitStatus != 143 {
		t.Errorf("state %v, %v", state, err)
	}
	if err := s.wake(ctx, c, "test"); err == nil {
		t.Error("a container that has ended was woken")
	}
}

// A Wait that has no more time ends, whether or not the container does.
func TestWaitEnds(t *testing.T) {
	s, _, _ := sleeper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if resp, err := s.Wait(ctx, &taskAPI.WaitRequest{ID: "c1"}); err == nil {
		t.Errorf("Wait returned %v", resp)
	}
}

func TestHoldLogs(t *testing.T) {
	dir := t.TempDir()
	fifo, file := filepath.Join(dir, "fifo"), filepath.Join(dir, "file")
	must(t, unix.Mkfifo(fifo, 0o600))
	must(t, os.WriteFile(file, nil, 0o600))
	reader, err := os.OpenFile(fifo, os.O_RDONLY|unix.O_NONBLOCK, 0)
	must(t, err)
	defer reader.Close()
	held, err := holdLogs(fifo, file, "", filepath.Join(dir, "none"))
	must(t, err)
	if len(held) != 1 {
		t.Fatalf("%d are held, want the FIFO", len(held))
	}
	poll := []unix.PollFd{{Fd: int32(reader.Fd()), Events: unix.POLLIN}}
	if _, err := unix.Poll(poll, 0); err != nil || poll[0].Revents&unix.POLLHUP != 0 {
		t.Errorf("the log has ended: %v, %v", poll, err)
	}
	(&sleep{logs: held}).free()
	if _, err := unix.Poll(poll, 0); err != nil || poll[0].Revents&unix.POLLHUP == 0 {
		t.Errorf("the log has not ended: %v, %v", poll, err)
	}
}

// Images that are not what was dumped are refused before CRIU sees them.
func TestUnharmed(t *testing.T) {
	tests := map[string]struct {
		harm func(dir string) error
		ok   bool
	}{
		"AsTheyWere": {func(string) error { return nil }, true},
		"CutOff":     {func(dir string) error { return os.Truncate(filepath.Join(dir, "pages-1.img"), 2) }, false},
		"Missing":    {func(dir string) error { return os.Remove(filepath.Join(dir, "core-1.img")) }, false},
		"OneMore":    {func(dir string) error { return os.WriteFile(filepath.Join(dir, "core-2.img"), nil, 0o600) }, false},
		"Gone":       {os.RemoveAll, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, name := range []string{"pages-1.img", "core-1.img"} {
				must(t, os.WriteFile(filepath.Join(dir, name), []byte("image"), 0o600))
			}
			sizes, err := sizesOf(dir)
			must(t, err)
			sl := &sleep{images: dir, sizes: sizes}
			must(t, tc.harm(dir))
			if err := sl.unharmed(); (err == nil) != tc.ok {
				t.Errorf("error %v", err)
			}
		})
	}
}
