package policy

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rekindle-dev/rekindle/conf"
)

// Trigger is why a checkpoint is made.
type Trigger string

// The triggers.
const (
	Idle     Trigger = "idle"
	Interval Trigger = "interval"
	Stop     Trigger = "stop"
	Ready    Trigger = "ready"
	Request  Trigger = "request"
	Pressure Trigger = "pressure"
)

var knownTriggers = []Trigger{Idle, Interval, Pressure, Stop, Ready, Request}

// Triggers returns all triggers.
func Triggers() []Trigger { return slices.Clone(knownTriggers) }

// RestoreMode says when a new container starts from a checkpoint.
type RestoreMode string

// The restore modes.
const (
	RestoreAuto      RestoreMode = "auto"      // after a fault and in a successor
	RestoreNever     RestoreMode = "never"     // every start is cold
	RestoreFault     RestoreMode = "fault"     // after a fault in the same pod
	RestoreSuccessor RestoreMode = "successor" // in a pod that takes the place of another
	// RestoreClone is RestoreAuto, and where that leaves a cold start, from what
	// a pod of the same template was when it became ready.
	RestoreClone RestoreMode = "clone"
)

// Consistency says which containers of a pod a checkpoint is of one moment for.
type Consistency string

// The consistencies.
const (
	ConsistencyContainer Consistency = "container" // each container by itself
	ConsistencyPod       Consistency = "pod"       // all managed containers of the pod together
)

// GatherTime is how long the stop of the first of several containers that are
// checkpointed together waits for that of the last.
const GatherTime = 2 * time.Second

var consistencies = []string{string(ConsistencyContainer), string(ConsistencyPod)}

// Policy is what annotations and config together say about one container. It is
// always usable: what has bounds in the config is within them even when Managed is
// false.
type Policy struct {
	// Managed is whether the container is checkpointed and restored at all.
	Managed bool
	// Why says why it is not; empty if it is.
	Why string
	// On lists the triggers, in a fixed order; [Request] is always
	// among those of a managed container.
	On []Trigger
	// Interval is the time between two checkpoints by [Interval].
	Interval time.Duration
	// Keep is how many checkpoints are kept, at least 1.
	Keep int
	// Restore is when to start from a checkpoint.
	Restore RestoreMode
	// Ready is when the trigger of that name fires; of no kind when an annotation tried to say it
	// and could not be understood.
	Ready Condition
	// Idle is when the trigger of that name fires, and Sleep how a suspended
	// container sleeps and is woken.
	Idle  Idleness
	Sleep Sleep
	// Consistency is [ConsistencyPod] when the managed containers of the pod are
	// checkpointed and restored together.
	Consistency Consistency
	// Containers lists the containers of the pod that the annotation names;
	// nil means all.
	Containers []string
	// Origins says of each key but the live ones where its value comes from.
	Origins map[string]Origin
	// Problems lists what is wrong with the annotations, in a fixed order.
	Problems []Problem
}

// Source is the kind of place a value comes from.
type Source string

// The sources.
const (
	SourceAnnotation Source = "annotation" // of the pod
	SourceOverride   Source = "override"   // annotation for this container
	SourceConfig     Source = "config"     // the config file's default
	SourceBound      Source = "bound"      // the config file's bound; the annotation asked for more
	SourceDefault    Source = "default"    // built in
)

// Origin is where one value comes from.
type Origin struct {
	Source Source
	// Key is the annotation, empty if none was used.
	Key string
	// Raw is the annotation's value, safe to print.
	Raw string
}

// Problem is an annotation that was not, or not fully, followed. All its texts
// are short and safe to print.
type Problem struct {
	// Key is the annotation.
	Key string
	// Value is its value or the part of it that is wrong, quoted.
	Value string
	// Reason says what is wrong.
	Reason string
	// Used says what holds instead.
	Used string
}

// String renders the problem on one line.
func (p Problem) String() string { return p.Key + "=" + p.Value + ": " + p.Text() }

// Text says what is wrong, and what holds instead.
func (p Problem) Text() string { return p.Reason + "; " + p.Used }

// String says where a value comes from, on one line.
func (o Origin) String() string {
	switch o.Source {
	case SourceAnnotation, SourceOverride:
		return o.Key + "=" + o.Raw
	case SourceBound:
		return "bound of the config file, for " + o.Key + "=" + o.Raw
	case SourceConfig:
		return "default of the config file"
	default:
		return "default"
	}
}

// Value returns what holds for one of the keys of Origins, for people.
func (p Policy) Value(key string) string {
	switch key {
	case KeyOn:
		return join(p.On)
	case KeyInterval:
		return conf.Duration{Duration: p.Interval}.String()
	case KeyKeep:
		return strconv.Itoa(p.Keep)
	case KeyRestore:
		return string(p.Restore)
	case KeyReady:
		return p.Ready.String()
	case KeyConsistency:
		return string(p.Consistency)
	case KeyContainers:
		if p.Containers == nil {
			return "all"
		}
		return strings.Join(p.Containers, ", ")
	case KeyIdleAfter:
		return conf.Duration{Duration: p.Idle.After}.String()
	case KeyIdleAction:
		return string(p.Idle.Action)
	case KeyIdleCPU:
		return milliCPU(p.Idle.CPU)
	case KeyIdleTraffic:
		return p.Idle.Traffic.String()
	case KeyStayAwake:
		return conf.Duration{Duration: p.Idle.StayAwake}.String()
	case KeyConnections:
		return string(p.Sleep.Connections)
	case KeyProbes:
		return string(p.Sleep.Probes)
	case KeyStopAsleep:
		return string(p.Sleep.Stop)
	case KeyWakeAt:
		return p.Sleep.WakeAt.String()
	}
	return ""
}

// Setting is what holds for one key, for people.
type Setting struct{ Key, Value, From string }

// Settings returns what holds for every key, in order.
func (p Policy) Settings() []Setting {
	var out []Setting
	for _, key := range keyNames {
		out = append(out, Setting{key, p.Value(key), p.Origins[key].String()})
	}
	return out
}

// Has reports whether the container is managed and t is one of its triggers.
func (p Policy) Has(t Trigger) bool { return p.Managed && slices.Contains(p.On, t) }

// Resolve computes the policy of one container from the annotations of its pod.
// cfg must be valid, as package conf returns it. Resolve keeps no state and the
// same input gives the same result, problems in the same order.
func Resolve(pod map[string]string, namespace, container string, cfg conf.Config) Policy {
	r := &resolver{pod: pod, container: container, cfg: cfg}
	r.policy.Origins = map[string]Origin{}
	r.consistency() // first, for it says where the others may be set
	on, whyOff := r.on()
	r.interval()
	r.keep()
	r.restore()
	r.ready()
	r.idle()
	r.sleep()
	selected, whyOut := r.selected()
	r.strays()

	p := r.policy
	p.Problems = r.sorted()
	switch {
	case !allowed(namespace, cfg.Namespaces, &p.Why):
	case whyOff != "":
		p.Why = whyOff
	case !selected:
		p.Why = whyOut
	default:
		p.Managed, p.On = true, on
	}
	return p
}

// allowed applies the config file's lists, of which deny is the stronger.
func allowed(namespace string, n conf.Namespaces, why *string) bool {
	switch {
	case slices.Contains(n.Deny, namespace):
		*why = "namespace " + plain(namespace) + " is in namespaces.deny of the config file"
	case len(n.Allow) > 0 && !slices.Contains(n.Allow, namespace):
		*why = "namespace " + plain(namespace) + " is not in namespaces.allow of the config file"
	default:
		return true
	}
	return false
}
