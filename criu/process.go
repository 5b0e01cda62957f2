package criu

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Strangers returns the processes of the container's cgroup that do not descend
// from its init: exec sessions, whose parent is outside. CRIU dumps init's tree
// and fails, or hangs, when the cgroup holds others.
func Strangers(f Freezer, initPid int) ([]int, error) {
	pids, err := f.Processes()
	if err != nil {
		return nil, err
	}
	var strangers []int
	for _, pid := range pids {
		if !descends(pid, initPid) {
			strangers = append(strangers, pid)
		}
	}
	return strangers, nil
}

// descends follows the parents of a process. A process that ends meanwhile
// counts as a descendant: it is none of our worries any more.
func descends(pid, ancestor int) bool {
	for pid != ancestor {
		parent, err := parentOf(pid)
		if err != nil {
			return true
		}
		if parent <= 1 {
			return false
		}
		pid = parent
	}
	return true
}

func parentOf(pid int) (int, error) {
	fields, err := statOf(pid)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(fields[1])
}

// zombie tells whether a process only waits for its parent to collect it; such
// a one cannot be killed again.
func zombie(pid int) bool {
	fields, err := statOf(pid)
	return err != nil || fields[0] == "Z" || fields[0] == "X"
}

// statOf reads /proc/<pid>/stat from its third field on. The second, the command
// name, is the tenant's and may hold anything, so the fields are counted from
// its closing bracket, the last one of the line.
func statOf(pid int) ([]string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, fmt.Errorf("read state of process %d: %w", pid, err)
	}
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 2 {
		return nil, fmt.Errorf("read state of process %d: short stat line", pid)
	}
	return fields, nil
}
