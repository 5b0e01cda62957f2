package criu

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// knownObjects are the anonymous inodes that CRIU dumps. It knows BPF maps too
// when it was built with libbpf, which distributions do not do.
var knownObjects = []string{"[eventfd]", "[eventpoll]", "[timerfd]", "[signalfd]", "[fanotify]", "inotify", "[pidfd]"}

// descriptors looks at what the process has open.
func (s *scan) descriptors(p process) {
	dir, err := os.Open(s.path(p.pid, "fd"))
	if err != nil {
		return
	}
	defer dir.Close()
	left := mostFiles - s.files
	// One more than is looked at tells whether there are more.
	names, err := dir.Readdirnames(left + 1)
	if err != nil {
		return // none, or it has ended
	}
	if len(names) > left {
		s.found("incomplete", fmt.Sprintf("only %d open files", mostFiles))
		names = names[:left]
	}
	s.files += len(names)
	for _, fd := range names {
		if s.ctx.Err() != nil {
			s.found("incomplete", fmt.Sprintf("only the open files of %s", mostTime))
			return
		}
		s.descriptor(p, fd)
	}
}

func (s *scan) descriptor(p process, fd string) {
	path := s.path(p.pid, "fd/"+fd)
	target, err := os.Readlink(path)
	if err != nil {
		return
	}
	switch {
	case strings.HasPrefix(target, "socket:["):
		s.socket(p, target, path)
	case strings.HasPrefix(target, "anon_inode:"):
		s.object(p, fd, strings.TrimPrefix(target, "anon_inode:"))
	case strings.HasPrefix(target, "/secretmem"):
		s.found("object", shown(target)+" in "+p.name())
	case strings.HasPrefix(target, "/memfd:"):
	case strings.HasPrefix(target, "/"):
		s.file(p, target, path)
	}
}

func (s *scan) object(p process, fd, name string) {
	switch {
	case name == "[io_uring]":
		s.found("io_uring", p.name())
	case name == "inotify":
		s.watches(p, fd)
	case !slices.Contains(knownObjects, name):
		s.found("object", shown(name)+" in "+p.name())
	}
}

// watches looks for inotify watches of the root file system. CRIU finds what is
// watched by its file handle, which an overlay does not give.
func (s *scan) watches(p process, fd string) {
	if !s.root.overlay() {
		return
	}
	text, err := s.read(p.pid, "fdinfo/"+fd, mostText)
	if err != nil {
		return
	}
	for line := range strings.Lines(text) {
		_, rest, found := strings.Cut(line, " sdev:")
		if !found || !strings.HasPrefix(line, "inotify ") {
			continue
		}
		device, _, _ := strings.Cut(rest, " ")
		if n, err := strconv.ParseUint(device, 16, 64); err == nil && n == s.root.device {
			s.found("inotify", p.name())
			return
		}
	}
}

// file looks at an open file that has, or had, a name.
func (s *scan) file(p process, name, path string) {
	var st unix.Statx_t
	// The kernel is to say what it knows, and not to ask a server that may not answer.
	if unix.Statx(unix.AT_FDCWD, path, unix.AT_STATX_DONT_SYNC, unix.STATX_BASIC_STATS, &st) != nil {
		return
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFCHR, unix.S_IFBLK:
		s.checkDevice(p, name, st)
	case unix.S_IFREG:
		deleted := strings.HasSuffix(name, " (deleted)")
		// Blocks of 512 bytes: CRIU does not count the holes of a file either.
		if size := int64(st.Blocks) * 512; deleted && st.Nlink == 0 && size > s.GhostLimit {
			s.found("deleted", fmt.Sprintf("%s of %d MiB in %s", shown(strings.TrimSuffix(name, " (deleted)")), size>>20, p.name()))
		}
		if deleted && st.Nlink > 0 && s.onRoot(st) {
			s.found("unlinked", shown(strings.TrimSuffix(name, " (deleted)"))+" in "+p.name())
		}
	}
}

// onRoot tells whether a file is of the root file system.
func (s *scan) onRoot(st unix.Statx_t) bool {
	return kernelDevice(uint64(st.Dev_major), uint64(st.Dev_minor)) == s.root.device
}

// device looks at a file that is mapped and may be a device.
func (s *scan) device(p process, name, path string) {
	var st unix.Statx_t
	if unix.Statx(unix.AT_FDCWD, path, unix.AT_STATX_DONT_SYNC, unix.STATX_BASIC_STATS, &st) == nil {
		s.checkDevice(p, name, st)
	}
}

func (s *scan) checkDevice(p process, name string, st unix.Statx_t) {
	kind := st.Mode & unix.S_IFMT
	if kind == unix.S_IFBLK || kind == unix.S_IFCHR && !knownDevice(st.Rdev_major, st.Rdev_minor) {
		s.found("device", fmt.Sprintf("%s (%d:%d) in %s", shown(name), st.Rdev_major, st.Rdev_minor, p.name()))
	}
}

// Numbers of character devices, from the kernel's list.
const (
	memoryMajor   = 1 // null, zero, full, random, urandom, kmsg
	consoleMajor  = 4
	terminalMajor = 5 // tty, console, ptmx
	miscMajor     = 10
	firstPtyMajor = 128
	lastPtyMajor  = 143
	tunMinor      = 200
	hpetMinor     = 228
)

// knownDevice tells whether CRIU dumps a character device.
func knownDevice(major, minor uint32) bool {
	switch {
	case major == memoryMajor, major == terminalMajor, major >= firstPtyMajor && major <= lastPtyMajor:
		return true
	case major == consoleMajor:
		return minor > 0
	case major == miscMajor:
		return minor == tunMinor || minor == hpetMinor
	}
	return false
}
