package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/api"
)

// preflight is what -o json shows of one container.
type preflight struct {
	Name        string     `json:"name"`
	ContainerID string     `json:"containerId,omitempty"`
	TookNs      int64      `json:"tookNs"`
	Findings    []forecast `json:"findings"`
}

// forecast is one of the findings of a preflight.
type forecast struct {
	Kind     string `json:"kind"`
	Severity string `json:"severity"`
	What     string `json:"what"`
	Remedy   string `json:"remedy,omitempty"`
}

// blocker is the severity of a finding that leaves no checkpoint.
const blocker = "blocker"

func (a *app) preflight() *cobra.Command {
	return &cobra.Command{
		Use:   "preflight NAMESPACE/POD[/CONTAINER]",
		Short: "Say what of a running container a checkpoint would not take",
		Long: `Look at the running managed containers of a pod and say what would keep them
from being checkpointed (blocker), what is not in a checkpoint or does not
outlive a restore (loss), and what is worth knowing (note). The containers run
on and are not stopped for it. It is a forecast: rekindle checkpoint tells for
certain.

Exit status is 1 if there is a blocker.`,
		Args: cobra.ExactArgs(1),
		RunE: a.verb(queryTime, func(ctx context.Context, _ *cobra.Command, args []string) error {
			t, err := parseTarget(args[0], true)
			if err != nil {
				return err
			}
			d, err := a.dial(ctx)
			if err != nil {
				return err
			}
			defer d.close()
			resp, err := d.Preflight(ctx, &api.PreflightRequest{Namespace: t.namespace, Pod: t.pod, Container: t.container})
			if err != nil {
				return d.fault(err)
			}
			if err := a.writePreflights(resp.Containers); err != nil {
				return err
			}
			if n := blockers(resp.Containers); n > 0 {
				return &failure{exitFailed, fmt.Errorf("%d found that keep a container from being checkpointed", n)}
			}
			return nil
		}),
	}
}

func blockers(containers []*api.ContainerPreflight) int {
	n := 0
	for _, c := range containers {
		for _, f := range c.Findings {
			if f.Severity == blocker {
				n++
			}
		}
	}
	return n
}

func (a *app) writePreflights(containers []*api.ContainerPreflight) error {
	if a.output == outputJSON {
		out := []preflight{}
		for _, c := range containers {
			out = append(out, preflight{c.Name, c.ContainerId, c.TookNs, findings(c.Findings)})
		}
		return a.writeJSON(map[string]any{"containers": out})
	}
	for i, c := range containers {
		if i > 0 {
			fmt.Fprintln(a.stdout)
		}
		if len(c.Findings) == 0 {
			fmt.Fprintf(a.stdout, "%s: nothing found in %s\n", printable(c.Name), time.Duration(c.TookNs).Round(time.Millisecond/10))
			continue
		}
		fmt.Fprintf(a.stdout, "%s:\n", printable(c.Name))
		if err := a.findingsTable(findings(c.Findings)).flush(); err != nil {
			return err
		}
	}
	return nil
}

func findings(list []*api.Finding) []forecast {
	out := []forecast{}
	for _, f := range list {
		out = append(out, forecast{f.Kind, f.Severity, f.What, f.Remedy})
	}
	return out
}

// findingsTable has the findings with the remedy of each below it.
func (a *app) findingsTable(list []forecast) *table {
	t := newTable(a.stdout)
	for _, f := range list {
		t.row(indent+f.Severity, f.What)
		if f.Remedy != "" {
			t.row(indent+" ", indent+f.Remedy)
		}
	}
	return t
}
