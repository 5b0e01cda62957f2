package agent

import (
	"context"
	"slices"
	"time"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/policy"
)

// explain reports on the containers of a pod that are known, alive or not:
// the policy in force and its sources, the last decisions, and what a new
// container would be restored from now.
func (a *Agent) explain(ctx context.Context, namespace, pod string) []*api.ContainerReport {
	var reports []*api.ContainerReport
	seen := map[string]bool{}
	for _, t := range a.ofPod(namespace, pod) {
		if seen[t.Name] {
			continue
		}
		seen[t.Name] = true
		reports = append(reports, a.report(ctx, t))
	}
	for _, name := range a.history.containers(namespace, pod) {
		if !seen[name] {
			reports = append(reports, &api.ContainerReport{
				Name: name, Why: "no managed container of this name exists now",
				Decisions: a.decisions(containerName{namespace, pod, name}),
			})
		}
	}
	slices.SortFunc(reports, func(x, y *api.ContainerReport) int {
		switch {
		case x.Name < y.Name:
			return -1
		case x.Name > y.Name:
			return 1
		}
		return 0
	})
	return reports
}

func (a *Agent) report(ctx context.Context, t *tracked) *api.ContainerReport {
	r := &api.ContainerReport{
		Name: t.Name, ContainerId: t.ID, Managed: true, Why: policy.OptedIn,
		Decisions: a.decisions(nameOf(t.Facts)),
	}
	if due, why := t.due(); !due.IsZero() {
		r.NextNs, r.NextWhy = due.UnixNano(), why
	}
	for _, s := range t.policy.Settings() {
		r.Settings = append(r.Settings, &api.Setting{Key: s.Key, Value: s.Value, Origin: s.From})
	}
	for _, p := range t.policy.Problems {
		r.Problems = append(r.Problems, &api.Problem{Key: p.Key, Value: p.Value, Reason: p.Text()})
	}
	if p := t.preflight.Load(); p != nil {
		r.Findings, r.PreflightNs = a.findings(t, p), p.at.UnixNano()
	}
	if v := t.vigil.Load(); v != nil {
		r.Idle = v.describe(time.Now())
	}
	if at := t.wakesAt(); !at.IsZero() {
		r.WakeNs = at.UnixNano()
	}
	r.Triggers = a.triggers(t)
	r.Suspension = t.describeSuspension()
	a.foreseen(ctx, t, r)
	return r
}

func (a *Agent) decisions(name containerName) []*api.Decision {
	var list []*api.Decision
	for _, d := range a.history.of(name) {
		list = append(list, d.describe())
	}
	return list
}
