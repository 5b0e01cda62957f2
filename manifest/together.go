package manifest

import (
	"slices"
	"strings"

	"github.com/rekindle-dev/rekindle/conf"
	"github.com/rekindle-dev/rekindle/policy"
)

// together tells of the other containers that are checkpointed and restored with
// one, where the pod asks for that.
func (p Pod) together(c container, pol policy.Policy, cfg conf.Config) []Note {
	if pol.Consistency != policy.ConsistencyPod || p.isInit(c) {
		return nil
	}
	const field = "rekindle.dev/consistency"
	var others, late []string
	for _, other := range slices.Concat(p.spec.InitContainers, p.spec.Containers) {
		if p.isInit(other) || !policy.Resolve(p.Annotations, p.Namespace, other.Name, cfg).Managed {
			continue
		}
		if other.Name != c.Name {
			others = append(others, other.Name)
		}
		if other.RestartPolicy == "Always" {
			late = append(late, "container "+other.Name+" gets its stop signal when the others have ended")
		} else if other.Lifecycle.PreStop != nil {
			late = append(late, "container "+other.Name+" gets its stop signal after its preStop hook")
		}
	}
	if len(others) == 0 {
		return []Note{{Field: field, Text: "no other container of the pod is managed, so this one is checkpointed and restored by itself"}}
	}
	notes := []Note{{Field: field, Text: "frozen, checkpointed and restored together with " + strings.Join(others, ", ") +
		"; when it ends alone, in a pod whose other containers go on, it starts cold"}}
	if pol.Has(policy.Idle) {
		notes = append(notes, Note{Field: field, Text: "each container sleeps by itself; while one does, none of them is checkpointed, " +
			"and a successor does not go on from where it sleeps"})
	}
	if pol.Has(policy.Stop) && len(late) > 0 {
		notes = append(notes, Note{Field: field, Text: strings.Join(late, ", ") + ": where the signals come more than " + policy.GatherTime.String() +
			" apart there is no checkpoint at the stop"})
	}
	return notes
}
