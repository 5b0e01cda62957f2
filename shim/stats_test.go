package shim

import (
	"testing"

	cgroup1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	cgroup2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/typeurl/v2"
)

func statsOf(t *testing.T, metrics any) *taskAPI.StatsResponse {
	t.Helper()
	encoded, err := typeurl.MarshalAnyToProto(metrics)
	must(t, err)
	return &taskAPI.StatsResponse{Stats: encoded}
}

// A sleeping container has used what it had used, and keeps next to no memory,
// but not none; a woken one goes on counting.
func TestAdjust(t *testing.T) {
	v1 := statsOf(t, &cgroup1.Metrics{
		CPU:    &cgroup1.CPUStat{Usage: &cgroup1.CPUUsage{Total: 10, Kernel: 4, User: 6}},
		Memory: &cgroup1.MemoryStat{RSS: 200 << 20, Usage: &cgroup1.MemoryEntry{Usage: 300 << 20, Limit: 1 << 30}},
	})
	v2 := statsOf(t, &cgroup2.Metrics{
		CPU:    &cgroup2.CPUStat{UsageUsec: 10, SystemUsec: 4, UserUsec: 6},
		Memory: &cgroup2.MemoryStat{Anon: 200 << 20, Usage: 300 << 20, UsageLimit: 1 << 30},
	})
	for name, stats := range map[string]*taskAPI.StatsResponse{"Version1": v1, "Version2": v2} {
		t.Run(name, func(t *testing.T) {
			asleep, err := adjust(stats, forgetMemory)
			must(t, err)
			used, limit := memoryOf(t, asleep)
			if used == 0 || used > 64<<10 || limit != 1<<30 {
				t.Errorf("memory %d of %d while it sleeps", used, limit)
			}
			woken, err := adjust(asleep, cpu{total: 100, kernel: 40, user: 60}.addTo)
			must(t, err)
			var got cpu
			_, err = adjust(woken, func(m any) { got = cpuOf(m) })
			must(t, err)
			if got != (cpu{110, 44, 66}) {
				t.Errorf("CPU time %+v after the wake", got)
			}
		})
	}
}

func memoryOf(t *testing.T, stats *taskAPI.StatsResponse) (used, limit uint64) {
	t.Helper()
	metrics, err := typeurl.UnmarshalAny(stats.Stats)
	must(t, err)
	switch m := metrics.(type) {
	case *cgroup1.Metrics:
		return m.Memory.Usage.Usage, m.Memory.Usage.Limit
	case *cgroup2.Metrics:
		return m.Memory.Usage, m.Memory.UsageLimit
	}
	t.Fatalf("statistics of type %T", metrics)
	return 0, 0
}
