package rights

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	securejoin "github.com/cyphar/filepath-securejoin"
	"github.com/moby/sys/capability"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// ErrExceeded is returned for images or processes that have more than the spec
// allows.
var ErrExceeded = errors.New("more than the container's spec allows")

// maxSpec bounds the spec that is read, in bytes.
const maxSpec = 16 << 20

// Rights are what the processes of one container may have.
type Rights struct {
	spec *specs.Spec
	// points are the spec's mounts by where they really are: a destination may
	// lead over links of the image, such as /var/run.
	points map[string]*specs.Mount

	// The capabilities that a process may have in each of its sets.
	permitted, inheritable, bounding set
	// anyUID and anyGID are set when a process could have become another user or
	// group, and anyGroups when it could have got other groups.
	anyUID, anyGID, anyGroups bool
	// mayMount is set when processes may change their mounts themselves.
	mayMount bool
	// filtered is set when every system call goes through a seccomp filter.
	filtered bool
}

// Of reads what the spec in a bundle allows.
func Of(bundle string) (*Rights, error) {
	path := filepath.Join(bundle, "config.json")
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read spec: %w", err)
	}
	if info.Size() > maxSpec {
		return nil, fmt.Errorf("read spec: %d bytes", info.Size())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read spec: %w", err)
	}
	var spec specs.Spec
	if err := json.Unmarshal(data, &spec); err != nil {
		return nil, fmt.Errorf("decode spec: %w", err)
	}
	if spec.Root != nil && !filepath.IsAbs(spec.Root.Path) {
		if spec.Root.Path, err = filepath.Abs(filepath.Join(bundle, spec.Root.Path)); err != nil {
			return nil, fmt.Errorf("find root: %w", err)
		}
	}
	return New(&spec)
}

// New derives the rights from a spec, which must not change afterwards and whose
// root is an absolute path.
func New(spec *specs.Spec) (*Rights, error) {
	if spec.Process == nil || spec.Linux == nil || spec.Root == nil {
		return nil, errors.New("the spec has no process, root or linux section")
	}
	points := map[string]*specs.Mount{}
	for i, m := range spec.Mounts {
		point, err := securejoin.SecureJoin(spec.Root.Path, m.Destination)
		if err != nil {
			return nil, fmt.Errorf("find mount point %.100q: %w", m.Destination, err)
		}
		points[clean(strings.TrimPrefix(point, spec.Root.Path))] = &spec.Mounts[i]
	}
	if hasNamespace(spec, specs.UserNamespace) {
		return nil, errors.New("containers with a user namespace of their own are not restored")
	}
	var caps specs.LinuxCapabilities
	if spec.Process.Capabilities != nil {
		caps = *spec.Process.Capabilities
	}
	given, err := setOf(slices.Concat(caps.Permitted, caps.Effective, caps.Ambient))
	if err != nil {
		return nil, err
	}
	inheritable, err := setOf(caps.Inheritable)
	if err != nil {
		return nil, err
	}
	bounding, err := setOf(caps.Bounding)
	if err != nil {
		return nil, err
	}
	r := &Rights{spec: spec, points: points, bounding: bounding, permitted: given}
	if !spec.Process.NoNewPrivileges {
		// A setuid program, or one with file capabilities, gives what the bounding
		// set has, and what was inherited.
		r.permitted |= bounding | inheritable
	}
	r.inheritable = inheritable | r.permitted
	// A setuid program gives any user its owner's id, and a setgid one its group.
	r.anyUID = !spec.Process.NoNewPrivileges || r.permitted.has(capability.CAP_SETUID)
	r.anyGID = !spec.Process.NoNewPrivileges || r.permitted.has(capability.CAP_SETGID)
	r.anyGroups = r.permitted.has(capability.CAP_SETGID)
	r.mayMount = r.permitted.has(capability.CAP_SYS_ADMIN)
	// runc sets no filter up for an empty profile.
	profile := spec.Linux.Seccomp
	r.filtered = profile != nil && (profile.DefaultAction != "" || len(profile.Syscalls) > 0)
	return r, nil
}

func hasNamespace(spec *specs.Spec, kind specs.LinuxNamespaceType) bool {
	return slices.ContainsFunc(spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == kind })
}

// seccompFilter is SECCOMP_MODE_FILTER.
const seccompFilter = 2

// held is what one thread has, in an image or in the kernel.
type held struct {
	// uids and gids are the real, effective, saved and file system ids.
	uids, gids []uint32
	groups     []uint32

	permitted, effective, inheritable, ambient, bounding set

	noNewPrivs bool
	seccomp    int
	// label is the security module's, without the mode that AppArmor appends.
	label string
}

// exceeded says what a thread has that it may not have.
func (r *Rights) exceeded(h held) error {
	user := r.spec.Process.User
	for _, x := range []struct {
		name         string
		has, allowed set
	}{
		{"permitted", h.permitted, r.permitted},
		{"effective", h.effective, r.permitted},
		{"ambient", h.ambient, r.permitted},
		{"inheritable", h.inheritable, r.inheritable},
		{"bounding", h.bounding, r.bounding},
	} {
		if more := x.has &^ x.allowed; more != 0 {
			return fmt.Errorf("%w: %s in the %s set", ErrExceeded, more, x.name)
		}
	}
	for _, id := range h.uids {
		if !r.anyUID && id != user.UID {
			return fmt.Errorf("%w: user %d, and it cannot have become another than %d", ErrExceeded, id, user.UID)
		}
	}
	for _, id := range h.gids {
		if !r.anyGID && id != user.GID {
			return fmt.Errorf("%w: group %d, and it cannot have become another than %d", ErrExceeded, id, user.GID)
		}
	}
	for _, id := range h.groups {
		if !r.anyGroups && id != user.GID && !slices.Contains(user.AdditionalGids, id) {
			return fmt.Errorf("%w: supplementary group %d", ErrExceeded, id)
		}
	}
	if r.spec.Process.NoNewPrivileges && !h.noNewPrivs {
		return fmt.Errorf("%w: no_new_privs is not set", ErrExceeded)
	}
	if r.filtered && h.seccomp != seccompFilter {
		return fmt.Errorf("%w: no seccomp filter", ErrExceeded)
	}
	return r.mislabelled(h.label)
}
