package agent

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/store"
)

// Node is what a checkpoint records of the node it was made on.
type Node struct {
	Name, BootID, Kernel, Arch string
	// CPUDigest is a digest of the processor's feature flags: a restored
	// process goes on using what its libraries found at their start.
	CPUDigest string
	// CRIU and Runc are versions, as those programs print them.
	CRIU, Runc string
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
	if n.CPUDigest, err = cpuDigest(); err != nil {
		return n, err
	}
	return n, nil
}

// cpuDigest digests the feature flags of the first processor; all processors of
// a node have the same.
func cpuDigest() (string, error) {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "", fmt.Errorf("read processor features: %w", err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		name, value, _ := strings.Cut(s.Text(), ":")
		if name = strings.TrimSpace(name); name == "flags" || name == "Features" {
			flags := strings.Fields(value)
			slices.Sort(flags)
			sum := sha256.Sum256([]byte(strings.Join(flags, " ")))
			return hex.EncodeToString(sum[:16]), nil
		}
	}
	return "", nil
}

// objection says why a checkpoint cannot be restored on this node.
func (n Node) objection(m store.Manifest) string {
	switch {
	case m.Arch != n.Arch:
		return fmt.Sprintf("it was made on another architecture (%s, this node is %s)", m.Arch, n.Arch)
	case m.CPUDigest != n.CPUDigest:
		return "it was made on a processor with other features"
	}
	return ""
}
