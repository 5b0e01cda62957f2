package agent

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/containerd/cgroups/v3"
	"github.com/klauspost/cpuid/v2"
	"golang.org/x/sys/unix"
)

// Node is what a checkpoint records of the node it was made on.
type Node struct {
	Name, BootID, Kernel, Arch string
	// CPUFeatures names what the processor can do: a restored process goes on
	// using what its libraries found at their start.
	CPUFeatures string
	// CRIU and Runc are versions, as those programs print them.
	CRIU, Runc string
	// Cgroup is how the control groups are mounted: legacy, hybrid or unified.
	Cgroup string
}

// Inspect reads the facts of this node.
func Inspect(criuVersion, runcVersion string) (Node, error) {
	n := Node{Arch: runtime.GOARCH, CRIU: criuVersion, Runc: runcVersion}
	var err error
	if n.Name, err = os.Hostname(); err != nil {
		return n, fmt.Errorf("read host name: %w", err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return n, fmt.Errorf("read boot id: %w", err)
	}
	n.BootID = strings.TrimSpace(string(boot))
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return n, fmt.Errorf("read kernel version: %w", err)
	}
	n.Kernel = unix.ByteSliceToString(uts.Release[:])
	n.CPUFeatures, n.Cgroup = cpuFeatures(), cgroupMode()
	return n, nil
}

// cpuFeatures names what programs can find the processor to have. Those are not
// the flags of /proc/cpuinfo, which change with the kernel.
func cpuFeatures() string {
	features := cpuid.CPU.FeatureSet()
	slices.Sort(features)
	return strings.Join(features, " ")
}

// cgroupMode names how the control groups are mounted. A container has them in
// its own mounts, as they were at the dump.
func cgroupMode() string {
	switch cgroups.Mode() {
	case cgroups.Unified:
		return "unified"
	case cgroups.Hybrid:
		return "hybrid"
	case cgroups.Legacy:
		return "legacy"
	}
	return "none"
}
