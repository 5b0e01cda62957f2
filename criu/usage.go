package criu

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// CPUTime returns how long processes have run, in all, in the cgroup in which a
// process is: its own and those that have ended. It stands still when nothing
// runs there.
func CPUTime(pid int) (time.Duration, error) {
	dir, unified, err := cgroupOf(pid, "cpuacct")
	if err != nil {
		return 0, err
	}
	if !unified {
		n, err := readNumber(filepath.Join(dir, "cpuacct.usage"))
		return time.Duration(n), err
	}
	n, err := readStat(filepath.Join(dir, "cpu.stat"), "usage_usec")
	return time.Duration(n) * time.Microsecond, err
}

// readNumber reads a file that holds one number.
func readNumber(path string) (int64, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", filepath.Base(path), err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", filepath.Base(path), err)
	}
	return n, nil
}

// readStat adds up fields of a file with a name and a number on each line.
func readStat(path string, names ...string) (int64, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", filepath.Base(path), err)
	}
	var sum int64
	for _, name := range names {
		_, rest, found := strings.Cut("\n"+string(data), "\n"+name+" ")
		if !found {
			return 0, fmt.Errorf("read %s: there is no %s", filepath.Base(path), name)
		}
		value, _, _ := strings.Cut(rest, "\n")
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read %s: %w", filepath.Base(path), err)
		}
		sum += n
	}
	return sum, nil
}

// unlimited is from where on a memory limit of cgroup version 1 means none.
const unlimited = 1 << 60

// Memory returns the memory, in bytes, that a process's cgroup uses and cannot
// give back by dropping cached files, and its limit; 0 when it has none.
func Memory(pid int) (used, limit int64, err error) {
	dir, unified, err := cgroupOf(pid, "memory")
	if err != nil {
		return 0, 0, err
	}
	return memoryOf(dir, unified)
}

// memoryOf is Memory for the directory of a cgroup.
func memoryOf(dir string, unified bool) (used, limit int64, err error) {
	if unified {
		return memoryIn(dir, "memory.current", "memory.max", "inactive_file", "active_file")
	}
	return memoryIn(dir, "memory.usage_in_bytes", "memory.limit_in_bytes", "total_inactive_file", "total_active_file")
}

func memoryIn(dir, usage, bound string, cached ...string) (used, limit int64, err error) {
	if data, rerr := os.ReadFile(filepath.Join(dir, bound)); rerr == nil && strings.TrimSpace(string(data)) == "max" {
		return 0, 0, nil
	}
	if limit, err = readNumber(filepath.Join(dir, bound)); err != nil || limit >= unlimited {
		return 0, 0, err
	}
	if used, err = readNumber(filepath.Join(dir, usage)); err != nil {
		return 0, 0, err
	}
	files, err := readStat(filepath.Join(dir, "memory.stat"), cached...)
	return max(0, used-files), limit, err
}
