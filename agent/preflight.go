package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/log"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/criu"
)

// errForbidden is returned for a dump that is not tried because of what the
// preflight found.
var errForbidden = errors.New("the dump was not tried")

// errNotLookedAt is returned for a container that is still being looked at.
var errNotLookedAt = errors.New("an earlier preflight of this container has no answer from the kernel yet")

// preflight is what was found when a container was looked at.
type preflight struct {
	at       time.Time
	took     time.Duration
	findings []criu.Finding
}

// look makes a preflight of a running container, and keeps it. It takes
// milliseconds, and two seconds at most. The container runs on meanwhile.
func (a *Agent) look(ctx context.Context, t *tracked) (*preflight, error) {
	if late := t.late.Load(); late != nil {
		select {
		case <-late.Ended:
		default:
			return nil, errNotLookedAt
		}
	}
	began := time.Now()
	subject, err := criu.SubjectOf(t.running(), int64(a.Config().CRIU.GhostLimit))
	if err != nil {
		return nil, err
	}
	// It has its own bound; that the caller has no more time does not mean that
	// the container does not answer.
	findings, err := criu.Preflight(context.WithoutCancel(ctx), subject)
	if err != nil {
		if late := (*criu.Late)(nil); errors.As(err, &late) {
			t.late.Store(late)
		}
		return nil, err
	}
	p := &preflight{at: began, took: time.Since(began), findings: findings}
	a.metrics.lookedAt(p.took)
	a.tell(t, t.preflight.Swap(p), p)
	return p, nil
}

// tell makes known what is new since the last preflight.
func (a *Agent) tell(t *tracked, before, now *preflight) {
	for _, f := range now.findings {
		if before == nil || !slices.ContainsFunc(before.findings, func(b criu.Finding) bool { return b.Kind == f.Kind }) {
			a.metrics.found(f.Kind, string(f.Severity))
		}
	}
	if blockers := now.blockers(); blockers != "" && (before == nil || before.blockers() != blockers) {
		a.decide(t.Facts, Decision{Action: ActionPreflight, Outcome: Failed, Reason: blockers, Class: ClassUnsupported})
	}
}

// survey looks at a container before a dump. That it cannot be looked at is no
// reason not to try.
func (a *Agent) survey(ctx context.Context, t *tracked) []criu.Finding {
	p, err := a.look(ctx, t)
	if err != nil {
		log.G(ctx).WithError(err).WithField("container", t.ID).Info("no preflight")
		return nil
	}
	return p.findings
}

// forbidden says why a dump must not even be tried. A forecast that is wrong
// must not cost a checkpoint, so the only reasons are those for which CRIU does
// not fail but waits, and the container would stand still for many seconds.
func forbidden(findings []criu.Finding) error {
	for _, f := range findings {
		if f.Waits() {
			return fmt.Errorf("%w: %s: %w", errForbidden, f, errdefs.ErrFailedPrecondition)
		}
	}
	return nil
}

// foreseen adds to the error of a dump what the preflight had found.
func foreseen(err error, findings []criu.Finding) error {
	p := preflight{findings: findings}
	if blockers := p.blockers(); blockers != "" {
		return fmt.Errorf("%w; the preflight found: %s", err, blockers)
	}
	return err
}

// blockers are those of the findings in one line; empty when there is none.
func (p *preflight) blockers() string {
	var list []string
	for _, f := range p.findings {
		if f.Severity == criu.Blocker {
			list = append(list, f.String())
		}
	}
	return strings.Join(list, "; ")
}

// findings are those of a container, the worst first: that others which are
// checkpointed together with it are blocked blocks it too.
func (a *Agent) findings(t *tracked, p *preflight) []*api.Finding {
	var list []*api.Finding
	for _, other := range a.together(t)[1:] {
		if q := other.preflight.Load(); q != nil && q.blockers() != "" {
			list = append(list, &api.Finding{
				Kind: "set", Severity: string(criu.Blocker),
				What:   "it is checkpointed together with container " + other.Name + ", which is blocked",
				Remedy: "leave the other out with rekindle.dev/containers, or see what blocks it",
			})
		}
	}
	return append(list, p.describe()...)
}

func (p *preflight) describe() []*api.Finding {
	var list []*api.Finding
	for _, f := range p.findings {
		list = append(list, &api.Finding{Kind: f.Kind, Severity: string(f.Severity), What: f.What, Remedy: f.Remedy})
	}
	return list
}

// Preflight looks at containers now: at one, or at all of a pod that run.
// Those that are not managed because they cannot be are blocked for that.
func (s *Control) Preflight(ctx context.Context, r *api.PreflightRequest) (*api.PreflightResponse, error) {
	resp := &api.PreflightResponse{}
	seen := map[string]bool{}
	var looked []*tracked
	for _, t := range s.agent.ofPod(r.Namespace, r.Pod) {
		if r.Container != "" && t.Name != r.Container || t.running() == 0 {
			continue
		}
		for _, t := range s.agent.together(t) {
			if _, err := s.agent.look(ctx, t); err != nil {
				return nil, errgrpc.ToGRPC(fmt.Errorf("look at container %s: %w", t.Name, err))
			}
		}
		seen[t.Name] = true
		looked = append(looked, t)
	}
	for _, t := range looked {
		p := t.preflight.Load()
		resp.Containers = append(resp.Containers, &api.ContainerPreflight{
			Name: t.Name, ContainerId: t.ID, TookNs: int64(p.took), Findings: s.agent.findings(t, p),
		})
	}
	for _, name := range s.agent.history.containers(r.Namespace, r.Pod) {
		reason := s.agent.refused(containerName{r.Namespace, r.Pod, name})
		if reason != "" && !seen[name] && (r.Container == "" || r.Container == name) {
			resp.Containers = append(resp.Containers, &api.ContainerPreflight{
				Name:     name,
				Findings: []*api.Finding{{Kind: "refused", Severity: string(criu.Blocker), What: "the container is left alone: " + reason}},
			})
		}
	}
	if len(resp.Containers) == 0 {
		return nil, errgrpc.ToGRPCf(errdefs.ErrNotFound,
			"no running managed container in %s/%s; is the pod annotated with rekindle.dev/on and on the rekindle runtime handler?", r.Namespace, r.Pod)
	}
	slices.SortFunc(resp.Containers, func(x, y *api.ContainerPreflight) int { return strings.Compare(x.Name, y.Name) })
	return resp, nil
}

// refused returns why the container of a name is not managed, if that is the
// last that was decided about it.
func (a *Agent) refused(name containerName) string {
	list := a.history.of(name)
	if len(list) == 0 || list[0].Action != ActionAdmit || list[0].Outcome != Refused {
		return ""
	}
	return list[0].Reason
}
