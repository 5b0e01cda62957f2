package agent

import (
	"maps"
	"sync"
	"time"

	"github.com/containerd/log"

	"github.com/rekindle-dev/rekindle/policy"
)

// Actions that a decision is about.
const (
	ActionAdmit      = "admit"
	ActionPreflight  = "preflight"
	ActionCheckpoint = "checkpoint"
	ActionRestore    = "restore"
	ActionSuspend    = "suspend"
	ActionResume     = "resume"
	ActionColdStart  = "cold-start"
	ActionQuarantine = "quarantine"
	ActionRemove     = "remove"
	ActionRelease    = "release"
	ActionThaw       = "thaw"
)

// Outcomes of a decision.
const (
	Taken   = "taken"
	Skipped = "skipped"
	Refused = "refused"
	Failed  = "failed"
)

// Decision is something that was done or left undone, and why.
type Decision struct {
	Time    time.Time
	Action  string
	Outcome string
	// Trigger is why the checkpoint was to be made; empty for other actions.
	Trigger policy.Trigger
	// Reason is for people, Class for programs.
	Reason     string
	Class      Class
	Checkpoint string
	// Bytes and Pause are those of a checkpoint that was made; Took is how long
	// a restore took, a suspension or a resume.
	Bytes int64
	Pause time.Duration
	Took  time.Duration
}

// Observer is told of every decision, in the order in which they are made
// about one container. Decided is called where things are decided, under the
// runtime's lock even: it must not wait for anything.
type Observer interface {
	Decided(f Facts, d Decision)
}

// Observe adds an observer. It must be called before the agent is told anything.
func (a *Agent) Observe(o Observer) { a.observers = append(a.observers, o) }

const (
	// decisionsKept is how many decisions are kept for each container.
	decisionsKept = 20
	// namesKept bounds for how many containers decisions are kept.
	namesKept = 4096
)

// containerName names a container over its restarts.
type containerName struct{ namespace, pod, container string }

func nameOf(f Facts) containerName { return containerName{f.Namespace, f.Pod, f.Name} }

// history keeps the last decisions of each container, the newest first.
type history struct {
	mu   sync.Mutex
	last map[containerName][]Decision
	// triggers keeps the last decision about each trigger, which many of another
	// would push out of last. It has no names that last has not.
	triggers map[containerName]map[policy.Trigger]Decision
}

func newHistory() *history {
	return &history{last: map[containerName][]Decision{}, triggers: map[containerName]map[policy.Trigger]Decision{}}
}

// add keeps a decision, and tells whether it is news: a skip like the last one
// takes its place, or what was done would be lost among what was not.
func (h *history) add(name containerName, d Decision) (news bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer h.note(name, d)
	if list := h.last[name]; len(list) > 0 && d.Outcome == Skipped && d.like(list[0]) {
		list[0] = d
		return false
	}
	if _, known := h.last[name]; !known && len(h.last) >= namesKept {
		h.dropOldest()
	}
	list := append([]Decision{d}, h.last[name]...)
	h.last[name] = list[:min(len(list), decisionsKept)]
	return true
}

// note keeps a decision as the last one about its trigger.
func (h *history) note(name containerName, d Decision) {
	if d.Trigger == "" {
		return
	}
	if h.triggers[name] == nil {
		h.triggers[name] = map[policy.Trigger]Decision{}
	}
	h.triggers[name][d.Trigger] = d
}

// like tells whether two decisions differ in nothing but their time.
func (d Decision) like(other Decision) bool {
	other.Time = d.Time
	return d == other
}

func (h *history) dropOldest() {
	var oldest containerName
	var at time.Time
	for name, list := range h.last {
		if at.IsZero() || list[0].Time.Before(at) {
			oldest, at = name, list[0].Time
		}
	}
	delete(h.last, oldest)
	delete(h.triggers, oldest)
}

// of returns the decisions about a container.
func (h *history) of(name containerName) []Decision {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Decision(nil), h.last[name]...)
}

// byTrigger returns the last decision about each trigger of a container.
func (h *history) byTrigger(name containerName) map[policy.Trigger]Decision {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.triggers[name])
}

// containers returns the names of a pod's containers that have a history.
func (h *history) containers(namespace, pod string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var names []string
	for name := range h.last {
		if name.namespace == namespace && name.pod == pod {
			names = append(names, name.container)
		}
	}
	return names
}

// decide keeps a decision where it can be seen: in the history, in the log, in
// the metrics, and where the observers put it.
func (a *Agent) decide(f Facts, d Decision) {
	d.Time = time.Now()
	d.Class = classified(d)
	news := f.Name == "" || a.history.add(nameOf(f), d) // explain is about containers
	a.metrics.decided(d)
	for _, o := range a.observers {
		o.Decided(f, d)
	}
	entry := log.G(a.ctx).WithFields(log.Fields{
		"namespace": f.Namespace, "pod": f.Pod, "container": f.Name,
		"action": d.Action, "outcome": d.Outcome,
	})
	if d.Trigger != "" {
		entry = entry.WithField("trigger", d.Trigger)
	}
	if d.Checkpoint != "" {
		entry = entry.WithField("checkpoint", d.Checkpoint)
	}
	if d.Outcome == Failed || d.Outcome == Refused {
		entry.Warn(d.Reason)
		return
	}
	if !news {
		entry.Debug(d.Reason)
		return
	}
	entry.Info(d.Reason)
}
