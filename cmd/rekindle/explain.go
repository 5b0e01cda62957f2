package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/api"
)

// report is what -o json shows of one container.
type report struct {
	Name        string      `json:"name"`
	ContainerID string      `json:"containerId,omitempty"`
	Managed     bool        `json:"managed"`
	Why         string      `json:"why"`
	Next        *time.Time  `json:"next,omitempty"`
	NextWhy     string      `json:"nextWhy,omitempty"`
	Settings    []setting   `json:"settings"`
	Problems    []problem   `json:"problems"`
	Decisions   []decision  `json:"decisions"`
	Candidates  []candidate `json:"candidates"`
}

type setting struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Origin string `json:"origin"`
}

type problem struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Reason string `json:"reason"`
}

type decision struct {
	Time       time.Time `json:"time"`
	Action     string    `json:"action"`
	Outcome    string    `json:"outcome"`
	Reason     string    `json:"reason"`
	Checkpoint string    `json:"checkpoint,omitempty"`
}

type candidate struct {
	Checkpoint string `json:"checkpoint"`
	Usable     bool   `json:"usable"`
	Reason     string `json:"reason,omitempty"`
}

func (a *app) explain() *cobra.Command {
	return &cobra.Command{
		Use:   "explain NAMESPACE/POD",
		Short: "Say what is done with a pod's containers, and why",
		Long: `Say for each container of a pod whether it is managed and why, which settings
hold and where they come from, what was decided lately, and which checkpoints a
new container in the same pod could be restored from now.`,
		Args: cobra.ExactArgs(1),
		RunE: a.verb(queryTime, func(ctx context.Context, _ *cobra.Command, args []string) error {
			t, err := parseTarget(args[0], false)
			if err != nil {
				return err
			}
			d, err := a.dial(ctx)
			if err != nil {
				return err
			}
			defer d.close()
			resp, err := d.Explain(ctx, &api.ExplainRequest{Namespace: t.namespace, Pod: t.pod})
			if err != nil {
				return d.fault(err)
			}
			if a.output == outputJSON {
				return a.writeJSON(map[string]any{"containers": reports(resp.Containers)})
			}
			for i, c := range resp.Containers {
				if i > 0 {
					fmt.Fprintln(a.stdout)
				}
				if err := a.writeReport(c); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

func reports(containers []*api.ContainerReport) []report {
	out := []report{}
	for _, c := range containers {
		r := report{
			Name: c.Name, ContainerID: c.ContainerId, Managed: c.Managed, Why: c.Why,
			Settings: []setting{}, Problems: []problem{}, Decisions: []decision{}, Candidates: []candidate{},
		}
		if c.NextNs != 0 {
			next := moment(c.NextNs)
			r.Next, r.NextWhy = &next, c.NextWhy
		}
		for _, s := range c.Settings {
			r.Settings = append(r.Settings, setting{s.Key, s.Value, s.Origin})
		}
		for _, p := range c.Problems {
			r.Problems = append(r.Problems, problem{p.Key, p.Value, p.Reason})
		}
		for _, d := range c.Decisions {
			r.Decisions = append(r.Decisions, decision{moment(d.TimeNs), d.Action, d.Outcome, d.Reason, d.Checkpoint})
		}
		for _, x := range c.Candidates {
			r.Candidates = append(r.Candidates, candidate{x.Checkpoint, x.Usable, x.Reason})
		}
		out = append(out, r)
	}
	return out
}

const indent = "  "

func (a *app) writeReport(c *api.ContainerReport) error {
	managed := "not managed"
	if c.Managed {
		managed = "managed"
	}
	fmt.Fprintf(a.stdout, "%s: %s: %s\n", printable(c.Name), managed, printable(c.Why))
	if c.ContainerId != "" {
		fmt.Fprintf(a.stdout, "container %.12s\n", printable(c.ContainerId))
	}
	if c.NextNs != 0 {
		fmt.Fprintf(a.stdout, "next checkpoint in %s: %s\n", short(time.Until(moment(c.NextNs))), printable(c.NextWhy))
	}
	settings := newTable(a.stdout, indent+"SETTING", "VALUE", "FROM")
	for _, s := range c.Settings {
		settings.row(indent+s.Key, s.Value, s.Origin)
	}
	problems := newTable(a.stdout, indent+"ANNOTATION", "VALUE", "PROBLEM")
	for _, p := range c.Problems {
		problems.row(indent+p.Key, p.Value, p.Reason)
	}
	candidates := newTable(a.stdout, indent+"CHECKPOINT", "USABLE", "REASON")
	for _, x := range c.Candidates {
		usable := "no"
		if x.Usable {
			usable = "yes"
		}
		candidates.row(indent+x.Checkpoint, usable, x.Reason)
	}
	decisions := newTable(a.stdout, indent+"AGE", "DECISION", "OUTCOME", "CHECKPOINT", "REASON")
	for _, d := range c.Decisions {
		decisions.row(indent+age(moment(d.TimeNs)), d.Action, d.Outcome, d.Checkpoint, d.Reason)
	}
	return flushAll(a, []section{
		{"settings", settings, len(c.Settings)},
		{"problems with the annotations", problems, len(c.Problems)},
		{"checkpoints", candidates, len(c.Candidates)},
		{"decisions, the newest first", decisions, len(c.Decisions)},
	})
}

type section struct {
	title string
	table *table
	rows  int
}

// flushAll writes the sections that have rows.
func flushAll(a *app, sections []section) error {
	for _, s := range sections {
		if s.rows == 0 {
			continue
		}
		fmt.Fprintf(a.stdout, "%s\n", s.title)
		if err := s.table.flush(); err != nil {
			return err
		}
	}
	return nil
}
