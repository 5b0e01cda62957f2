package activity

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Use is what the processes of a container have used since they began, without exec
// sessions: those are in the container's control group, but are no children of its
// init.
type Use struct {
	// CPU is their CPU time, known to a hundredth of a second for each.
	CPU time.Duration
	// Disk is what they have read from and written to disks, in bytes. What is in a
	// cache, or has not left it yet, counts when it is written.
	Disk uint64
}

// tick is the unit of time in /proc/PID/stat.
const tick = time.Second / 100

// mostProcesses bounds how many processes of a container are looked at.
const mostProcesses = 256

// ErrManyProcesses is returned for a container with more processes than are looked at.
var ErrManyProcesses = fmt.Errorf("there are more than %d processes", mostProcesses)

// process is what /proc/PID/stat says of one.
type process struct {
	parent int
	cpu    time.Duration
}

// UseOf adds up what the given processes have used, as far as they descend from
// init. Those that end meanwhile are with their parents then.
func UseOf(init int, pids []int) (Use, error) {
	if len(pids) > mostProcesses {
		return Use{}, ErrManyProcesses
	}
	table := make(map[int]process, len(pids))
	for _, pid := range pids {
		if p, err := readProcess(pid); err == nil {
			table[pid] = p
		}
	}
	var u Use
	for pid, p := range table {
		if descends(table, pid, init) {
			u.CPU += p.cpu
			u.Disk += readDisk(pid)
		}
	}
	return u, nil
}

// descends follows the parents of a process, within the table.
func descends(table map[int]process, pid, ancestor int) bool {
	for range len(table) {
		if pid == ancestor {
			return true
		}
		p, known := table[pid]
		if !known {
			return false
		}
		pid = p.parent
	}
	return false
}

func readProcess(pid int) (process, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, err
	}
	return parseProcess(data)
}

// parseProcess reads a line of /proc/PID/stat. The name of the program, in brackets,
// is the tenant's, and may have anything in it; so the fields are counted from its
// end.
func parseProcess(data []byte) (process, error) {
	// Fields of proc(5), counted from the state, which is the third.
	const parent, utime, stime, cutime, cstime = 1, 11, 12, 13, 14
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) <= cstime {
		return process{}, fmt.Errorf("read process: %d fields", len(fields))
	}
	var p process
	p.parent, _ = strconv.Atoi(fields[parent])
	for _, i := range []int{utime, stime, cutime, cstime} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return process{}, fmt.Errorf("read process: %w", err)
		}
		p.cpu += time.Duration(n) * tick
	}
	return p, nil
}

// readDisk reads what a process, and the children that it has waited for, have
// read and written. A kernel that does not count it has no such file.
func readDisk(pid int) uint64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return 0
	}
	var sum uint64
	for line := range strings.Lines(string(data)) {
		if name, value, _ := strings.Cut(line, ": "); name == "read_bytes" || name == "write_bytes" {
			n, _ := strconv.ParseUint(strings.TrimSpace(value), 10, 64)
			sum += n
		}
	}
	return sum
}
