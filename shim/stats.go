package shim

import (
	"context"
	"fmt"
	"os"

	cgroup1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	cgroup2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/typeurl/v2"
)

// cpu is CPU time as a cgroup counts it, in its own unit.
type cpu struct{ total, kernel, user uint64 }

// Stats tells what the container uses. While it sleeps it uses nothing any more;
// when it is woken it is in a new cgroup, which counts from zero, and what it had
// used before is added.
func (s *Service) Stats(ctx context.Context, r *taskAPI.StatsRequest) (*taskAPI.StatsResponse, error) {
	c, sl := s.sleeping(r.ID, "")
	if sl != nil && sl.stats != nil {
		return sl.stats, nil
	}
	resp, err := s.TTRPCTaskService.Stats(ctx, r)
	if err != nil || c == nil {
		return resp, err
	}
	before := c.usedBefore()
	if before == (cpu{}) {
		return resp, nil
	}
	return adjust(resp, before.addTo)
}

// usedBefore returns the CPU time of the container until its last sleep.
func (c *container) usedBefore() cpu {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used
}

// rest takes down what the container has used until now, and returns what is to
// be told of it while it sleeps.
func (s *Service) rest(ctx context.Context, c *container) (*taskAPI.StatsResponse, cpu, error) {
	resp, err := s.Stats(ctx, &taskAPI.StatsRequest{ID: c.id})
	if err != nil {
		return nil, cpu{}, err
	}
	var used cpu
	resp, err = adjust(resp, func(m any) {
		used = cpuOf(m)
		forgetMemory(m)
	})
	return resp, used, err
}

// adjust changes statistics of either kind of cgroup.
func adjust(resp *taskAPI.StatsResponse, change func(any)) (*taskAPI.StatsResponse, error) {
	metrics, err := typeurl.UnmarshalAny(resp.Stats)
	if err != nil {
		return nil, fmt.Errorf("decode statistics: %w", err)
	}
	change(metrics)
	encoded, err := typeurl.MarshalAnyToProto(metrics)
	if err != nil {
		return nil, fmt.Errorf("encode statistics: %w", err)
	}
	return &taskAPI.StatsResponse{Stats: encoded}, nil
}

func cpuOf(metrics any) cpu {
	switch m := metrics.(type) {
	case *cgroup1.Metrics:
		u := m.GetCPU().GetUsage()
		return cpu{u.GetTotal(), u.GetKernel(), u.GetUser()}
	case *cgroup2.Metrics:
		u := m.GetCPU()
		return cpu{u.GetUsageUsec(), u.GetSystemUsec(), u.GetUserUsec()}
	}
	return cpu{}
}

func (c cpu) addTo(metrics any) {
	switch m := metrics.(type) {
	case *cgroup1.Metrics:
		if u := m.GetCPU().GetUsage(); u != nil {
			u.Total, u.Kernel, u.User = u.Total+c.total, u.Kernel+c.kernel, u.User+c.user
		}
	case *cgroup2.Metrics:
		if u := m.GetCPU(); u != nil {
			u.UsageUsec, u.SystemUsec, u.UserUsec = u.UsageUsec+c.total, u.SystemUsec+c.kernel, u.UserUsec+c.user
		}
	}
}

// forgetMemory leaves one page of the memory. Nothing is used, but a container
// that uses nothing counts as one that is not there: metrics-server drops it.
func forgetMemory(metrics any) {
	page := uint64(os.Getpagesize())
	switch m := metrics.(type) {
	case *cgroup1.Metrics:
		limit := m.GetMemory().GetUsage().GetLimit()
		m.Memory = &cgroup1.MemoryStat{
			RSS: page, TotalRSS: page, Usage: &cgroup1.MemoryEntry{Usage: page, Limit: limit},
		}
	case *cgroup2.Metrics:
		m.Memory = &cgroup2.MemoryStat{Anon: page, Usage: page, UsageLimit: m.GetMemory().GetUsageLimit()}
	}
}
