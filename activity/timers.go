package activity

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// NextTimer returns when the next timer of a container's processes is due that goes
// off once; false when there is none. Only timers that are open files (timerfd) can
// be seen from outside. Who waits for a time in any other way, as most programs do,
// has none here; and one that goes off again and again is how a program looks around,
// and no work that it has planned.
func NextTimer(pids []int) (time.Duration, bool) {
	next, found, files := time.Duration(0), false, 0
	for _, pid := range pids {
		dir := fmt.Sprintf("/proc/%d/fd", pid)
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // it has ended
		}
		if files += len(entries); files > mostFiles {
			break
		}
		for _, e := range entries {
			target, err := os.Readlink(dir + "/" + e.Name())
			if err != nil || target != "anon_inode:[timerfd]" {
				continue
			}
			data, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%s", pid, e.Name()))
			if left, again := parseTimer(string(data)); err == nil && left > 0 && !again && (!found || left < next) {
				next, found = left, true
			}
		}
	}
	return next, found
}

// parseTimer reads how long a timer still runs, 0 for one that does not, and
// whether it begins again then.
func parseTimer(text string) (left time.Duration, again bool) {
	for line := range strings.Lines(text) {
		var s, ns int64
		name, value, _ := strings.Cut(line, ": ")
		if name != "it_value" && name != "it_interval" {
			continue
		}
		if _, err := fmt.Sscanf(strings.TrimSpace(value), "(%d, %d)", &s, &ns); err != nil {
			continue
		}
		const most = int64(1<<62) / int64(time.Second)
		d := time.Duration(min(s, most))*time.Second + time.Duration(ns)
		if name == "it_value" {
			left = d
		} else {
			again = d > 0
		}
	}
	return left, again
}
