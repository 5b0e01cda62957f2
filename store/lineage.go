package store

import (
	"fmt"
	"regexp"
)

// Lineage is what successive checkpoints of one container have in common. Its
// three names become path components.
type Lineage struct {
	// Namespace is the Kubernetes namespace.
	Namespace string `json:"namespace"`
	// Workload is the pod's name or that of what owns it.
	Workload string `json:"workload"`
	// Container is the container's name within the pod.
	Container string `json:"container"`
}

// dns1123 is a DNS-1123 subdomain. It has no slash, no empty label and hence
// no "..": a name that matches is safe as a path component.
var dns1123 = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

const maxName = 253

// Validate returns [ErrBadName] unless all three names are DNS-1123 subdomains
// of at most 253 bytes, which Kubernetes names are.
func (l Lineage) Validate() error {
	for _, n := range []struct{ what, name string }{
		{"namespace", l.Namespace}, {"workload", l.Workload}, {"container", l.Container},
	} {
		if !validName(n.name) {
			return fmt.Errorf("check lineage: %s %.80q: %w", n.what, n.name, ErrBadName)
		}
	}
	return nil
}

// String returns "namespace/workload/container".
func (l Lineage) String() string { return l.Namespace + "/" + l.Workload + "/" + l.Container }

// IsZero reports whether no name is set.
func (l Lineage) IsZero() bool { return l == Lineage{} }

func validName(name string) bool { return len(name) <= maxName && dns1123.MatchString(name) }
