package criu

import (
	"strconv"
	"strings"
)

// mount is one line of /proc/<pid>/mountinfo.
type mount struct {
	// device is that of the superblock, as the kernel counts it.
	device                       uint64
	root, point, options, fsType string
}

func (m mount) overlay() bool { return m.fsType == "overlay" }

// kernelDevice is a device number as the kernel itself composes it, and prints
// it in fdinfo.
func kernelDevice(major, minor uint64) uint64 { return major<<20 | minor }

// provided are mounts that every container has, from the runtime and the
// kubelet; what is in them is made again for each container.
var provided = map[string]bool{
	"/": true, "/etc/hosts": true, "/etc/hostname": true, "/etc/resolv.conf": true,
	"/dev/shm": true, "/dev/termination-log": true,
}

// unstored are file systems in which nothing is stored.
var unstored = map[string]bool{
	"proc": true, "sysfs": true, "cgroup": true, "cgroup2": true, "mqueue": true, "devpts": true, "devtmpfs": true,
}

// mounts looks at the file systems of the container. One that the node has
// mounted too is a volume.
func (s *scan) mounts() {
	theirs := s.mountsOf(s.Init)
	ours := map[uint64]bool{}
	for _, m := range s.mountsOf(1) {
		ours[m.device] = true
	}
	for _, m := range theirs {
		switch {
		case m.point == "/":
			s.root = m
			if !m.overlay() {
				s.found("rootfs", shown(m.fsType))
			}
		case m.fsType == "nsfs":
			s.found("mount", shown(m.point))
		case ours[m.device] && !provided[m.point] && !unstored[m.fsType] && writable(m.options):
			s.found("volume", shown(m.point))
		}
	}
}

func writable(options string) bool {
	for option := range strings.SplitSeq(options, ",") {
		if option == "rw" {
			return true
		}
	}
	return false
}

// mountsOf reads the mounts that a process sees.
func (s *scan) mountsOf(pid int) []mount {
	text, err := s.read(pid, "mountinfo", mostText)
	if err != nil {
		return nil
	}
	if len(text) == mostText {
		s.found("incomplete", "there are too many mounts")
	}
	var list []mount
	for line := range strings.Lines(text) {
		if m, ok := parseMount(line); ok {
			list = append(list, m)
		}
	}
	return list
}

// parseMount reads one line: id, parent, device, root, point, options, optional
// fields, a dash, the file system's type, and what is not needed here. Names in
// it have their spaces escaped.
func parseMount(line string) (mount, bool) {
	before, after, _ := strings.Cut(line, " - ")
	fields, rest := strings.Fields(before), strings.Fields(after)
	if len(fields) < 6 || len(rest) < 1 {
		return mount{}, false
	}
	major, minor, _ := strings.Cut(fields[2], ":")
	x, errX := strconv.ParseUint(major, 10, 32)
	y, errY := strconv.ParseUint(minor, 10, 32)
	if errX != nil || errY != nil {
		return mount{}, false
	}
	return mount{kernelDevice(x, y), fields[3], fields[4], fields[5], rest[0]}, true
}
