package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/store"
)

// nobody is the id of a container or sandbox that does not exist yet. No runtime
// makes such an id.
const nobody = "(none yet)"

// prospect is what a create would do now.
type prospect struct {
	// used is the checkpoint that it would restore; reason says why none.
	used, reason string
	// reasons says of every checkpoint why it is not used; empty for the used one.
	reasons map[string]string
	// usable has those that would be used if there were no better one.
	usable map[string]bool
}

// atRestart is what a restart of the container in its own pod would do, after the
// end it had, or after a fault if it still runs.
func (a *Agent) atRestart(ctx context.Context, t *tracked, list []store.Checkpoint) prospect {
	return a.foresee(ctx, t.another(), t, list)
}

// inSuccessor is what a successor would do: the same container in a pod that
// takes the place of this one, which is gone by then.
func (a *Agent) inSuccessor(ctx context.Context, t *tracked, list []store.Checkpoint) prospect {
	next := t.another()
	next.Sandbox, next.replaces = nobody, t.Sandbox
	return a.foresee(ctx, next, nil, list)
}

// another is the container that comes after this one, in the same pod.
func (t *tracked) another() *tracked {
	next := &tracked{Facts: t.Facts, Created: time.Now(), lineage: t.lineage, policy: t.policy}
	next.ID = nobody
	return next
}

// foresee goes the way of choose, and changes nothing.
func (a *Agent) foresee(ctx context.Context, t, previous *tracked, list []store.Checkpoint) prospect {
	p := prospect{reasons: map[string]string{}, usable: map[string]bool{}}
	none := noOccasion(t.policy.Restore, previous)
	for _, c := range a.ranked(t, previous, list) {
		reason := none
		if reason == "" {
			reason, _ = a.objection(ctx, t, c, previous != nil)
			p.usable[c.ID] = reason == ""
		}
		switch {
		case reason != "" || p.used == "":
			if reason == "" {
				p.used = c.ID
			}
			p.reasons[c.ID] = reason
		default:
			p.reasons[c.ID] = "checkpoint " + p.used + " comes before it"
		}
	}
	switch {
	case p.used != "":
	case none != "":
		p.reason = none
	case len(list) == 0:
		p.reason = noneYet
	default:
		p.reason = "none of the checkpoints can be used"
	}
	return p
}

// describe puts a prospect into the form of the control protocol.
func (p prospect) describe() *api.Prospect {
	return &api.Prospect{Checkpoint: p.used, Reason: p.reason}
}

// foreseen reports what a create would be restored from now, in the same pod and
// in a successor, and why not from the other checkpoints.
func (a *Agent) foreseen(ctx context.Context, t *tracked, r *api.ContainerReport) {
	list, err := a.store.List(t.lineage)
	if err != nil {
		r.Candidates = []*api.Candidate{{Reason: fmt.Sprintf("list checkpoints: %v", err)}}
		return
	}
	restart, successor := a.atRestart(ctx, t, list), a.inSuccessor(ctx, t, list)
	r.Restart, r.Successor = restart.describe(), successor.describe()
	for _, c := range list {
		r.Candidates = append(r.Candidates, &api.Candidate{
			Checkpoint: c.ID,
			Usable:     restart.usable[c.ID], Reason: restart.reasons[c.ID],
			SuccessorUsable: successor.usable[c.ID], SuccessorReason: successor.reasons[c.ID],
		})
	}
}

// triggers reports the last decision of each trigger that the policy has.
func (a *Agent) triggers(t *tracked) []*api.TriggerReport {
	var out []*api.TriggerReport
	last := a.history.byTrigger(nameOf(t.Facts))
	for _, trigger := range t.policy.On {
		r := &api.TriggerReport{Trigger: string(trigger)}
		if d, known := last[trigger]; known {
			r.Last = d.describe()
		}
		out = append(out, r)
	}
	return out
}

func (d Decision) describe() *api.Decision {
	return &api.Decision{
		TimeNs: d.Time.UnixNano(), Action: d.Action, Outcome: d.Outcome, Trigger: string(d.Trigger), Reason: d.Reason, Checkpoint: d.Checkpoint,
	}
}
