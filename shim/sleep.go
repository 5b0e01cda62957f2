package shim

import (
	"os"
	"time"

	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/handover"
)

// sleep is one suspension of a container, from the moment in which its processes
// are ended until it runs again, or for good when it ends as it sleeps.
type sleep struct {
	// how says what the policy asks for.
	how *api.SuspendRequest
	// checkpoint is the id of the one that it sleeps in, images its CRIU directory.
	checkpoint, images string
	// plain is where the images have to be decrypted to, and images the checkpoint's
	// own directory then; empty when it is not encrypted.
	plain api.Plain
	since time.Time
	// sizes are those of the images, by name.
	sizes map[string]int64
	// group is the memory cgroup of the pod.
	group string
	// state and stats are what the runtime is told meanwhile.
	state *taskAPI.StateResponse
	stats *taskAPI.StatsResponse
	// used is the CPU time of the container until now.
	used cpu
	// logs keep the container's log open.
	logs []*os.File
	// sockets are held, described in words, and handover is the directory of the
	// images with which the container gets them back.
	sockets   *handover.Held
	described []string
	handover  string

	// over is closed when it is.
	over chan struct{}
	// exit is how the container ended as it slept; nil while it may be woken. The
	// container's mu guards it.
	exit *taskAPI.WaitResponse
}

// asleep returns the present sleep; nil when the container is awake.
func (c *container) asleep() *sleep {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sleep
}

// fallAsleep notes the begin of a sleep. From here on the runtime hears of what
// becomes of the processes only what the sleep says.
func (c *container) fallAsleep(sl *sleep) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sleep, c.used = sl, sl.used
	c.naps++
}

// nappedTimes counts how often the container was put to sleep.
func (c *container) nappedTimes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.naps
}

// wokenUp notes the end of the sleep.
func (c *container) wokenUp(w *api.Wake) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sl := c.sleep
	c.sleep, c.wake = nil, w
	close(sl.over)
}

// endAsleep notes that the container has ended as it slept; false when it had
// already.
func (c *container) endAsleep(sl *sleep, status uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if sl.exit != nil {
		return false
	}
	sl.exit = &taskAPI.WaitResponse{ExitStatus: status, ExitedAt: timestamppb.Now()}
	close(sl.over)
	return true
}

// exitOf returns how the container ended as it slept; nil when it did not.
func (c *container) exitOf(sl *sleep) *taskAPI.WaitResponse {
	c.mu.Lock()
	defer c.mu.Unlock()
	return sl.exit
}

// free gives up what was kept open for the sleep.
func (sl *sleep) free() {
	for _, f := range sl.logs {
		_ = f.Close()
	}
	sl.logs = nil
	if sl.sockets != nil {
		_ = sl.sockets.Close()
	}
	if sl.handover != "" {
		_ = os.RemoveAll(sl.handover)
	}
	if sl.plain != "" {
		_ = sl.plain.Discard() // the daemon sweeps what is left
	}
}

// record is what the daemon is told of the container's sleep.
func (c *container) record(pid uint32) *api.Suspension {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := &api.Suspension{Pid: int(pid), Times: c.naps, Wake: c.wake}
	if sl := c.sleep; sl != nil {
		r.Asleep, r.Since, r.Checkpoint = sl.exit == nil, sl.since, sl.checkpoint
		r.Pid = int(sl.state.Pid)
		r.Sockets = sl.described
	} else if c.wake != nil {
		r.Since = c.wake.At
	}
	return r
}
