package criu

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containerd/cgroups/v3"
)

// MemoryGroup returns the directory of the memory cgroup above that in which a
// process is: its pod's, which is still there when the process has ended.
func MemoryGroup(pid int) (string, error) {
	dir, _, err := cgroupOf(pid, "memory")
	if err != nil {
		return "", err
	}
	return filepath.Dir(dir), nil
}

// Room returns how much memory, in bytes, new processes in a memory cgroup may take
// before the limit of it, or of one above it, or the node itself keeps them from it;
// what is taken by cached files counts as free. It says in words who keeps them.
func Room(group string) (free int64, keeper string, err error) {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, "", fmt.Errorf("read free memory: %w", err)
	}
	if free, err = nodeRoom(string(data)); err != nil {
		return 0, "", fmt.Errorf("read free memory: %w", err)
	}
	keeper = "the node"
	unified := cgroups.Mode() == cgroups.Unified
	for dir := group; strings.HasPrefix(dir, cgroupRoot+"/"); dir = filepath.Dir(dir) {
		used, limit, err := memoryOf(dir, unified)
		if err != nil || limit == 0 {
			continue // the topmost one has no limit to read
		}
		if left := max(0, limit-used); left < free {
			free, keeper = left, "the memory limit of control group "+filepath.Base(dir)
		}
	}
	return free, keeper, nil
}

// nodeRoom reads from the text of /proc/meminfo how much memory new processes may
// take, swap included.
func nodeRoom(text string) (int64, error) {
	var sum int64
	for _, name := range []string{"MemAvailable", "SwapFree"} {
		_, rest, found := strings.Cut("\n"+text, "\n"+name+":")
		fields := strings.Fields(rest)
		if !found || len(fields) == 0 {
			return 0, errors.New("there is no " + name)
		}
		n, err := strconv.ParseInt(fields[0], 10, 64)
		if err != nil {
			return 0, err
		}
		sum += n << 10
	}
	return sum, nil
}
