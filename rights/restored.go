package rights

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Restored compares what the processes of a restored container have with what
// the spec allows, and returns an error that is ErrExceeded when they have more.
// They must be stopped: initPid is the first of them, pids are all.
func (r *Rights) Restored(initPid int, pids []int) error {
	for _, pid := range pids {
		if err := r.process(pid); err != nil {
			return fmt.Errorf("process %d: %w", pid, err)
		}
		if err := r.entered(pid, pid == initPid); err != nil {
			return fmt.Errorf("process %d: %w", pid, err)
		}
	}
	if r.mayMount {
		return nil
	}
	if err := r.mounted(initPid); err != nil {
		return fmt.Errorf("mounts: %w", err)
	}
	return nil
}

// process looks at each thread of a process.
func (r *Rights) process(pid int) error {
	dir := fmt.Sprintf("/proc/%d/task", pid)
	threads, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list threads: %w", err)
	}
	for _, t := range threads {
		h, err := heldBy(filepath.Join(dir, t.Name()))
		if errors.Is(err, errEnded) {
			continue
		}
		if err != nil {
			return err
		}
		if err := r.exceeded(h); err != nil {
			return err
		}
	}
	return nil
}

// errEnded is returned for a thread that has nothing left but its status.
var errEnded = errors.New("the thread has ended")

// heldBy reads what one thread has, from its directory below /proc.
func heldBy(dir string) (held, error) {
	data, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return held{}, fmt.Errorf("read status: %w", err)
	}
	s := status{}
	for line := range strings.Lines(string(data)) {
		if name, value, found := strings.Cut(line, ":"); found {
			s[name] = strings.TrimSpace(value)
		}
	}
	if state := s["State"]; strings.HasPrefix(state, "Z") || strings.HasPrefix(state, "X") {
		return held{}, errEnded
	}
	h := held{
		uids: s.ids("Uid"), gids: s.ids("Gid"), groups: s.ids("Groups"),
		permitted: s.set("CapPrm"), effective: s.set("CapEff"), inheritable: s.set("CapInh"),
		ambient: s.set("CapAmb"), bounding: s.set("CapBnd"),
		noNewPrivs: s["NoNewPrivs"] == "1",
	}
	h.seccomp, _ = strconv.Atoi(s["Seccomp"])
	if len(h.uids) != 4 || len(h.gids) != 4 {
		return held{}, errors.New("read status: no user or group")
	}
	// Without a security module there is nothing to read.
	label, _ := os.ReadFile(filepath.Join(dir, "attr/current"))
	h.label = cutMode(string(label))
	return h, nil
}

// status is /proc/<pid>/status. What cannot be read in it counts as everything.
type status map[string]string

func (s status) ids(name string) []uint32 {
	var ids []uint32
	for _, field := range strings.Fields(s[name]) {
		id, err := strconv.ParseUint(field, 10, 32)
		if err != nil {
			return nil
		}
		ids = append(ids, uint32(id))
	}
	return ids
}

func (s status) set(name string) set {
	n, err := strconv.ParseUint(s[name], 16, 64)
	if err != nil {
		return ^set(0)
	}
	return set(n)
}

// links are the names that the kernel gives to the namespaces of a spec.
var links = map[specs.LinuxNamespaceType]string{
	specs.PIDNamespace: "pid", specs.NetworkNamespace: "net", specs.IPCNamespace: "ipc", specs.UTSNamespace: "uts",
	specs.MountNamespace: "mnt", specs.CgroupNamespace: "cgroup", specs.UserNamespace: "user",
}

// entered compares the namespaces that a process is in with those of the spec.
// Init must be in the very ones; others may have made some of their own, but are
// never in the node's where the container is not.
func (r *Rights) entered(pid int, first bool) error {
	for _, n := range r.spec.Linux.Namespaces {
		link, known := links[n.Type]
		if !known {
			continue
		}
		theirs, err := os.Stat(fmt.Sprintf("/proc/%d/ns/%s", pid, link))
		if err != nil {
			return fmt.Errorf("look at namespaces: %w", err)
		}
		ours, err := os.Stat("/proc/self/ns/" + link)
		if err != nil {
			return fmt.Errorf("look at namespaces: %w", err)
		}
		if n.Path == "" || !first {
			if os.SameFile(theirs, ours) {
				return fmt.Errorf("%w: it is in the node's %s namespace", ErrExceeded, n.Type)
			}
			continue
		}
		want, err := os.Stat(n.Path)
		if err != nil {
			return fmt.Errorf("look at namespaces: %w", err)
		}
		if !os.SameFile(theirs, want) {
			return fmt.Errorf("%w: it is not in the pod's %s namespace", ErrExceeded, n.Type)
		}
	}
	return nil
}

// mounted looks at the container's files as init would find them.
func (r *Rights) mounted(pid int) error {
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open root: %w", err)
	}
	defer unix.Close(root)
	if r.spec.Root.Readonly {
		if err := found(root, "/", unix.MS_RDONLY); err != nil {
			return err
		}
	}
	for point, d := range r.points {
		if d.Type == "cgroup" {
			continue
		}
		if err := found(root, point, flagsOf(d)); err != nil {
			return err
		}
		if isBind(d) {
			if err := same(root, point, d.Source); err != nil {
				return err
			}
		}
	}
	for _, name := range r.spec.Linux.ReadonlyPaths {
		if err := found(root, name, unix.MS_RDONLY); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	for _, name := range r.spec.Linux.MaskedPaths {
		if err := masked(root, name); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	return nil
}

// inside opens a name below the container's root, where links lead as they do in
// the container.
func inside(root int, name string) (int, error) {
	fd, err := unix.Openat2(root, name, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return -1, fmt.Errorf("look at %.100q: %w", name, err)
	}
	return fd, nil
}

// found compares the flags of the mount in which a name is. The kernel's flags
// of statfs are those of mount for what is looked at here.
func found(root int, name string, flags uint64) error {
	fd, err := inside(root, name)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return fmt.Errorf("look at %.100q: %w", name, err)
	}
	if uint64(fs.Flags)&flags != flags {
		return fmt.Errorf("%w: %.100q is mounted without its flags", ErrExceeded, name)
	}
	return nil
}

// same tells whether a bind mount shows what the spec says.
func same(root int, name, source string) error {
	fd, err := inside(root, name)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var there, here unix.Stat_t
	if err := errors.Join(unix.Fstat(fd, &there), unix.Stat(source, &here)); err != nil {
		return fmt.Errorf("look at %.100q: %w", name, err)
	}
	if there.Dev != here.Dev || there.Ino != here.Ino {
		return fmt.Errorf("%w: %.100q is not what the spec mounts there", ErrExceeded, name)
	}
	return nil
}

// masked tells whether a path is hidden: a file behind the null device, a
// directory behind an empty read-only one.
func masked(root int, name string) error {
	fd, err := inside(root, name)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	var fs unix.Statfs_t
	if err := errors.Join(unix.Fstat(fd, &st), unix.Fstatfs(fd, &fs)); err != nil {
		return fmt.Errorf("look at %.100q: %w", name, err)
	}
	null := st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == unix.Mkdev(1, 3)
	empty := st.Mode&unix.S_IFMT == unix.S_IFDIR && fs.Type == unix.TMPFS_MAGIC && fs.Flags&unix.ST_RDONLY != 0
	if !null && !empty {
		return fmt.Errorf("%w: %.100q is not masked", ErrExceeded, name)
	}
	return nil
}
