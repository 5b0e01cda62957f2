package criu

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// process is what the kernel says of one process.
type process struct {
	pid    int
	status map[string]string
}

// process reads /proc/<pid>/status.
func (s *scan) process(pid int) (process, error) {
	data, err := s.read(pid, "status", 64<<10)
	if err != nil {
		return process{}, err
	}
	p := process{pid: pid, status: map[string]string{}}
	for line := range strings.Lines(data) {
		if name, value, found := strings.Cut(line, ":"); found {
			p.status[name] = strings.TrimSpace(value)
		}
	}
	return p, nil
}

// name is how the process is called in findings: by the id that it has in its
// container, and the name that it gave itself.
func (p process) name() string {
	id := strconv.Itoa(p.pid)
	if inner := strings.Fields(p.status["NSpid"]); len(inner) > 0 {
		id = inner[len(inner)-1]
	}
	return fmt.Sprintf("process %s %s", id, shown(p.status["Name"]))
}

// state looks for what keeps CRIU from stopping the process, or from asking for
// its limits.
func (s *scan) state(p process) {
	letter, _, _ := strings.Cut(p.status["State"], " ")
	switch letter {
	case "Z", "X": // only waits to be collected; nothing else is left of it
		return
	case "D":
		s.found("uninterruptible", p.name())
	case "T":
		s.found(kindStopped, p.name())
	}
	if tracer := p.status["TracerPid"]; tracer != "" && tracer != "0" {
		s.found(kindTraced, p.name())
	}
	if !s.unlimited && (!root(p.status["Uid"]) || !root(p.status["Gid"])) {
		s.found("limits", p.name())
	}
}

// root tells whether the real, effective and saved ids of a status are all 0.
func root(ids string) bool {
	for i, id := range strings.Fields(ids) {
		if i < 3 && id != "0" {
			return false
		}
	}
	return true
}

// mayReadLimits tells whether the parent of init, which is the shim and starts
// CRIU, has the capability to read the limits of processes of other users.
// Where that cannot be learnt it is taken to have it.
func (s *scan) mayReadLimits() bool {
	parent, err := strconv.Atoi(s.init.status["PPid"])
	if err != nil {
		return true
	}
	shim, err := s.process(parent)
	if err != nil {
		return true
	}
	set, err := strconv.ParseUint(shim.status["CapEff"], 16, 64)
	return err != nil || set&(1<<unix.CAP_SYS_RESOURCE) != 0
}

// namespaces looks for namespaces that the process does not share with init;
// CRIU knows such ones for mounts only.
func (s *scan) namespaces(p process) {
	if len(strings.Fields(p.status["NSpid"])) > len(strings.Fields(s.init.status["NSpid"])) {
		s.found("namespace", "pid, "+p.name())
	}
	for _, kind := range []string{"user", "net", "ipc", "uts"} {
		own, err := os.Readlink(s.path(p.pid, "ns/"+kind))
		if err != nil {
			return
		}
		if of, err := os.Readlink(s.path(s.Init, "ns/"+kind)); err == nil && own != of {
			s.found("namespace", kind+", "+p.name())
		}
	}
}

// mappings looks at what the process has mapped. Some of it is to be seen there
// only, because the descriptor was closed.
func (s *scan) mappings(p process) {
	text, err := s.read(p.pid, "maps", min(mostText, s.mapsLeft))
	if err != nil {
		return
	}
	s.mapsLeft -= int64(len(text))
	if s.mapsLeft <= 0 {
		s.found("incomplete", "there are too many mappings")
	}
	for line := range strings.Lines(text) {
		addresses, path := mapped(line)
		switch {
		case strings.HasPrefix(path, "anon_inode:[io_uring]"):
			s.found("io_uring", p.name())
		case strings.HasPrefix(path, "anon_inode:"):
			s.found("object", shown(path)+" in "+p.name())
		case strings.HasPrefix(path, "/SYSV"):
			s.found("sysv", p.name())
		case strings.HasPrefix(path, "/anon_hugepage"):
			s.found("hugepages", p.name())
		case strings.HasPrefix(path, "/dev/") && !strings.HasPrefix(path, "/dev/shm/") && !strings.HasPrefix(path, "/dev/zero"):
			s.device(p, path, s.path(p.pid, "map_files/"+addresses))
		}
	}
}

// mapped reads a line of /proc/<pid>/maps: addresses, permissions, offset,
// device, inode, path.
func mapped(line string) (addresses, path string) {
	addresses, line, _ = strings.Cut(strings.TrimSuffix(line, "\n"), " ")
	for range 4 {
		_, line, _ = strings.Cut(strings.TrimLeft(line, " "), " ")
	}
	return addresses, strings.TrimLeft(line, " ")
}

func (s *scan) path(pid int, name string) string {
	return filepath.Join(s.Proc, strconv.Itoa(pid), name)
}

// read returns the beginning of a file about a process.
func (s *scan) read(pid int, name string, most int64) (string, error) {
	f, err := os.Open(s.path(pid, name))
	if err != nil {
		return "", fmt.Errorf("read %s of process %d: %w", name, pid, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return "", fmt.Errorf("read %s of process %d: %w", name, pid, err)
	}
	return string(data), nil
}
