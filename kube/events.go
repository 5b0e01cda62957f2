package kube

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rekindle-dev/rekindle/agent"
	"github.com/rekindle-dev/rekindle/policy"
)

// The reasons of Events.
const (
	Checkpointed      = "Checkpointed"
	CheckpointFailed  = "CheckpointFailed"
	CheckpointRefused = "CheckpointRefused"
	Restored          = "Restored"
	RestoreFailed     = "RestoreFailed"
	Suspended         = "Suspended"
	SuspendFailed     = "SuspendFailed"
	Resumed           = "Resumed"
	ResumeFailed      = "ResumeFailed"
	Quarantined       = "CheckpointQuarantined"
	NotManaged        = "NotManaged"
)

// Reasons returns all reasons of Events.
func Reasons() []string {
	return []string{Checkpointed, CheckpointFailed, CheckpointRefused, Restored, RestoreFailed, Suspended, SuspendFailed, Resumed, ResumeFailed, Quarantined, NotManaged}
}

const (
	controller = "rekindle.dev/rekindled"
	// maxNote is what the API server takes, in bytes.
	maxNote = 1024
	// maxPrefix leaves room for a unique suffix in the name of an Event.
	maxPrefix = 230
)

// seldom are the triggers that fire for a reason, and not all the time.
var seldom = []policy.Trigger{policy.Request, policy.Stop, policy.Ready, policy.Idle}

// reasonOf returns the reason of the Event that a decision is worth; empty when
// it is worth none: a pod's owner wants to see what happened to the pod, and not
// every checkpoint of an interval.
func reasonOf(d agent.Decision) string {
	switch {
	case d.Action == agent.ActionCheckpoint && d.Outcome == agent.Failed:
		return CheckpointFailed
	case d.Action == agent.ActionCheckpoint && d.Outcome == agent.Taken && slices.Contains(seldom, d.Trigger):
		return Checkpointed
	case d.Action == agent.ActionCheckpoint && d.Outcome != agent.Taken && d.Trigger == policy.Request:
		return CheckpointRefused
	case d.Action == agent.ActionRestore && d.Outcome == agent.Taken:
		return Restored
	case d.Action == agent.ActionRestore && d.Outcome == agent.Failed:
		return RestoreFailed
	case d.Action == agent.ActionSuspend && d.Outcome == agent.Taken:
		return Suspended
	case d.Action == agent.ActionSuspend && (d.Outcome == agent.Refused || d.Outcome == agent.Failed):
		return SuspendFailed
	case d.Action == agent.ActionResume && d.Outcome == agent.Taken:
		return Resumed
	case d.Action == agent.ActionResume && d.Outcome == agent.Failed:
		return ResumeFailed
	case d.Action == agent.ActionQuarantine:
		return Quarantined
	case d.Action == agent.ActionAdmit && (d.Outcome == agent.Refused || d.Outcome == agent.Failed):
		return NotManaged
	}
	return ""
}

// eventOf makes the Event of a decision; nil when there is none to make.
func eventOf(node string, f agent.Facts, d agent.Decision) *eventsv1.Event {
	reason := reasonOf(d)
	if reason == "" || f.PodUID == "" {
		return nil
	}
	kind := corev1.EventTypeWarning
	if d.Outcome == agent.Taken && d.Action != agent.ActionQuarantine {
		kind = corev1.EventTypeNormal
	}
	e := &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{
			Name:      fmt.Sprintf("%s.%x", f.Pod[:min(len(f.Pod), maxPrefix)], d.Time.UnixNano()),
			Namespace: f.Namespace,
		},
		EventTime:           metav1.NewMicroTime(d.Time),
		ReportingController: controller,
		ReportingInstance:   node[:min(len(node), 128)],
		Action:              d.Action,
		Reason:              reason,
		Type:                kind,
		Note:                note(f, d),
		Regarding: corev1.ObjectReference{
			APIVersion: "v1", Kind: "Pod", Namespace: f.Namespace, Name: f.Pod, UID: types.UID(f.PodUID),
		},
	}
	if f.Name != "" {
		e.Regarding.FieldPath = "spec.containers{" + f.Name + "}"
	}
	return e
}

// note says in words what happened, within what the API server takes.
func note(f agent.Facts, d agent.Decision) string {
	var b strings.Builder
	if f.Name != "" {
		fmt.Fprintf(&b, "container %s: ", f.Name)
	}
	if d.Checkpoint != "" {
		fmt.Fprintf(&b, "checkpoint %s: ", d.Checkpoint)
	}
	b.WriteString(d.Reason)
	if d.Action == agent.ActionCheckpoint && d.Outcome == agent.Taken {
		fmt.Fprintf(&b, ", %d bytes, trigger %s", d.Bytes, d.Trigger)
	}
	text := strings.ToValidUTF8(b.String(), "?")
	return strings.ToValidUTF8(text[:min(len(text), maxNote)], "")
}
