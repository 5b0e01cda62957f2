package agent

import (
	"fmt"
	"os"

	"github.com/rekindle-dev/rekindle/criu"
)

// room is how many bytes of files a dump may add to its memory, which needs so
// many, without taking the space that must stay free.
func (a *Agent) room(need int64) int64 {
	space, err := a.store.Space()
	if err != nil {
		return 0
	}
	return max(0, space.Free-need-int64(a.Config().Store.MinFree))
}

// footprint estimates how much a dump will write, in bytes: the resident memory
// of the container's processes.
func footprint(pid int) int64 {
	var pages int64
	for _, pid := range processes(pid) {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err != nil {
			continue
		}
		var size, resident int64
		if _, err := fmt.Sscan(string(data), &size, &resident); err == nil {
			pages += resident
		}
	}
	return pages * int64(os.Getpagesize())
}

// processes lists those of the container whose init has that id.
func processes(pid int) []int {
	freezer, err := criu.FreezerOf(pid)
	if err != nil {
		return nil
	}
	pids, err := freezer.Processes()
	if err != nil {
		return nil
	}
	return pids
}
