package manifest

import (
	"slices"
	"strings"

	"github.com/rekindle-dev/rekindle/conf"
	"github.com/rekindle-dev/rekindle/policy"
)

// Handler is the name of the runtime handler, and of the RuntimeClass that is
// shipped for it.
const Handler = "rekindle"

// Verdict is what would be done for one container.
type Verdict struct {
	// Kind, Namespace and Pod name the object the container is written in.
	Kind, Namespace, Pod string
	// Container is its name.
	Container string
	// Policy is what the annotations and the configuration say.
	Policy policy.Policy
	// Managed is whether it would be checkpointed and restored, and Why says why
	// or why not.
	Managed bool
	Why     string
	// Missed is set when it would not be, although the annotations ask for it.
	Missed bool
	// Notes tell what else in the manifest matters, in a fixed order.
	Notes []Note
}

// Note is something in a manifest that matters to checkpoints or restores.
type Note struct {
	// Field is where it stands.
	Field string
	// Text says what it means.
	Text string
	// Prevents is set when nothing is checkpointed because of it.
	Prevents bool
}

// Judge says what would be done for each container of the pods. Pods that name
// no namespace are taken to be in the given one; classes are the names of
// RuntimeClasses that lead to our handler, besides those that the set itself
// says so of. cfg must be valid.
func (s Set) Judge(cfg conf.Config, namespace string, classes ...string) []Verdict {
	for name, handler := range s.handlers {
		if handler == Handler {
			classes = append(classes, name)
		}
	}
	var out []Verdict
	for _, p := range s.Pods {
		if p.Namespace == "" {
			p.Namespace = namespace
		}
		for _, c := range slices.Concat(p.spec.InitContainers, p.spec.Containers, p.spec.EphemeralContainers) {
			out = append(out, p.judge(c, cfg, classes))
		}
	}
	return out
}

func (p Pod) judge(c container, cfg conf.Config, classes []string) Verdict {
	v := Verdict{Kind: p.Kind, Namespace: p.Namespace, Pod: p.Name, Container: c.Name}
	v.Policy = policy.Resolve(p.Annotations, p.Namespace, c.Name, cfg)
	v.Managed, v.Why = v.Policy.Managed, v.Policy.Why
	if v.Managed {
		v.Why = policy.OptedIn
		v.Notes = append(p.obstacles(classes), p.notes(c, v.Policy, cfg)...)
		if i := slices.IndexFunc(v.Notes, func(n Note) bool { return n.Prevents }); i >= 0 {
			v.Managed, v.Why = false, v.Notes[i].Text
		}
	}
	v.Missed = !v.Managed && asked(p.Annotations, c.Name, v.Policy)
	return v
}

// asked tells whether annotations, rightly written or not, mean to have the
// container managed.
func asked(annotations map[string]string, container string, p policy.Policy) bool {
	if p.Managed {
		return true
	}
	if len(p.Containers) > 0 && !slices.Contains(p.Containers, container) {
		return false // left out on purpose
	}
	for key := range annotations {
		domain, name, _ := strings.Cut(key, "/")
		switch {
		case domain != policy.Domain && domain != container+"."+policy.Domain:
		case name == policy.KeyRestore && p.Restore == policy.RestoreNever: // what switches it off
		case name == policy.KeyContainers: // means nothing by itself
		default:
			return true
		}
	}
	return false
}

// obstacles are what keeps every container of a pod from being checkpointed.
func (p Pod) obstacles(classes []string) []Note {
	var out []Note
	s := p.spec
	for _, o := range []struct {
		field string
		has   bool
		i     policy.Isolation
	}{
		{"spec.shareProcessNamespace", s.ShareProcessNamespace, policy.Isolation{SharedPID: true}},
		{"spec.hostUsers", s.HostUsers != nil && !*s.HostUsers, policy.Isolation{OwnUsers: true}},
		{"spec.hostPID", s.HostPID, policy.Isolation{HostPID: true}},
		{"spec.hostNetwork", s.HostNetwork, policy.Isolation{HostNetwork: true}},
		{"spec.hostIPC", s.HostIPC, policy.Isolation{HostIPC: true}},
	} {
		if o.has {
			out = append(out, Note{o.field, o.i.Refusal(), true})
		}
	}
	if !slices.Contains(classes, s.RuntimeClassName) {
		out = append(out, Note{"spec.runtimeClassName", policy.NoHandler, true})
	}
	return out
}
