package activity

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// mostFiles bounds how many descriptors of a container are looked at. The sockets of
// one that has more count as its own, whosever they are.
const mostFiles = 10000

// owners tells which sockets of a pod are one container's. It remembers what it has
// found out.
type owners struct {
	// processes lists those of the container.
	processes func() ([]int, error)
	// inodes are of sockets, and ports of listening ones: true for the container's.
	inodes map[uint32]bool
	ports  map[uint16]bool
	// fresh is set when the descriptors were read at this look.
	fresh bool
	// all is set when they could not be read, or were too many.
	all bool
}

// begin starts a look. list has the sockets of the pod; those of which there is none
// any more are forgotten.
func (o *owners) begin(list, listening []socket) {
	o.fresh, o.all = false, false
	kept := make(map[uint32]bool, len(list)+len(listening))
	for _, l := range [][]socket{list, listening} {
		for _, s := range l {
			if mine, known := o.inodes[s.inode]; known {
				kept[s.inode] = mine
			}
		}
	}
	o.inodes = kept
	if len(listening) > 0 {
		o.ports = map[uint16]bool{}
	}
	for _, s := range listening {
		o.ports[s.local.Port()] = o.ports[s.local.Port()] || o.inode(s.inode)
	}
}

// owns tells whether a socket is the container's. One that is in no process, because
// it was not accepted yet or has ended, is with whoever listens on its port; where
// nobody does, it may be anybody's, and counts as the container's.
func (o *owners) owns(s socket) bool {
	if s.inode != 0 {
		return o.inode(s.inode)
	}
	mine, known := o.ports[s.local.Port()]
	return mine || !known
}

func (o *owners) inode(inode uint32) bool {
	mine, known := o.inodes[inode]
	if known {
		return mine
	}
	if !o.fresh {
		o.read()
	}
	mine = o.inodes[inode] || o.all
	o.inodes[inode] = mine
	return mine
}

// read notes the sockets that the container's processes have open.
func (o *owners) read() {
	o.fresh = true
	pids, err := o.processes()
	if err != nil {
		o.all = true
		return
	}
	files := 0
	for _, pid := range pids {
		dir := fmt.Sprintf("/proc/%d/fd", pid)
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // it has ended
		}
		if files += len(entries); files > mostFiles {
			o.all = true
			return
		}
		for _, e := range entries {
			target, err := os.Readlink(dir + "/" + e.Name())
			if err != nil || !strings.HasPrefix(target, "socket:[") {
				continue
			}
			if n, err := strconv.ParseUint(target[len("socket:["):len(target)-1], 10, 32); err == nil {
				o.inodes[uint32(n)] = true
			}
		}
	}
}
