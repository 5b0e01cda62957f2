package rights

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// mount is a mount of a container, in an image or in the kernel.
type mount struct {
	// point is where it is, as the container sees it; kind is the file system's
	// name, and root what of it is mounted.
	point, kind, root string
	flags             uint64
	// external is set in images for what CRIU takes from its caller, under key.
	external bool
	key      string
}

// virtual are file systems of the kernel's own: to mount one opens no device,
// and each container gets one of its own.
var virtual = map[string]bool{
	"proc": true, "sysfs": true, "tmpfs": true, "devpts": true, "mqueue": true, "cgroup": true, "cgroup2": true,
}

// nullFile is what runc mounts over a file that is masked.
const nullFile = "/dev/null"

// checkMounts compares the mounts that an image has with the spec.
func (r *Rights) checkMounts(all []mount) error {
	seen := map[string]bool{}
	for _, m := range all {
		switch {
		case m.point != "/" && !m.external && !virtual[m.kind] && (m.kind != "" || r.mayMount):
			return fmt.Errorf("%w: %s mounted at %.100q", ErrExceeded, m.kind, m.point)
		case r.mayMount:
			// Its processes can mount, unmount and change the flags.
			continue
		case seen[m.point]:
			return fmt.Errorf("%w: two mounts at %.100q", ErrExceeded, m.point)
		case !r.accounted(m):
			return fmt.Errorf("%w: a mount at %.100q", ErrExceeded, m.point)
		}
		seen[m.point] = true
	}
	if r.mayMount {
		return nil
	}
	for point := range r.points {
		if !seen[point] {
			return fmt.Errorf("%w: nothing mounted at %.100q", ErrExceeded, point)
		}
	}
	return nil
}

// accounted tells whether the spec, or what runc makes of it, accounts for a
// mount of an image.
func (r *Rights) accounted(m mount) bool {
	if m.point == "/" {
		return !r.spec.Root.Readonly || m.flags&unix.MS_RDONLY != 0
	}
	if d := r.points[m.point]; d != nil {
		switch {
		case isBind(d):
			return m.external && m.key == m.point && m.has(flagsOf(d))
		case d.Type == "cgroup":
			// The tmpfs that version 1 has there holds directories only.
			return m.kind == "tmpfs" || m.kind == "cgroup2" && m.has(flagsOf(d))
		}
		return !m.external && m.kind == d.Type && m.root == "/" && m.has(flagsOf(d))
	}
	switch {
	case slices.Contains(r.spec.Linux.MaskedPaths, m.point):
		// A restored container has the node's own, on another file system.
		file := m.external && m.key == nullFile && m.root == "/null"
		return file || !m.external && m.kind == "tmpfs" && m.root == "/" && m.has(unix.MS_RDONLY)
	case slices.Contains(r.spec.Linux.ReadonlyPaths, m.point):
		return !m.external && m.has(unix.MS_RDONLY)
	case m.point == "/dev/console":
		return r.spec.Process.Terminal && m.kind == "devpts"
	}
	if d := r.above(m.point); d != nil {
		if d.Type == "cgroup" {
			return m.kind == "cgroup" && m.external && m.key == m.point && m.has(flagsOf(d))
		}
		return isBind(d) && virtual[m.kind]
	}
	return false
}

func (m mount) has(flags uint64) bool { return m.flags&flags == flags }

// above finds the nearest mount of the spec over a place.
func (r *Rights) above(point string) *specs.Mount {
	for point != "/" {
		point = path.Dir(point)
		if d := r.points[point]; d != nil {
			return d
		}
	}
	return nil
}

func isBind(d *specs.Mount) bool {
	return d.Type == "bind" || slices.Contains(d.Options, "bind") || slices.Contains(d.Options, "rbind")
}

// flagsOf are the mount flags that take something away, as far as the options
// ask for them; the last word counts.
func flagsOf(d *specs.Mount) uint64 {
	var flags uint64
	for _, option := range d.Options {
		switch option {
		case "ro", "rro":
			flags |= unix.MS_RDONLY
		case "rw", "rrw":
			flags &^= unix.MS_RDONLY
		case "nosuid":
			flags |= unix.MS_NOSUID
		case "suid":
			flags &^= unix.MS_NOSUID
		case "nodev":
			flags |= unix.MS_NODEV
		case "dev":
			flags &^= unix.MS_NODEV
		case "noexec":
			flags |= unix.MS_NOEXEC
		case "exec":
			flags &^= unix.MS_NOEXEC
		}
	}
	return flags
}

// clean brings a mount point to the form that all are compared in.
func clean(point string) string { return path.Clean("/" + strings.TrimPrefix(point, ".")) }
