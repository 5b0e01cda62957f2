package criu

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/cgroups/v3"
)

// cgroupRoot is where the cgroup file systems are mounted on every supported node.
const cgroupRoot = "/sys/fs/cgroup"

// errNoCgroup is returned for a process that shares its cgroup with the whole node.
var errNoCgroup = errors.New("it is in no cgroup of its own")

// cgroupOf returns the directory of the cgroup in which a process is. Under
// cgroup version 1 each controller has its own; under version 2 (unified) one
// directory serves for all.
func cgroupOf(pid int, controller string) (dir string, unified bool, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return "", false, fmt.Errorf("read cgroup of process %d: %w", pid, err)
	}
	unified = cgroups.Mode() == cgroups.Unified
	if dir = cgroupIn(string(data), controller, unified); dir == "" {
		return "", unified, fmt.Errorf("find %s cgroup of process %d: %w", controller, pid, errNoCgroup)
	}
	return dir, unified, nil
}

// cgroupIn finds the directory in the text of /proc/PID/cgroup; it is empty when
// there is none below the root.
func cgroupIn(text, controller string, unified bool) string {
	for line := range strings.Lines(text) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 || parts[2] == "/" {
			continue
		}
		if unified {
			if parts[0] == "0" {
				return filepath.Join(cgroupRoot, parts[2])
			}
			continue
		}
		for name := range strings.SplitSeq(parts[1], ",") {
			if name == controller {
				return filepath.Join(cgroupRoot, controller, parts[2])
			}
		}
	}
	return ""
}
